"""What only the rows and the queue know, at `/metrics`: cheaply, and what can be read when some of it cannot."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text

from recado.db.engine import Database
from recado.db.models import (
    Alert,
    AlertOccurrence,
    AlertPost,
    Delivery,
    InboxEvent,
    Message,
    Notification,
    Turn,
)
from recado.http import backlog_repository
from recado.http.backlog import GAUGES, TIMEOUT_SECONDS
from recado.sync.repository import backlog as sync_backlog
from tests.builders import ANA, BETO
from tests.http.counter import Counter, open_counter

Figures = dict[tuple[str, ...], float]


async def scrape(counter: Counter) -> Figures:
    """The figures of `/metrics` that are not the process's own, by name and labels; a moment after the last ones."""
    clock = counter.services.clock
    clock.advance_to(clock.offset + timedelta(seconds=1))
    response = await counter.client.get("/metrics")
    assert (response.status_code, response.headers["content-type"]) == (200, CONTENT_TYPE_LATEST)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if family.name in GAUGES or sample.name == "recado_scrape_errors_total"
    }


def grown(before: Figures, after: Figures) -> dict[str, float]:
    """By part, how many errors of scrapes there are more."""
    errors = {key: value - before.get(key, 0) for key, value in after.items() if key[0] == "recado_scrape_errors_total"}
    return {key[1]: count for key, count in errors.items() if count}


def counts(figures: Figures, name: str = "recado_backlog") -> dict[str, float]:
    return {key[1]: value for key, value in figures.items() if key[0] == name}


@asynccontextmanager
async def rows(counter: Counter) -> AsyncIterator[Any]:
    async with counter.services.database.transaction() as session:
        yield session


def event_row(number: int, at: datetime, **more: Any) -> InboxEvent:
    given = {"channel": "twilio", "address": "+15550100", "provider_event_id": f"e{number}", "payload": b"{}"}
    return InboxEvent(**given, received_at=at, **more)


def notification_row(merchant_id: int, conversation_id: int, number: int, at: datetime, **more: Any) -> Notification:
    return Notification(
        merchant_id=merchant_id,
        conversation_id=conversation_id,
        notification_type="user_question_request",
        context={},
        answer_model_json_schema={},
        request_key=f"r{number}",
        created_at=at,
        updated_at=at,
        **more,
    )


async def test_without_work_all_is_zero(counter: Counter) -> None:
    figures = await scrape(counter)
    assert counts(figures) == dict.fromkeys(backlog_repository.COUNTED, 0)
    assert counts(figures, "recado_backlog_age_seconds") == dict.fromkeys(backlog_repository.COUNTED, 0)
    assert counts(figures, "recado_notifications_open") == {}
    assert {key: value for key, value in figures.items() if key[0] == "recado_queue_jobs"} == {
        ("recado_queue_jobs", "memory", "queued"): 0,
        ("recado_queue_jobs", "memory", "active"): 0,
    }
    assert {key[1:] for key in figures if key[0] == "recado_merchant_info"} == {
        (str(counter.mine.merchant_id), "shop"),
        (str(counter.theirs.merchant_id), "other"),
    }


