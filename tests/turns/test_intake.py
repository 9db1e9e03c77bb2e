"""The inbox: on disk before the answer, in shared commits, each event once."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import SQLAlchemyError

from recado.channels.base import RawEvent
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import InboxEvent
from recado.jobs.memory import MemoryQueue
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.turns.intake import Intake


def raw(number: int | str, address: str = "+15550100") -> RawEvent:
    return RawEvent("simulator", address, f"e{number}", f"payload {number}".encode())


@pytest.fixture
def nudges() -> Nudges:
    return Nudges(make_queue("memory://"))


@pytest.fixture
def intake(database: Database, nudges: Nudges) -> Intake:
    return Intake(database, Clock(), nudges)


async def stored(database: Database) -> list[InboxEvent]:
    async with database.read() as session:
        return list(await session.scalars(select(InboxEvent).order_by(InboxEvent.id)))


async def test_an_event_is_stored_and_nudged(database: Database, intake: Intake, nudges: Nudges) -> None:
    await intake.accept([raw(1), raw(2)])
    rows = await stored(database)
    assert [(r.channel, r.address, r.provider_event_id, r.payload, r.state) for r in rows] == [
        ("simulator", "+15550100", "e1", b"payload 1", "received"),
        ("simulator", "+15550100", "e2", b"payload 2", "received"),
    ]
    assert await nudges.queue.count("queued") == 1


async def test_identical_events_at_once_are_one_row(database: Database, nudges: Nudges) -> None:
    processes = [Intake(database, Clock(), nudges) for _ in range(4)]
    await asyncio.gather(*(processes[n % 4].accept([raw(1)]) for n in range(20)))
    await processes[0].accept([raw(1), raw(1)])
    assert len(await stored(database)) == 1


async def test_the_same_id_on_another_address_is_another_event(database: Database, intake: Intake) -> None:
    await intake.accept([raw(1), raw(1, "+15550200")])
    assert len(await stored(database)) == 2


async def test_what_arrives_together_shares_commits(database: Database, intake: Intake) -> None:
    commits: list[Any] = []
    event.listen(database.engine.sync_engine, "commit", commits.append)
    await asyncio.gather(*(intake.accept([raw(n)]) for n in range(50)))
    assert len(await stored(database)) == 50
    assert len(commits) <= 3


async def test_what_arrives_during_a_commit_shares_the_next(database: Database, intake: Intake) -> None:
    commits: list[Any] = []
    event.listen(database.engine.sync_engine, "commit", commits.append)
    first = asyncio.create_task(intake.accept([raw("first")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # its batch is taken
    await asyncio.gather(first, *(intake.accept([raw(n)]) for n in range(50)))
    assert (len(await stored(database)), len(commits)) == (51, 2)


async def test_a_failing_database_is_told_to_every_waiter_and_nothing_hangs_afterwards(
    database: Database, intake: Intake
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE inbox_events RENAME TO away"))
    results = await asyncio.gather(*(intake.accept([raw(n)]) for n in range(10)), return_exceptions=True)
    assert [isinstance(result, SQLAlchemyError) for result in results] == [True] * 10
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO inbox_events"))
    await asyncio.wait_for(intake.accept([raw(1)]), 10)
    assert len(await stored(database)) == 1


async def test_a_caller_that_hangs_up_disturbs_nobody(database: Database, intake: Intake) -> None:
    gone = asyncio.create_task(intake.accept([raw(1)]))
    stays = asyncio.create_task(intake.accept([raw(2)]))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert {row.provider_event_id for row in await stored(database)} == {"e1", "e2"}


class AwayQueue(MemoryQueue):
    """A queue whose server is away."""

    async def enqueue(self, job_or_func: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no queue")


async def test_a_queue_that_is_away_does_not_stop_the_inbox(database: Database) -> None:
    intake = Intake(database, Clock(), Nudges(AwayQueue()))
    for number in range(3):
        await asyncio.wait_for(intake.accept([raw(number)]), 10)
    assert len(await stored(database)) == 3
