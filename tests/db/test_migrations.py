"""The migrations build what the models say, on both databases, and can be undone."""

import asyncio

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from recado.db.engine import Database
from recado.db.migrate import _config, migrate, pending_revision
from recado.db.models import Merchant
from recado.documents.search import DocumentSearch
from recado.text import fold
from tests.builders import NOON

FTS5_TABLES = {"documents_fts", *(f"documents_fts_{part}" for part in ("data", "idx", "docsize", "config"))}
"""SQLite's full-text index is a virtual table, which keeps its data in tables of its own."""
FULL_TEXT = {"sqlite": (FTS5_TABLES, {"answering_documents"}), "postgresql": (set(), set())}
"""The tables and the views of the full-text index."""
GIN_INDEX = "ix_documents_words"


def differences(connection: Connection) -> list[object]:
    """Between the models and the database, but for full text, which models cannot express the same for both."""

    def expressible(name: str | None, _kind: str, _parents: object) -> bool:
        return name not in FTS5_TABLES | {GIN_INDEX}

    options = {"compare_type": True, "compare_server_default": True, "include_name": expressible}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Merchant.metadata))


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def views(connection: Connection) -> set[str]:
    return set(inspect(connection).get_view_names())


def full_text(connection: Connection) -> set[str]:
    """The names of what keeps the full-text index, and keeps it in step."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        return set(connection.exec_driver_sql(query).scalars())
    query = (
        "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND position('USING gin' in indexdef) > 0"
    )
    return set(connection.exec_driver_sql(query).scalars())


async def test_upgrading_gives_the_models_and_downgrading_nothing(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    head = await pending_revision(database)
    assert head is not None
    await migrate(database)
    await migrate(database)
    assert await pending_revision(database) is None
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        own_tables, own_views = FULL_TEXT[connection.dialect.name]
        assert await connection.run_sync(tables) == {*Merchant.metadata.tables, "alembic_version", *own_tables}
        assert await connection.run_sync(views) == own_views
        triggers = {f"documents_fts_{when}" for when in ("insert", "update", "delete")}
        assert await connection.run_sync(full_text) == (triggers if own_tables else {GIN_INDEX})

    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(_config(sync), "base"))
    async with database.engine.connect() as connection:
        assert await connection.run_sync(tables) == {"alembic_version"}
        assert await connection.run_sync(views) == set()
        assert await connection.run_sync(full_text) == set()
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


async def test_an_upgrade_indexes_the_documents_that_are_there(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await migrate(database, "0002")
    merchant = (
        "INSERT INTO merchants (id, name, sub_domain, language, timezone, created_at)"
        " VALUES (1, 'Shop', 'shop', 'es', 'UTC', :now)"
    )
    document = (
        "INSERT INTO documents"
        " (merchant_id, key, category, source, title, content, search_text, created_at, updated_at)"
        " VALUES (1, :key, 'faq', 'yaml', :title, :content, :folded, :now, :now)"
    )
    async with database.transaction() as session:
        await session.execute(text(merchant), {"now": NOON})
        for title, content in (("¿Hacen envíos?", "Sí: a Lima."), ("Gift-cards", "No."), ("Horario", "De 9 a 19.")):
            folded = fold(f"{title}\n{content}")
            values = {"key": title, "title": title, "content": content, "folded": folded, "now": NOON}
            await session.execute(text(document), values)

    async def found(question: str) -> list[str]:
        async with database.read() as session:
            # One only: without a match it would be the newest.
            return [document.title for document in (await DocumentSearch(session, 1).find(question, 1)).found]

    async def all_are_found() -> None:
        assert await found("a lima") == await found("el envío") == ["¿Hacen envíos?"]
        assert await found("cards") == ["Gift-cards"]
        assert await found("nada") == ["Horario"]

    await migrate(database)
    await all_are_found()
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(_config(sync), "0002"))
    await migrate(database)
    await all_are_found()
    await database.close()


async def test_two_processes_that_open_a_new_database_at_once(empty_database_url: str) -> None:
    """SQLite is switched to WAL by whoever comes first; the other one must not fail over that."""
    databases = [Database(empty_database_url) for _ in range(4)]
    await asyncio.gather(*(pending_revision(database) for database in databases))
    for database in databases:
        await database.close()
