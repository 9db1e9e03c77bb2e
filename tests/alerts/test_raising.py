"""Raising an alert never fails and never gets lost, and a storm of it costs little."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select, text

from recado.alerts.raising import MOST_WAITING, Alarm, Alerts
from recado.db.engine import Database
from recado.db.models import AlertOccurrence
from recado.telemetry.context import about
from tests.builders import SetClock

STRANGER = Alarm("security_unknown_key", "see the log")


class Office:
    """Who raises alerts. `nudged`: how often the job was told to look; `told`: what the team was told directly."""

    def __init__(self, database: Database) -> None:
        self.database, self.nudged, self.told = database, 0, list[str]()
        self.alerts = Alerts(database, SetClock(), self._nudge, self._tell)

    async def _nudge(self) -> None:
        self.nudged += 1

    async def _tell(self, reason: str) -> None:
        self.told.append(reason)

    async def stored(self) -> list[AlertOccurrence]:
        async with self.database.read() as session:
            return list(await session.scalars(select(AlertOccurrence).order_by(AlertOccurrence.id)))

    async def count(self) -> int:
        async with self.database.read() as session:
            return await session.scalar(select(func.sum(AlertOccurrence.count))) or 0

    async def rename(self, name: str, to: str) -> None:
        """A database that cannot be written to: the table is not there."""
        async with self.database.transaction() as session:
            await session.execute(text(f"ALTER TABLE {name} RENAME TO {to}"))


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    office = Office(database)
    yield office
    await office.alerts.close()


async def test_it_is_on_disk_when_it_is_raised(office: Office) -> None:
    with about(merchant_id=3, conversation_id=7, turn_id=5, trace_id="ab" * 16):
        await office.alerts.send(Alarm("turn_failed", "no answer", {"delivery_id": 9}))
    [row] = await office.stored()
    assert (row.merchant_id, row.conversation_id, row.trace_id) == (3, 7, "ab" * 16)
    assert row.context == {"turn_id": 5, "delivery_id": 9}
    assert office.nudged == 1


async def test_what_the_alarm_says_of_itself_is_stronger_than_the_work_in_hand(office: Office) -> None:
    with about(merchant_id=3, conversation_id=7):
        await office.alerts.send(Alarm("turn_failed", "no", {"conversation_id": 8}))
    [row] = await office.stored()
    assert (row.merchant_id, row.conversation_id) == (3, 8)


async def test_ten_thousand_strangers_are_a_few_rows(office: Office) -> None:
    for _ in range(10_000):
        office.alerts.soon(STRANGER)
    await office.alerts.close()
    assert len(await office.stored()) == 1
    assert await office.count() == 10_000


async def test_those_that_come_while_one_is_written_share_the_next_transaction(office: Office) -> None:
    await asyncio.gather(*(office.alerts.send(STRANGER) for _ in range(500)))
    assert await office.count() == 500
    assert len(await office.stored()) <= 3


async def test_errors_of_different_turns_are_kept_apart(office: Office) -> None:
    await asyncio.gather(
        *(office.alerts.send(Alarm("turn_failed", "no", {"conversation_id": n % 2, "turn_id": n})) for n in range(4))
    )
    assert {row.context["turn_id"] for row in await office.stored()} == {0, 1, 2, 3}


async def test_a_database_that_is_away_costs_nobody_an_exception_and_no_alert(office: Office) -> None:
    await office.rename("alert_occurrences", "elsewhere")
    await office.alerts.send(STRANGER)
    await office.alerts.send(STRANGER)
    assert len(office.told) == 2
    await office.rename("elsewhere", "alert_occurrences")
    await office.alerts.close()
    assert await office.count() == 2


async def test_only_so_many_different_errors_wait(office: Office) -> None:
    await office.rename("alert_occurrences", "elsewhere")
    for number in range(MOST_WAITING + 10):
        office.alerts.soon(Alarm("turn_failed", "no", {"turn_id": number}))
    await office.rename("elsewhere", "alert_occurrences")
    await office.alerts.close()
    assert await office.count() == MOST_WAITING


@pytest.mark.parametrize("description", ["", "x" * 100_000, "a\0b\ud800c", "call +51911111111 or 51911111111 now"])
async def test_any_description_is_kept_masked_and_short(office: Office, description: str) -> None:
    await office.alerts.send(Alarm("turn_failed", description))
    [row] = await office.stored()
    assert len(row.description) <= 4_000
    assert not {"\0", "\ud800"} & set(row.description)
    assert "911111111" not in row.description
