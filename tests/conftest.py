"""Fixtures: databases of both kinds, and running servers."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, make_url

from recado.db.engine import Database
from recado.db.migrate import migrate
from tests.support import BODEGA, RecadoServer, copy_database

POSTGRES_URL = os.environ.get("RECADO_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _connect_postgres() -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(_libpq(POSTGRES_URL), autocommit=True, connect_timeout=3)


@pytest.fixture(scope="session")
def postgres_missing() -> str | None:
    """Why there is no PostgreSQL to test on, or None when there is one."""
    try:
        _connect_postgres().close()
    except psycopg.OperationalError as error:
        return f"no PostgreSQL at RECADO_TEST_POSTGRES_URL ({make_url(POSTGRES_URL)}): {error}"
    return None


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path, postgres_missing: str | None) -> Iterator[str]:
    """The URL of an empty database: a SQLite file, then a PostgreSQL schema of its own."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/test.db"
        return
    if postgres_missing:
        pytest.skip(postgres_missing)
    with postgres_schema() as url:
        yield url


@contextmanager
def postgres_schema() -> Iterator[str]:
    """The URL of an empty PostgreSQL schema of its own."""
    schema = f"recado_{uuid.uuid4().hex[:12]}"
    with _connect_postgres() as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        try:
            query = {"options": f"-csearch_path={schema}", "application_name": schema}
            url = make_url(POSTGRES_URL).update_query_dict(query)
            yield url.render_as_string(hide_password=False)
        finally:
            # A test that failed within a transaction may have left it open, and the drop would wait for it for ever.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [schema]
            )
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


async def _migrate(url: str, said: list[str]) -> None:
    """Migrate an empty database, and keep what was said to it."""
    database = Database(url)

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def listen(_c: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        if not parameters and not statement.lstrip().upper().startswith("SELECT"):
            said.append(statement)  # what has parameters changes rows, and there are none

    await migrate(database)
    await database.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, to be copied: migrating takes a hundred times as long."""
    path = tmp_path_factory.mktemp("migrated") / "test.db"
    asyncio.run(_migrate(f"sqlite+aiosqlite:///{path}", []))
    return path


@pytest.fixture(scope="session")
def migrating_sql(postgres_missing: str | None) -> str:
    """What the migrations say to PostgreSQL, to be said again at once."""
    said: list[str] = []
    if not postgres_missing:
        with postgres_schema() as url:
            asyncio.run(_migrate(url, said))
    return ";\n".join(said)


@pytest.fixture
async def database(
    empty_database_url: str, tmp_path: Path, migrated_file: Path, migrating_sql: str
) -> AsyncIterator[Database]:
    """A migrated database, of each kind in turn."""
    if empty_database_url.startswith("sqlite"):
        shutil.copy(migrated_file, tmp_path / "test.db")
    else:
        with psycopg.connect(_libpq(empty_database_url), autocommit=True) as connection:
            connection.execute(migrating_sql)
    database = Database(empty_database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def prepared_bodega(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the demo merchant, to be copied."""
    server = RecadoServer(tmp_path_factory.mktemp("prepared"))
    server.prepare(BODEGA)
    return server.folder / "recado.db"


@pytest.fixture
def demo_server(tmp_path: Path, prepared_bodega: Path) -> Iterator[RecadoServer]:
    """`recado serve` with the demo model and the demo merchant, fresh for each test."""
    # The quiet period of production: a person, and a test, can see that an answer is being typed.
    server = RecadoServer(tmp_path, {"TURN_QUIET_SECONDS": "1.0"})
    copy_database(prepared_bodega, tmp_path)
    server.start()
    yield server
    server.stop()
