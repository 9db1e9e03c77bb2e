"""What a turn costs besides its model, from the 10th to the 5,000th of one thread, beside LangGraph's usual thread."""

import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog
import uvloop

from bench import usual
from bench.disk import checkpointed_bytes
from bench.model import InstantModels
from bench.report import Table
from bench.usual import around
from recado.agent.checkpoints import open_checkpoints
from recado.bootstrap import connect, make_handlers, make_services
from recado.channels.base import RawEvent
from recado.conversations.service import ConversationService
from recado.merchants.repository import find_account
from recado.settings import Settings
from tests.support import BODEGA, prepare_database

MARKS = (10, 100, 1_000, 5_000)
USUAL_MARKS = (10, 100, 600)
ADDRESS, PHONE = "+15550100", "+51911111111"
QUESTION = "¿Hacen envíos a Miraflores? Quisiera recibir mi pedido mañana por la mañana, si se puede."

Turn = Callable[[int], Awaitable[None]]


def run(folder: Path) -> list[Table]:
    """Our own milliseconds and bytes per turn, as a thread grows, beside LangGraph's usual thread."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    ours, our_bytes = uvloop.run(measure(folder))
    theirs, their_bytes = uvloop.run(usual.measure(folder, USUAL_MARKS, QUESTION))
    marks = sorted({*MARKS, *USUAL_MARKS})

    def row(name: str, figures: dict[int, float], per_turn: float) -> list[str]:
        return [name, *(f"{figures[m]:,.1f}" if m in figures else "-" for m in marks), f"{per_turn / 1_024:,.1f}"]

    return [
        Table(
            "Own time of a turn, the model's not counted (aim: flat, at most 15 ms, at most 10 KB)",
            ["ms at turn", *(f"{mark:,}" for mark in marks), "KB on disk a turn"],
            [
                row("recado: accept, ingest, turn, deliver, status", ours, our_bytes),
                row("MessagesState + AsyncSqliteSaver, graph only", theirs, their_bytes),
            ],
            f"median of the {usual.WINDOW} turns around each mark of one thread; SQLite files, simulator channel, "
            "a model that answers at once",
        )
    ]


async def measure(folder: Path) -> tuple[dict[int, float], float]:
    """(milliseconds of a turn around each mark, bytes on disk per turn between the last two marks)."""
    taken: list[float] = []
    sizes: dict[int, int] = {}
    async with one_thread(folder) as turn:
        for number in range(1, MARKS[-1] + 1):
            start = time.perf_counter()
            await turn(number)
            taken.append((time.perf_counter() - start) * 1_000)
            if number in MARKS:
                sizes[number] = sum(checkpointed_bytes(folder / name) for name in ("recado.db", "checkpoints.db"))
    last, before = MARKS[-1], MARKS[-2]
    return around(taken, MARKS), (sizes[last] - sizes[before]) / (last - before)


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