async def test_each_kind_of_work_is_counted_with_the_age_of_its_oldest(counter: Counter) -> None:
    now = counter.services.clock.now()

    def ago(seconds: float) -> datetime:
        return now - timedelta(seconds=seconds)

    mine = counter.mine.merchant_id
    conversation_id = await counter.mine.open()
    own = {"merchant_id": mine, "conversation_id": conversation_id}
    message = {**own, "kind": "text", "text": "hola", "attachments": [], "other_data": {}}
    async with rows(counter) as session:
        session.add_all(event_row(number, ago(100 - number)) for number in range(3))
        session.add(event_row(9, ago(1_000), state="done"))
        session.add(event_row(10, ago(500), state="routing", due_at=ago(-30)))
        turn = Turn(**own, claimed_until=now, started_at=ago(20), state="running")
        session.add_all([turn, Turn(**own, claimed_until=now, started_at=ago(2_000), state="done")])
        await session.flush()
        waits = [Message(**message, role="user", key=f"u{number}", created_at=ago(70)) for number in range(2)]
        taken = Message(**message, role="user", key="taken", turn_id=turn.id, created_at=ago(900))
        reply = Message(**message, role="response", key="reply", created_at=ago(900))
        session.add_all([*waits, taken, reply])
        await session.flush()
        sends = {**own, "message_id": reply.id, "channel_account_id": counter.mine.account.id, "buttons": []}
        due = {"pending": (40, -60), "sending": (30,), "held": (600,), "failed": (5_000,), "sent": (5_000,)}
        part = iter(range(20))
        session.add_all(
            Delivery(**sends, part=next(part), state=state, due_at=ago(seconds))
            for state, moments in due.items()
            for seconds in moments
        )
        session.add(notification_row(mine, conversation_id, 1, ago(300)))
        session.add(notification_row(mine, conversation_id, 2, ago(200), announced_at=ago(190), escalated_at=ago(1)))
        closed = {"status": "answered", "announced_at": now, "returned_at": now}
        session.add(notification_row(mine, conversation_id, 3, ago(9_000), **closed))
        alert = Alert(fingerprint="f", condition="test", description="", context={}, first_at=now, last_at=now)
        session.add(alert)
        await session.flush()
        told = {"fingerprint": "f", "condition": "test", "description": "", "context": {}}
        session.add(AlertOccurrence(**told, at=ago(5)))
        session.add(AlertOccurrence(**told, at=ago(50), alert_id=alert.id))
        post = {"alert_id": alert.id, "channel": "log", "kind": "first", "count": 1, "due_at": now}
        session.add(AlertPost(**post, created_at=ago(80)))
        session.add(AlertPost(**post, created_at=ago(800), state="sent"))
    figures = await scrape(counter)
    ages = {
        "events": (3, 100),
        "events_routing": (1, 500),
        "messages": (2, 70),
        "turns": (1, 20),
        "deliveries": (3, 40),
        "deliveries_held": (1, 600),
        "notifications": (1, 300),
        "alerts": (1, 5),
        "alert_posts": (1, 80),
    }
    assert counts(figures) == {of: count for of, (count, _) in ages.items()}
    late = counter.services.clock.now() - now
    found = counts(figures, "recado_backlog_age_seconds")
    assert {of: age - found[of] for of, (_, age) in ages.items()} == pytest.approx(
        dict.fromkeys(ages, -late.total_seconds()), abs=2
    )
    assert figures["recado_notifications_open", str(mine)] == 2
    assert 300 <= figures["recado_notifications_open_age_seconds", str(mine)] < 310


async def test_what_is_due_later_has_no_age_yet(counter: Counter) -> None:
    conversation_id = await counter.mine.open()
    await counter.mine.say(conversation_id, "later")
    later = counter.services.clock.now() + timedelta(hours=1)
    async with rows(counter) as session:
        await session.execute(text("UPDATE deliveries SET due_at = :later"), {"later": later})
    figures = await scrape(counter)
    assert figures["recado_backlog", "deliveries"] == 1
    assert figures["recado_backlog_age_seconds", "deliveries"] == 0


async def test_jobs_in_the_queue_are_counted(counter: Counter) -> None:
    await counter.services.nudges.turn(1, counter.mine.merchant_id)
    await counter.services.nudges.turn(2, counter.mine.merchant_id)
    await counter.services.nudges.queue.dequeue()
    figures = await scrape(counter)
    assert figures["recado_queue_jobs", "memory", "queued"] == 1
    assert figures["recado_queue_jobs", "memory", "active"] == 1


