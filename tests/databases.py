"""Databases with the newest schema, made once for all tests of a process: migrating takes a hundred times as long."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import event, make_url

from recado.db.base import Base
from recado.db.engine import Database
from recado.db.migrate import migrate

POSTGRES_URL = os.environ.get("RECADO_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
FIRST = "setval('{0}.{1}', 1, false)"
LARGEST = 8_000_000
"""Bytes of all tables together from which on new ones are quicker than those that were emptied."""
STATE = """
WITH parts AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend
    WHERE refclassid = 'pg_namespace'::regclass AND refobjid = %(schema)s::regnamespace
), relations AS MATERIALIZED (
    SELECT oid, xmin FROM pg_class
    WHERE oid = ANY(ARRAY(SELECT objid FROM parts WHERE classid = 'pg_class'::regclass)) AND relkind IN ('r', 'S')
), numbers AS MATERIALIZED (
    SELECT array_agg(oid) AS oids FROM relations
)
SELECT (
    SELECT md5(string_agg(concat_ws(' ', kind, oid, number, xmin), ',' ORDER BY kind, oid, number)) FROM (
        SELECT 1 AS kind, objid AS oid, 0 AS number, '0'::xid AS xmin FROM parts
        UNION ALL SELECT 2, oid, 0, xmin FROM relations
        UNION ALL SELECT 3, attrelid, attnum, xmin FROM pg_attribute WHERE attrelid = ANY((TABLE numbers)::oid[])
        UNION ALL SELECT 4, oid, 0, xmin FROM pg_trigger WHERE tgrelid = ANY((TABLE numbers)::oid[])
        UNION ALL SELECT 5, oid, 0, xmin FROM pg_constraint WHERE conrelid = ANY((TABLE numbers)::oid[])
        UNION ALL SELECT 6, indexrelid, 0, xmin FROM pg_index WHERE indrelid = ANY((TABLE numbers)::oid[])
    ) AS found
), (SELECT coalesce(sum(pg_relation_size(oid)), 0) FROM relations)
"""
"""What a schema is made of, in words that change with it; and its size in bytes."""


def libpq(url: str) -> str:
    """The URL as psycopg takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def connect_postgres() -> psycopg.Connection[tuple[object, ...]]:
    """A connection to the database that the tests' schemas lie in."""
    return psycopg.connect(libpq(POSTGRES_URL), autocommit=True, connect_timeout=3)


def _end_connections(connection: psycopg.Connection[tuple[object, ...]], schema: str) -> None:
    """What a test left open: what it left in a transaction would be waited for for ever."""
    ask = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    while connection.execute(ask, [schema]).fetchall():
        pass


@contextmanager
def postgres_schema() -> Iterator[str]:
    """The URL of an empty PostgreSQL schema of its own."""
    schema = f"recado_{uuid.uuid4().hex[:12]}"
    with connect_postgres() as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        try:
            query = {"options": f"-csearch_path={schema}", "application_name": schema}
            url = make_url(POSTGRES_URL).update_query_dict(query)
            yield url.render_as_string(hide_password=False)
        finally:
            _end_connections(connection, schema)
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


async def _migrate(url: str) -> str:
    """Migrate an empty database. Returns what was said to it, to be said to another at once."""
    said = []
    database = Database(url)

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def listen(_c: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        if not parameters and not statement.lstrip().upper().startswith("SELECT"):
            said.append(statement)  # what has parameters changes rows, and there are none

    await migrate(database)
    await database.close()
    return ";\n".join(said)


_newest_sqlite: list[bytes] = []


async def newest_sqlite() -> bytes:
    """The file of a SQLite database with the newest schema, and no rows."""
    if not _newest_sqlite:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "newest.db"
            await _migrate(f"sqlite+aiosqlite:///{path}")
            _newest_sqlite.append(path.read_bytes())
    return _newest_sqlite[0]


async def bring_up_to_date(database: Database) -> None:
    """What `migrate` does, and quickly where a SQLite file is not there yet."""
    newest = await newest_sqlite() if database.is_sqlite else b""
    if not (newest and _write_new(Path(database.url.database or ""), newest)):
        await migrate(database)


def _write_new(path: Path, content: bytes) -> bool:
    """Write a file unless there is one. Whether it was written."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


class NewestPostgres:
    """A PostgreSQL schema with the newest tables. To make and drop them takes fifty times as long as to empty them."""

    def __init__(self) -> None:
        self._said = ""
        self._made = ExitStack()
        self._url, self._schema, self._state, self._emptying = "", "", "", ""

    def emptied(self) -> str:
        """Its URL, once it is as it was made: without rows, each id 1 next."""
        with connect_postgres() as connection:
            if self._schema:
                _end_connections(connection, self._schema)
                state, size = self._look(connection)
                if state == self._state and size < LARGEST:
                    connection.execute(self._emptying)
                    return self._url
            self._make(connection)
        return self._url

    def drop(self) -> None:
        self._made.close()
        self._schema = ""

    def _make(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self.drop()
        self._url = self._made.enter_context(postgres_schema())
        self._schema = schema = make_url(self._url).query["application_name"]
        if self._said:
            with psycopg.connect(libpq(self._url), autocommit=True) as inside:
                inside.execute(self._said)
        else:
            self._said = asyncio.run(_migrate(self._url))
        self._state, _ = self._look(connection)
        found = connection.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = %s", [schema])
        emptying = [
            f"DELETE FROM {schema}.{table.name}"  # noqa: S608 - our own words
            for table in reversed(Base.metadata.sorted_tables)
        ]
        emptying += [f"SELECT {FIRST.format(schema, name)}" for (name,) in found]
        self._emptying = ";\n".join(emptying)

    def _look(self, connection: psycopg.Connection[tuple[object, ...]]) -> tuple[str, int]:
        row = connection.execute(STATE, {"schema": self._schema}).fetchone()
        assert row is not None
        return str(row[0]), int(str(row[1]))
