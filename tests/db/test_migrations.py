"""The migrations build what the models say, on both databases, and can be undone."""

import asyncio

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from recado.db.engine import Database
from recado.db.migrate import _config, migrate, pending_revision
from recado.db.models import Merchant


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Merchant.metadata))


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_upgrading_gives_the_models_and_downgrading_nothing(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    head = await pending_revision(database)
    assert head is not None
    await migrate(database)
    await migrate(database)
    assert await pending_revision(database) is None
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(tables) == {*Merchant.metadata.tables, "alembic_version"}

    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(_config(sync), "base"))
    async with database.engine.connect() as connection:
        assert await connection.run_sync(tables) == {"alembic_version"}
    assert await pending_revision(database) == head
    await migrate(database)
    assert await pending_revision(database) is None
    await database.close()


async def test_partial_indexes_are_the_models(empty_database_url: str) -> None:
    """What `compare_metadata` does not look at: on which rows an index is, and whether it is unique."""
    database = Database(empty_database_url)
    await migrate(database)

    def conditions(connection: Connection) -> dict[str, tuple[bool, bool]]:
        found = {}
        dialect = connection.dialect.name
        for table in Merchant.metadata.tables:
            for index in inspect(connection).get_indexes(table):
                where = (index.get("dialect_options") or {}).get(f"{dialect}_where")
                found[str(index["name"])] = (bool(index["unique"]), where is not None)
        return found

    async with database.engine.connect() as connection:
        dialect = connection.dialect.name
        present = await connection.run_sync(conditions)
    for table in Merchant.metadata.tables.values():
        for index in table.indexes:
            where = index.dialect_options[dialect]["where"]
            assert present[str(index.name)] == (bool(index.unique), where is not None), index.name
    await database.close()


async def test_two_processes_that_open_a_new_database_at_once(empty_database_url: str) -> None:
    """SQLite is switched to WAL by whoever comes first; the other one must not fail over that."""
    databases = [Database(empty_database_url) for _ in range(4)]
    await asyncio.gather(*(pending_revision(database) for database in databases))
    for database in databases:
        await database.close()
