"""The migration to shared addresses, with rows that refer to accounts: none is lost, and none refers to nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from recado.db.engine import Database
from recado.db.migrate import _config, migrate
from tests.builders import NOON

ROWS = {
    "merchants": [
        {"id": n, "name": f"m{n}", "sub_domain": f"m{n}", "language": "es", "timezone": "UTC"} for n in (1, 2)
    ],
    "channel_accounts": [
        {"id": 10 * n, "merchant_id": n, "channel": "simulator", "address": f"+1555010{n}"} for n in (1, 2)
    ],
    "contacts": [
        {"id": n, "merchant_id": n, "channel": "simulator", "channel_user_id": f"+5190000000{n}"} for n in (1, 2)
    ],
    "conversations": [
        {
            "id": n,
            "merchant_id": n,
            "contact_id": n,
            "channel_account_id": 10 * n,
            "summary": "",
            "summarised_through": 0,
        }
        for n in (1, 2)
    ],
    "messages": [
        {"id": n, "merchant_id": 1 + n % 2, "conversation_id": 1 + n % 2, "role": "response", "kind": "text"}
        | {"text": "hola", "key": f"k{n}", "attachments": "[]", "other_data": "{}"}
        for n in range(1, 41)
    ],
    "deliveries": [
        {"id": n, "merchant_id": 1 + n % 2, "conversation_id": 1 + n % 2, "message_id": n, "part": 0, "state": "sent"}
        | {"channel_account_id": 10 * (1 + n % 2), "buttons": "[]", "attempts": 0, "due_at": NOON}
        for n in range(1, 41)
    ],
    "inbox_events": [
        {"channel": "simulator", "address": "+15550101", "provider_event_id": f"e{n}", "payload": b"{}"}
        | {"state": state, "received_at": NOON}
        for n, state in enumerate(["done", "unrouted", "received"])
    ],
}
CREATED = ("merchants", "contacts", "conversations", "messages")
SHARED = text(
    "INSERT INTO channel_accounts (merchant_id, channel, address, credentials, templates, active, shared)"
    " VALUES (2, 'simulator', '+15550101', :credentials, '{}', :active, :active)"
)


async def fill(database: Database) -> None:
    async with database.transaction() as session:
        for table, rows in ROWS.items():
            for row in rows:
                values: dict[str, Any] = row | ({"created_at": NOON} if table in CREATED else {})
                if table == "channel_accounts":
                    values |= {"credentials": bytes(range(256)), "templates": '{"t": {"es": "HX1"}}', "active": True}
                columns = ", ".join(values)
                marks = ", ".join(f":{name}" for name in values)
                insert = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - constants
                await session.execute(text(insert), values)


async def down(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(_config(sync), "0004"))


async def content(database: Database) -> dict[str, Any]:
    """What must stay as it is."""
    queries = {
        "accounts": "SELECT id, merchant_id, channel, address, credentials, templates, active FROM channel_accounts",
        "conversations": "SELECT id, channel_account_id FROM conversations",
        "deliveries": "SELECT id, channel_account_id FROM deliveries",
        "events": "SELECT id, provider_event_id, state FROM inbox_events",
    }
    async with database.read() as session:
        return {
            name: [tuple(bytes(v) if isinstance(v, memoryview) else str(v) for v in row) for row in rows]
            for name, query in queries.items()
            for rows in [(await session.execute(text(f"{query} ORDER BY id"))).all()]
        }


async def check_references(database: Database) -> None:
    """No reference leads nowhere, and from now on none can."""
    async with database.read() as session:
        if database.is_sqlite:
            assert (await session.execute(text("PRAGMA foreign_key_check"))).all() == []
            assert (await session.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"
            assert (await session.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1
    for statement in ("DELETE FROM channel_accounts", "UPDATE deliveries SET channel_account_id = 99"):
        with pytest.raises(IntegrityError):
            async with database.transaction() as session:
                await session.execute(text(statement))


async def test_no_row_is_lost_up_and_down_and_up(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await migrate(database, "0004")
    await fill(database)
    before = await content(database)
    assert len(before["deliveries"]) == 40
    for _ in range(2):
        await migrate(database, "0005")
        assert await content(database) == before
        await check_references(database)
        await down(database)
        assert await content(database) == before
        await check_references(database)
    await database.close()


async def test_afterwards_an_address_may_have_an_account_of_each_merchant(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await migrate(database, "0004")
    await fill(database)
    await migrate(database, "0005")
    values = {"credentials": b"x", "active": True}
    async with database.transaction() as session:
        await session.execute(SHARED, values)
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            await session.execute(SHARED, values)
    await database.close()


async def test_shared_addresses_cannot_be_downgraded_and_nothing_is_lost_by_trying(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await migrate(database)
    await fill(database)
    async with database.transaction() as session:
        await session.execute(SHARED, {"credentials": b"x", "active": True})
    before = await content(database)
    with pytest.raises(IntegrityError):
        await down(database)
    assert await content(database) == before
    await check_references(database)
    await database.close()


async def test_what_waits_for_its_merchant_is_received_again_by_a_downgrade(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await migrate(database)
    await fill(database)
    async with database.transaction() as session:
        waiting = {"due": datetime(2026, 5, 1, tzinfo=UTC)}
        await session.execute(text("UPDATE inbox_events SET state = 'routing', due_at = :due WHERE id = 3"), waiting)
    await down(database)
    assert [row[2] for row in (await content(database))["events"]] == ["done", "unrouted", "received"]
    await database.close()
