"""2,000 messages through the real adapters while their providers refuse, break off, hang, and repeat themselves."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from recado.channels.rules import RULES, Pair
from recado.clock import Clock
from recado.conversations.outbox import Outbox
from recado.conversations.service import ConversationService, Reply
from recado.db.engine import Database
from recado.db.models import ChannelAccount, Delivery, InboxEvent
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue, make_worker, run_worker
from recado.merchants.repository import find_accounts
from recado.turns.ingest import Ingest
from recado.turns.intake import Intake
from recado.turns.sweep import sweep
from tests.alert_log import AlertLog
from tests.builders import apply_specs, merchant_spec
from tests.databases import bring_up_to_date
from tests.fakes.server import running
from tests.faults.providers import Meta, Sent, Twilio

PEOPLE, MESSAGES, MERCHANTS = 100, 1_000, 4
RATES = (10.0, 40.0, 40.0, 40.0)
"""Messages a second of each merchant's account. The first one's bind."""
SHARES = (0.1, 0.3, 0.3, 0.3)
PAIR = Pair(timedelta(seconds=0.5), 4)
SLACK_SECONDS = 0.5
"""By how much two requests may come closer together than they were let go, besides what the rows say of lateness."""
DEADLINE_SECONDS = 240.0
SEED = 20_261_121


@dataclass
class Run:
    """One provider, and the product's jobs at work on it."""

    provider: Twilio | Meta
    database: Database
    seed: int = SEED
    clock: Clock = field(default_factory=Clock)
    said: dict[int, list[str]] = field(default_factory=dict)
    """What each conversation is told, in order."""

    def __post_init__(self) -> None:
        self.alerts, self.failed_jobs = AlertLog(self.database), list[str]()
        self.random = random.Random(self.seed)
        self.nudges = Nudges(make_queue("memory://"))
        self.intake = Intake(self.database, self.clock, self.nudges)

    async def prepare(self) -> None:
        """Merchants, people whose windows are open, and all that is to be said to them."""
        specs = [merchant_spec(f"shop{n}", channels=[self.provider.spec(n)], staff=[]) for n in range(MERCHANTS)]
        await apply_specs(self.database, *specs)
        async with self.database.transaction() as session:
            accounts = await find_accounts(session, self.provider.kind)
            for account, rate in zip(accounts, RATES, strict=True):
                mine = update(ChannelAccount).where(ChannelAccount.id == account.id)
                await session.execute(mine.values(per_second=rate))
            for place, account in enumerate(accounts):
                service = ConversationService(session, account.merchant_id, self.clock)
                people = [await self._open(service, account, place, n) for n in range(PEOPLE // MERCHANTS)]
                said = []
                for number in range(int(MESSAGES * SHARES[place])):
                    conversation, contact = people[number % len(people)]
                    text = f"<{place}.{number}.>"
                    said.append((conversation, contact, Reply(text, text)))
                    self.said.setdefault(conversation.id, []).append(text)
                await service.say_all(said)
        self.provider.prepare(self._faults())

    async def _open(self, service: ConversationService, account: object, place: int, number: int) -> object:
        phone = f"+5191{place}{number:06}"
        contact, conversation = await service.open(account, phone, phone, None)  # type: ignore[arg-type]
        conversation.last_inbound_at = self.clock.now()
        return conversation, contact

    def _faults(self) -> list[dict[str, object]]:
        texts = [text for texts in self.said.values() for text in texts]
        self.random.shuffle(texts)
        kinds = [fault for fault, count in self.provider.faults for _ in range(count * MESSAGES // 1_000)]
        return [
            {"when": {"contains": text}, "fault": fault, "times": 1} for text, fault in zip(texts, kinds, strict=False)
        ]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """The jobs, by a worker on the queue in memory, and the provider's statuses."""
        channel = self.provider.channel()
        channels = {self.provider.kind: channel}
        outbox = Outbox(self.database, self.clock, channels, "run", alone=True)
        ingest = Ingest(self.database, self.clock, channels, self.nudges)

        async def deliver(conversation_id: int, merchant_id: int) -> None:
            due_at = await outbox.deliver(conversation_id, merchant_id)
            if due_at is not None:
                self.nudges.deliver_in((due_at - self.clock.now()).total_seconds(), conversation_id, merchant_id)

        async def look(*, at_start: bool = False) -> None:
            await sweep(self.database, self.clock, self.nudges, at_start=at_start)

        async def no_failure(name: str, error: str, _ids: object) -> None:
            self.failed_jobs.append(f"{name}: {error}")

        worker = make_worker(self.nudges, {"deliver": deliver, "ingest": ingest.run, "sweep": look}, 12, no_failure)
        stopping = asyncio.Event()
        await self.nudges.queue.connect()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(run_worker(worker, stopping, 5))
                telling = group.create_task(self._tell())
                yield
                telling.cancel()
                stopping.set()
        finally:
            self.nudges.close()
            await self.nudges.queue.disconnect()
            await channel.close()

    async def _tell(self) -> None:
        """The provider's statuses: late, doubled, out of order, some left out, in posts of many."""
        told = 0
        while True:
            new = self.provider.taken(told)
            told += len(new)
            states = [(sent, state) for sent in new for state in self._states()]
            self.random.shuffle(states)
            events = [event for sent, state in states for event in self.provider.status(sent, state)]
            if events:
                await self.intake.accept(events)
            await asyncio.sleep(0.1)

    def _states(self) -> list[str]:
        return self.random.choices(["sent", "delivered", "read"], k=self.random.choice([1, 2, 2, 3]))

    async def until_done(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await self._is_done():  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.2)

    async def _is_done(self) -> bool:
        async with self.database.read() as session:
            unsent = select(func.count()).where(Delivery.state.in_(("pending", "sending")))
            waiting = select(func.count()).where(InboxEvent.state == "received")
            return not (await session.scalar(unsent) or await session.scalar(waiting))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/run.db")
    await bring_up_to_date(database)
    yield database
    await database.close()


@pytest.mark.parametrize("provider", [Twilio, Meta])
async def test_every_message_arrives_once_in_order_and_within_the_limits(
    provider: type[Twilio | Meta], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "whatsapp", replace(RULES["whatsapp"], pair=PAIR))  # type: ignore[arg-type]
    print(f"seed {SEED}")  # noqa: T201 - pytest shows it when the run fails
    with running((found := provider()).fake):
        run = Run(found, database)
        await run.prepare()
        async with run.at_work():
            await run.until_done()
        await check_rows(run)
        check_arrivals(run)
        check_limits(run, await lateness(run))
        trouble = Counter(entry["outcome"].split()[0] for entry in found.fake.requests.entries("send"))
    assert sum(count for _, count in found.faults) >= 0.2 * MESSAGES
    assert len(found.asked()) >= 1.08 * MESSAGES, f"too little went wrong: {trouble}"


async def check_rows(run: Run) -> None:
    """Nothing is left over, and nobody was woken."""
    async with run.database.read() as session:
        states = Counter(await session.scalars(select(Delivery.state)))
        ids = (await session.scalars(select(Delivery.provider_message_id))).all()
        inbox = Counter(await session.scalars(select(InboxEvent.state)))
    assert set(states) <= {"sent", "delivered", "read"}, states
    assert states.total() == MESSAGES
    assert set(ids) == {sent.id for sent in run.provider.taken()}
    assert set(inbox) == {"done"}
    assert run.alerts.sent == run.failed_jobs == []


def check_arrivals(run: Run) -> None:
    """Each person has what was said to them, each once, in order."""
    arrived: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sent in run.provider.taken():
        arrived[sent.account, sent.to].append(sent.text)
    assert len(arrived) == PEOPLE
    assert sorted(arrived.values()) == sorted(run.said.values())


async def lateness(run: Run) -> float:
    """By how many seconds a busy machine claimed a delivery after its time, at most."""
    async with run.database.read() as session:
        rows = await session.execute(select(Delivery.sending_at, Delivery.slot_at))
        return max((sending_at - slot_at).total_seconds() for sending_at, slot_at in rows)


def check_limits(run: Run, late: float) -> None:
    """By the provider's own log, every request counted: the rate of each account, and for Meta of each pair."""
    asked = run.provider.asked()
    by_account: dict[str, list[Sent]] = defaultdict(list)
    by_pair: dict[tuple[str, str], list[Sent]] = defaultdict(list)
    for sent in asked:
        by_account[sent.account].append(sent)
        by_pair[sent.account, sent.to].append(sent)
    for (_, sends), rate in zip(sorted(by_account.items()), RATES, strict=True):
        check_rate([sent.at for sent in sends], rate, int(rate), late)
    if run.provider.kind == "whatsapp":
        for sends in by_pair.values():
            check_rate([sent.at for sent in sends], 1 / PAIR.every.total_seconds(), PAIR.burst, late)


def check_rate(moments: list[float], rate: float, burst: int, late: float) -> None:
    """At most a burst and what the time between allows, for every stretch of time."""
    for first, start in enumerate(moments):
        for count, moment in enumerate(moments[first:], 1):
            assert count <= burst + (moment - start + late + SLACK_SECONDS) * rate + 1