async def test_however_many_scrape_the_rows_are_read_once_a_second(counter: Counter) -> None:
    await scrape(counter)
    async with counter.queries() as run:
        await counter.client.get("/metrics")
        assert run == []
        clock = counter.services.clock
        clock.advance_to(clock.offset + timedelta(seconds=1))
        answers = await asyncio.gather(*(counter.client.get("/metrics") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(run) == len(set(run)) == len(backlog_repository.COUNTED) + 2  # open notifications, merchants


async def test_what_cannot_be_read_is_left_out_and_counted(counter: Counter) -> None:
    before = await scrape(counter)
    async with counter.services.database.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE alert_posts RENAME TO alert_posts_away")
    after = await scrape(counter)
    assert grown(before, after) == {"alerts": 1}
    assert set(counts(before)) - set(counts(after)) == {"alerts", "alert_posts"}
    async with counter.services.database.engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE alert_posts_away RENAME TO alert_posts")
    again = await scrape(counter)
    assert (grown(after, again), set(counts(again))) == ({}, set(counts(before)))


async def test_a_database_that_hangs_costs_two_seconds_and_is_not_asked_more(database: Database) -> None:
    """A table is locked by somebody else, so that reading it waits."""
    if database.is_sqlite:
        pytest.skip("its readers wait for nobody")
    asking = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND application_name = current_setting('application_name')"
    )
    async with open_counter(database) as counter:
        before = await scrape(counter)
        async with database.engine.begin() as locker:
            await locker.exec_driver_sql("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
            started = time.monotonic()
            during = await scrape(counter)
            took = time.monotonic() - started
            assert TIMEOUT_SECONDS <= took < TIMEOUT_SECONDS + 1.5
            assert grown(before, during) == {"deliveries": 1}
            assert set(counts(before)) - set(counts(during)) == {"deliveries", "deliveries_held"}
            await scrape(counter)
            async with database.read() as session:
                assert (await session.execute(asking)).scalar_one() <= 1
        # What hung is given up by now, or will be: the driver may take its time over that.
        async with asyncio.timeout(20):
            while set(counts(await scrape(counter))) != set(counts(before)):
                pass


async def test_a_queue_that_is_gone_takes_nothing_else_along(counter: Counter) -> None:
    async def gone(_kind: str) -> int:
        raise ConnectionError("no queue")

    before = await scrape(counter)
    counter.services.nudges.queue.count = gone  # type: ignore[method-assign, assignment]
    after = await scrape(counter)
    assert grown(before, after) == {"queue": 1}
    assert counts(after) == counts(before)


@pytest.mark.usefixtures("new_tables")
async def test_no_query_reads_a_whole_table(database: Database, counter: Counter) -> None:
    """But that of the merchants, who are few."""
    for person in (ANA, BETO):
        await counter.mine.hear("hola", person)
    asked: list[tuple[str, Any]] = []
    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    async with database.read() as session:
        for part in backlog_repository.PARTS:
            await backlog_repository.waiting(session, part)
        await backlog_repository.open_notifications(session)
        await sync_backlog(session)
        queries = [(query, values) for query, values in asked if query.startswith("SELECT")]
        connection = await session.connection()
        if not database.is_sqlite:
            # As with tables that are too large to be read.
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        plans = [(await connection.exec_driver_sql(explain + query, values)).all() for query, values in queries]
    assert len(plans) == len(backlog_repository.COUNTED) + 2
    for plan in plans:
        assert reads_only_what_waits([str(line[-1]) for line in plan]), plan


PARTIAL = (
    "ix_inbox_events_received",
    "ix_inbox_events_routing",
    "ix_inbox_events_due_at",
    "ix_messages_pending",
    "ix_turns_running",
    "ix_deliveries_unsent",
    "ix_deliveries_held",
    "ix_notifications_unfinished",
    "ix_notifications_open",
    "ix_alert_occurrences_uncounted",
    "ix_alert_occurrences_alert_id (alert_id=?)",  # its rows without an alert, which are the same
    "ix_alert_posts_unsent",
    "ix_sync_entries_pending",
)


def reads_only_what_waits(plan: Sequence[str]) -> bool:
    """Whether each table is read by an index of what waits, or one row by its key."""
    reading = [line for line in plan if " Scan " in line or line.startswith(("SCAN ", "SEARCH "))]
    by_index = [
        any(name in line for name in PARTIAL)
        or "INTEGER PRIMARY KEY" in line
        or "_pkey" in line
        or " using pk_" in line
        for line in reading
        if not line.startswith("SCAN anon") and "Subquery Scan" not in line and "Bitmap Heap Scan" not in line
    ]
    return bool(by_index) and all(by_index) and "Seq Scan" not in "\n".join(plan)
