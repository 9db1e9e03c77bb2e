"""What keeping the conversation API in step costs the turns, while it is up, down, slow or flapping."""

import asyncio
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import structlog
import uvloop

from bench.model import InstantModels
from bench.report import Samples, Table
from bench.servers import wait_until_ready
from recado.bootstrap import Services, connect, make_services, open_worker
from recado.channels.base import InboundMessage, OutboundMessage, RawEvent
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork
from recado.jobs.worker import run_worker
from recado.merchants.account import Account
from recado.settings import Settings
from recado.sync.repository import backlog
from tests.support import BODEGA, ROOT, free_port, prepare_database

ADDRESS = "+15550100"
QUESTION = "¿Hacen envíos a Miraflores? Quisiera recibir mi pedido mañana por la mañana, si se puede."
PEOPLE = 20
RUNS = 3
PATIENCE_SECONDS = 120.0
SLOW = {"latency": 2.0}
FLAP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """How people write: how long a turn waits until they are quiet, and how often each of them writes."""

    quiet_seconds: float
    turns_each: int


FULL_SPEED, USUAL = Load(0.0, 20), Load(1.0, 4)


@dataclass(slots=True)
class Found:
    """What was measured of one state of the API, one figure per run."""

    rate: Samples = field(default_factory=Samples)
    middle: Samples = field(default_factory=Samples)
    late: Samples = field(default_factory=Samples)
    left: Samples = field(default_factory=Samples)
    caught_up: Samples = field(default_factory=Samples)


def run(folder: Path) -> list[Table]:
    """Turns per second with sync on beside sync off, and how late turns are while the API fails."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    note = (
        f"median (range) of {RUNS} runs each, in turn; {PEOPLE} people at once; an instant model and provider; SQLite"
    )
    fast = _measured(folder / "fast", FULL_SPEED, ("off", "up", "down"))
    usual = _measured(folder / "usual", USUAL, ("off", "up", "down", "slow", "flapping"))
    return [
        Table(
            "Turns with the conversation sync, as many as go (aim: up at least 0.9 of off)",
            ["the API is", "turns/s", "of off", "entries left", "s until none is"],
            [
                [
                    state,
                    found.rate.text(1),
                    f"{found.rate.median / fast['off'].rate.median:.2f}",
                    found.left.text() if state != "off" else "-",
                    found.caught_up.text(1) if state == "up" else "-",
                ]
                for state, found in fast.items()
            ],
            f"{note}; {FULL_SPEED.turns_each} turns each, one after the other; the API in a process of its own",
        ),
        Table(
            "Time of a turn while the API fails (aim: at most 1.2 of off)",
            ["the API is", "p50 ms", "of off", "p95 ms", "of off"],
            [
                [
                    state,
                    found.middle.text(),
                    f"{found.middle.median / usual['off'].middle.median:.2f}",
                    found.late.text(),
                    f"{found.late.median / usual['off'].late.median:.2f}",
                ]
                for state, found in usual.items()
            ],
            f"{note}; {USUAL.turns_each} turns each, and the usual second of quiet before each",
        ),
    ]


def _measured(folder: Path, load: Load, states: Sequence[str]) -> dict[str, Found]:
    found = {state: Found() for state in states}
    for number in range(RUNS):
        for state in states:
            own = folder / f"{number}-{state}"
            own.mkdir(parents=True)
            with api(state) as url:
                uvloop.run(measure(own, state, url, load, found[state]))
    return found


@contextmanager
def api(state: str) -> Iterator[str]:
    """The stand-in of the conversation API as a process, in one of the states; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    if state in {"off", "down"}:
        yield url
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.conversation_api", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(f"{url}/_control/stats", process)
        if state == "slow":
            httpx.post(f"{url}/_control/faults", json=SLOW, trust_env=False).raise_for_status()
        yield url
    finally:
        process.kill()
        process.wait()


async def measure(folder: Path, state: str, url: str, load: Load, found: Found) -> None:
    """One run."""
    async with product(folder, url, load.quiet_seconds, on=state != "off") as (services, replies):
        flapping = asyncio.create_task(_flap(url)) if state == "flapping" else None
        start = time.perf_counter()
        taken = await asyncio.gather(*(_person(services, replies, number, load.turns_each) for number in range(PEOPLE)))
        seconds = time.perf_counter() - start
        if flapping is not None:
            flapping.cancel()
        every = sorted(one for person in taken for one in person)
        found.rate.add(len(every) / seconds)
        found.middle.add(statistics.median(every) * 1_000)
        found.late.add(statistics.quantiles(every, n=20)[-1] * 1_000)
        found.left.add(await _waiting(services))
        if state == "up":
            start = time.perf_counter()
            while await _waiting(services):  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.05)
            found.caught_up.add(time.perf_counter() - start)


async def _person(services: Services, replies: "InstantChannel", number: int, turns: int) -> list[float]:
    """Somebody who writes again as soon as they are answered; the seconds that each answer took."""
    phone = f"+5191{number:07}"
    taken = []
    for turn in range(turns):
        replies.arrived[phone] = asyncio.Event()
        start = time.perf_counter()
        sent = {"id": f"in-{number}-{turn}", "phone": phone, "name": "Ana", "text": QUESTION, "kind": "text"}
        payload = json.dumps({**sent, "reply_to": None}).encode()
        await services.intake.accept([RawEvent("simulator", ADDRESS, sent["id"], payload)])
        await asyncio.wait_for(replies.arrived[phone].wait(), PATIENCE_SECONDS)
        taken.append(time.perf_counter() - start)
    return taken


async def _waiting(services: Services) -> int:
    async with services.database.read() as session:
        return (await backlog(session))[0]


async def _flap(url: str) -> None:
    """Fail for a while, answer for a while."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            await client.post(f"{url}/_control/faults", json={"status": 500})
            await asyncio.sleep(FLAP_SECONDS)
            await client.delete(f"{url}/_control/faults")
            await asyncio.sleep(FLAP_SECONDS)


@asynccontextmanager
async def product(
    folder: Path, url: str, quiet_seconds: float, *, on: bool
) -> AsyncIterator[tuple[Services, "InstantChannel"]]:
    """The product's own services with a running worker, on fresh databases."""
    settings = Settings(
        _env_file=None,
        database_url=f"sqlite+aiosqlite:///{folder}/recado.db",
        checkpoint_url=f"sqlite:///{folder}/checkpoints.db",
        model_provider="demo",
        turn_quiet_seconds=quiet_seconds,
        enable_conversation_sync=on,
        cartaai_api_base_url=url,
    )
    await prepare_database(settings.database_url, BODEGA)
    services = make_services(settings)
    replies = InstantChannel(services.network)
    services = replace(
        services, models=InstantModels(settings, _never_withdrawn), channels={**services.channels, "simulator": replies}
    )
    stopping = asyncio.Event()
    async with connect(services), open_worker(services) as worker:
        running = asyncio.create_task(run_worker(worker, stopping, 0.1))
        yield services, replies
        stopping.set()
        await running


class InstantChannel(SimulatorChannel):
    """Takes everything at once, and tells the person."""

    def __init__(self, network: SimulatorNetwork) -> None:
        super().__init__(network)
        self.arrived: dict[str, asyncio.Event] = {}

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Seen."""

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Taken."""
        self.arrived[message.to].set()
        return f"out-{message.delivery_id}"


async def _never_withdrawn(reason: str) -> None:
    raise AssertionError(reason)
