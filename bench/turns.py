"""What a turn costs besides its model, from the 10th to the 5,000th of one thread, beside LangGraph's usual thread."""

import json
import logging
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
import uvloop

from bench import usual
from bench.disk import checkpointed_bytes
from bench.model import InstantModels
from bench.report import Samples, Table
from bench.usual import Turn
from recado.agent.checkpoints import open_checkpoints
from recado.bootstrap import connect, make_handlers, make_services
from recado.channels.base import InboundMessage, OutboundMessage, RawEvent
from recado.channels.simulator.channel import SimulatorChannel
from recado.conversations.service import ConversationService
from recado.merchants.account import Account
from recado.merchants.repository import find_account
from recado.settings import Settings
from tests.support import BODEGA, prepare_database

MARKS = (10, 100, 600, 1_000, 5_000)
USUAL_MARKS = (10, 100, 600)
THREADS = 3
WINDOW = 20
ADDRESS, PHONE = "+15550100", "+51911111111"
QUESTION = "¿Hacen envíos a Miraflores? Quisiera recibir mi pedido mañana por la mañana, si se puede."


@dataclass(slots=True)
class Thread:
    """One thread: where it is measured, and what was found."""

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

    def bytes_a_turn(self) -> float:
        """What a turn between the last two marks left on disk."""
        before, last = self.marks[-2:]
        return (self.sizes[last] - self.sizes[before]) / (last - before)


def _row(name: str, threads: Sequence[Thread], marks: Sequence[int]) -> list[str]:
    """A line of the table: for each mark the median of the threads' medians around it, and their range."""
    cells = []
    for mark in marks:
        found = Samples()
        for thread in threads:
            if mark in thread.marks:
                found.add(_around(thread.taken, mark))
        cells.append(found.text(1) if found.values else "-")
    size = statistics.median(thread.bytes_a_turn() for thread in threads)
    return [name, *cells, f"{size / 1_024:,.1f}"]


def _around(taken: Sequence[float], mark: int) -> float:
    half = WINDOW // 2
    return statistics.median(taken[max(0, mark - half) : mark + half])


def run(folder: Path) -> list[Table]:
    """Our own milliseconds and bytes per turn, as a thread grows, beside LangGraph's usual thread."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    ours, theirs = uvloop.run(measure(folder))
    marks = sorted({*MARKS, *USUAL_MARKS})
    return [
        Table(
            "Own time of a turn, neither model nor provider counted (aim: flat, at most 15 ms, at most 10 KB)",
            ["ms at turn", *(f"{mark:,}" for mark in marks), "KB on disk a turn"],
            [
                _row("recado: accept, ingest, turn, deliver, status", ours, marks),
                _row("MessagesState + AsyncSqliteSaver, graph only", theirs, marks),
            ],
            f"median (range) of {THREADS} threads each, in turn, of the {WINDOW} turns around each mark; SQLite files, "
            "a model and a provider that answer at once",
        )
    ]


async def measure(folder: Path) -> tuple[list[Thread], list[Thread]]:
    """Threads of both kinds, each on databases of its own, a turn of the one after a turn of the other."""
    ours, theirs = [], []
    async with AsyncExitStack() as stack:
        taking: list[tuple[Thread, Turn]] = []
        for number in range(THREADS):
            own = folder / str(number)
            own.mkdir()
            ours.append(Thread(MARKS, [own / "recado.db", own / "checkpoints.db"]))
            taking.append((ours[-1], await stack.enter_async_context(one_thread(own))))
            theirs.append(Thread(USUAL_MARKS, [own / "usual.db"]))
            taking.append((theirs[-1], await stack.enter_async_context(usual.one_thread(own / "usual.db", QUESTION))))
        for number in range(1, max(MARKS[-1], USUAL_MARKS[-1]) + 1):
            for thread, turn in taking:
                await thread.go_on(turn, number)
    return ours, theirs


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
    channels = services.channels | {"simulator": InstantChannel(services.network)}
    services = replace(services, models=InstantModels(settings, _never_withdrawn), channels=channels)
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
            await services.intake.accept([_status(number)])
            await handlers["ingest"]()

        yield turn


def _message(number: int) -> RawEvent:
    sent = {"id": f"in-{number}", "phone": PHONE, "name": "Ana", "text": QUESTION, "kind": "text", "reply_to": None}
    return RawEvent("simulator", ADDRESS, f"in-{number}", json.dumps(sent).encode())


def _status(number: int) -> RawEvent:
    """What the provider reports of the delivery: each turn has one."""
    told = {"id": f"out-{number}", "status": "delivered", "delivery_id": number}
    return RawEvent("simulator", ADDRESS, f"out-{number}:delivered", json.dumps(told).encode())


class InstantChannel(SimulatorChannel):
    """Twilio's part, taken at once: what the simulated network itself writes down is not the product's work."""

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Seen."""

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Taken."""
        return f"out-{message.delivery_id}"


async def _never_withdrawn(reason: str) -> None:
    raise AssertionError(reason)
