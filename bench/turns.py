"""What a turn costs besides its model, from the 10th to the 5,000th of one thread, beside LangGraph's usual thread."""

import json
import logging
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
import uvloop

from bench import usual
from bench.disk import checkpointed_bytes
from bench.model import InstantModels
from bench.report import Table
from bench.usual import Turn
from recado.agent.checkpoints import open_checkpoints
from recado.bootstrap import connect, make_handlers, make_services
from recado.channels.base import RawEvent
from recado.conversations.service import ConversationService
from recado.merchants.repository import find_account
from recado.settings import Settings
from tests.support import BODEGA, prepare_database

MARKS = (10, 100, 600, 1_000, 5_000)
USUAL_MARKS = (10, 100, 600)
WINDOW = 20
ADDRESS, PHONE = "+15550100", "+51911111111"
QUESTION = "¿Hacen envíos a Miraflores? Quisiera recibir mi pedido mañana por la mañana, si se puede."


@dataclass(slots=True)
class Thread:
    """One thread: where it is measured, and what was found."""

    name: str
    marks: Sequence[int]
    files: Sequence[Path]
    taken: list[float] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)

    async def go_on(self, turn: Turn, number: int) -> None:
        """Take the next turn and measure it."""
        if number > self.marks[-1]:
            return
        start = time.perf_counter()
        await turn(number)
        self.taken.append((time.perf_counter() - start) * 1_000)
        if number in self.marks:
            self.sizes[number] = sum(map(checkpointed_bytes, self.files))

    def row(self, marks: Sequence[int]) -> list[str]:
        """The line of the table: the median of the turns around each mark, and the bytes between the last two."""
        half = WINDOW // 2
        cells = [
            f"{statistics.median(self.taken[max(0, mark - half) : mark + half]):,.1f}" if mark in self.marks else "-"
            for mark in marks
        ]
        before, last = self.marks[-2:]
        return [self.name, *cells, f"{(self.sizes[last] - self.sizes[before]) / (last - before) / 1_024:,.1f}"]


def run(folder: Path) -> list[Table]:
    """Our own milliseconds and bytes per turn, as a thread grows, beside LangGraph's usual thread."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    databases = [folder / "recado.db", folder / "checkpoints.db"]
    ours = Thread("recado: accept, ingest, turn, deliver, status", MARKS, databases)
    theirs = Thread("MessagesState + AsyncSqliteSaver, graph only", USUAL_MARKS, [folder / "usual.db"])
    uvloop.run(measure(folder, ours, theirs))
    marks = sorted({*MARKS, *USUAL_MARKS})
    return [
        Table(
            "Own time of a turn, the model's not counted (aim: flat, at most 15 ms, at most 10 KB)",
            ["ms at turn", *(f"{mark:,}" for mark in marks), "KB on disk a turn"],
            [ours.row(marks), theirs.row(marks)],
            f"median of the {WINDOW} turns around each mark of one thread each, in turn; SQLite files, simulator "
            "channel, a model that answers at once",
        )
    ]


async def measure(folder: Path, ours: Thread, theirs: Thread) -> None:
    """Both threads, a turn of the one after a turn of the other."""
    async with one_thread(folder) as our_turn, usual.one_thread(folder / "usual.db", QUESTION) as their_turn:
        for number in range(1, max(ours.marks[-1], theirs.marks[-1]) + 1):
            await ours.go_on(our_turn, number)
            await theirs.go_on(their_turn, number)


@asynccontextmanager
async def one_thread(folder: Path) -> AsyncIterator[Turn]:
    """The product's own services and job handlers on fresh databases, and a function that takes the next turn."""
    settings = Settings(
        _env_file=None,
        database_url=f"sqlite+aiosqlite:///{folder}/recado.db",
        checkpoint_url=f"sqlite:///{folder}/checkpoints.db",
        model_provider="demo",
        turn_quiet_seconds=0.0,
    )
    await prepare_database(settings.database_url, BODEGA)
    services = make_services(settings)
    services = replace(services, models=InstantModels(settings, _never_withdrawn))
    async with connect(services), open_checkpoints(settings.checkpoint_url) as checkpoints:
        handlers = make_handlers(services, checkpoints)
        async with services.database.transaction() as session:
            account = await find_account(session, "simulator", ADDRESS)
            assert account is not None
            conversations = ConversationService(session, account.merchant_id, services.clock)
            _, conversation = await conversations.open(account, PHONE, PHONE, "Ana")
            ids = {"conversation_id": conversation.id, "merchant_id": account.merchant_id}

        async def turn(number: int) -> None:
            await services.intake.accept([_message(number)])
            await handlers["ingest"]()
            await handlers["turn"](**ids)
            await handlers["deliver"](**ids)
            await handlers["ingest"]()  # the provider's status of the delivery

        yield turn


def _message(number: int) -> RawEvent:
    sent = {"id": f"in-{number}", "phone": PHONE, "name": "Ana", "text": QUESTION, "kind": "text", "reply_to": None}
    return RawEvent("simulator", ADDRESS, f"in-{number}", json.dumps(sent).encode())


async def _never_withdrawn(reason: str) -> None:
    raise AssertionError(reason)
