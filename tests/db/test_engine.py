"""What both databases promise: durability, one writer at a time, and times, secrets and texts that come back whole."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from recado.db.engine import Database
from recado.db.models import ChannelAccount, Contact, Merchant
from recado.errors import ConfigurationError
from tests.builders import NOON, another_secret_key, make_shop


def merchant(number: int, created_at: datetime = NOON) -> Merchant:
    return Merchant(name=f"m{number}", sub_domain=f"m{number}", created_at=created_at)


async def test_a_time_comes_back_as_it_was_in_utc(database: Database) -> None:
    lima = datetime(2026, 3, 1, 23, 59, 59, 123456, tzinfo=timezone(timedelta(hours=-5)))
    async with database.transaction() as session:
        session.add(merchant(1, lima))
    async with database.read() as session:
        stored = (await session.scalars(select(Merchant))).one().created_at
        assert await session.scalar(select(func.count()).where(Merchant.created_at == lima)) == 1
    assert (stored, stored.utcoffset(), stored.tzinfo) == (lima, timedelta(0), UTC)


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="a naive datetime cannot be stored"):
        async with database.transaction() as session:
            session.add(merchant(1, datetime(2026, 3, 1)))


async def test_secrets_are_not_in_the_database(database: Database) -> None:
    shop = await make_shop(database)
    secret = {"auth_token": "s3cr3t-t0ken", "ñ": "ü"}
    async with database.transaction() as session:
        (await session.get_one(ChannelAccount, shop.account.id)).credentials = secret
    async with database.read() as session:
        raw = bytes((await session.execute(text("SELECT credentials FROM channel_accounts"))).scalar_one())
        assert (await session.get_one(ChannelAccount, shop.account.id)).credentials == secret
    assert b"s3cr3t" not in raw
    assert b"auth_token" not in raw

    with another_secret_key():
        async with database.read() as session:
            with pytest.raises(ConfigurationError, match=r"SECRET_KEY; set the one they were stored with"):
                await session.get_one(ChannelAccount, shop.account.id)
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE channel_accounts SET credentials = :raw"), {"raw": b"gAAAAnonsense"})
    async with database.read() as session:
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            await session.get_one(ChannelAccount, shop.account.id)


async def test_the_same_secret_is_encrypted_differently_each_time(database: Database) -> None:
    await make_shop(database)
    await make_shop(database, "other", "+15550200")
    async with database.read() as session:
        raw = (await session.execute(text("SELECT credentials FROM channel_accounts"))).scalars().all()
    assert len({bytes(one) for one in raw}) == 2


async def test_what_is_committed_is_on_disk(database: Database) -> None:
    async with database.read() as session:
        if database.is_sqlite:
            pragmas = {
                name: (await session.execute(text(f"PRAGMA {name}"))).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        else:
            assert (await session.execute(text("SHOW synchronous_commit"))).scalar_one() == "on"


async def test_every_connection_of_the_pool_is_set_up(database: Database) -> None:
    if not database.is_sqlite:
        return
    sessions = [database.read() for _ in range(6)]
    opened = [await session.__aenter__() for session in sessions]
    found = [(await session.execute(text("PRAGMA synchronous"))).scalar_one() for session in opened]
    for session in sessions:
        await session.__aexit__(None, None, None)
    assert found == [2] * 6


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def breaks() -> None:
        async with database.transaction() as session:
            session.add(merchant(1))
            await session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        await breaks()
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            session.add_all([merchant(1), merchant(1)])
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            session.add(Contact(merchant_id=99, channel="x", channel_user_id="y", created_at=NOON))
    async with database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(Merchant)) == 0


async def test_a_cancelled_transaction_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    inside = asyncio.Event()

    async def stuck() -> None:
        async with database.transaction() as session:
            session.add(merchant(1))
            await session.flush()
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await inside.wait()
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(10), database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(Merchant)) == 0
        session.add(merchant(1))


async def test_two_processes_that_write_at_once_do_not_fail(database: Database) -> None:
    """Two `Database` objects share nothing but the file, as two processes do. Each reads before it writes."""
    shop = await make_shop(database)
    others = [Database(database.url.render_as_string(hide_password=False)) for _ in range(2)]

    async def write(where: Database) -> None:
        for _ in range(20):
            async with where.transaction() as session:
                row = await session.get_one(Merchant, shop.merchant_id, with_for_update=True)
                count = int(row.local_id or 0)
                await asyncio.sleep(0)
                await session.execute(update(Merchant).values(local_id=str(count + 1)))

    await asyncio.gather(*(write(where) for where in (database, *others)))
    async with database.read() as session:
        assert (await session.get_one(Merchant, shop.merchant_id)).local_id == "60"
    for other in others:
        await other.close()


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    await make_shop(database)
    async with database.transaction() as session:
        await session.execute(update(Merchant).values(name="new"))
        async with asyncio.timeout(10), database.read() as reader:
            assert (await reader.scalars(select(Merchant.name))).all() == ["Shop"]
    async with database.read() as reader:
        assert (await reader.scalars(select(Merchant.name))).all() == ["new"]


async def test_errors_do_not_carry_what_people_wrote(database: Database) -> None:
    with pytest.raises(IntegrityError) as refused:
        async with database.transaction() as session:
            session.add_all([Merchant(name="my private words", sub_domain="x", created_at=NOON) for _ in range(2)])
    assert "my private words" not in str(refused.value)


async def test_a_reader_begins_no_write(database: Database) -> None:
    """A read that took SQLite's write lock would make every webhook wait for every page."""
    statements: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    async with database.read() as session:
        await session.execute(select(Merchant))
    assert not [statement for statement in statements if "IMMEDIATE" in statement]
