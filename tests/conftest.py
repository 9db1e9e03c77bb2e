"""Fixtures: databases of both kinds, and running servers."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from recado.db.engine import Database
from recado.db.migrate import migrate
from tests.support import BODEGA, RecadoServer, copy_database

POSTGRES_URL = os.environ.get("RECADO_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


def _connect_postgres() -> psycopg.Connection[tuple[object, ...]]:
    url = make_url(POSTGRES_URL).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True, connect_timeout=3)


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


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    """A migrated database, of each kind in turn."""
    database = Database(empty_database_url)
    await migrate(database)
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
