"""Fixtures: databases of both kinds, and running servers."""

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url

from recado.db.engine import Database
from tests.databases import POSTGRES_URL, NewestPostgres, connect_postgres, newest_sqlite, postgres_schema
from tests.dialects import share_compiled
from tests.processes import ROOT, zygote
from tests.support import BODEGA, RecadoServer, copy_database

WAITING_WORKERS = 2
"""So many more than there are cores: tests of running servers mostly wait."""
LONGEST = (
    "crash/test_sync_kill.py",
    "crash/test_sigkill.py",
    "faults/test_fault_run.py",
    "sync/test_outbox_faults.py",
    "sync/test_outage.py",
    "notifications/test_races.py",
    "notifications/test_taking_back.py",
    "e2e/test_sync.py",
    "e2e/test_misbehaving_twilio.py",
    "e2e/test_commands.py",
    "e2e/test_model_outage.py",
    "http/test_simulator_page.py",
    "channels/test_fuzz.py",
    "http/test_health.py",
)
"""The files that take longest. One that started last would be the only one at work in the end."""

share_compiled()
# How long an example takes to make says something of the machine only.
settings.register_profile("recado", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("recado")


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """What `-n auto` means, unless the environment says it."""
    cores = yield
    return cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores + WAITING_WORKERS


def pytest_collection() -> None:
    # As `recado` does: what is imported stays until the end, and need not be looked through again and again.
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """The last that a process which runs tests does."""
    zygote.end()


@pytest.fixture(scope="session")
def postgres_missing() -> str | None:
    """Why there is no PostgreSQL to test on, or None when there is one."""
    try:
        connect_postgres().close()
    except psycopg.OperationalError as error:
        return f"no PostgreSQL at RECADO_TEST_POSTGRES_URL ({make_url(POSTGRES_URL)}): {error}"
    return None


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest, postgres_missing: str | None) -> str:
    """Each kind of database in turn."""
    if request.param == "postgresql" and postgres_missing:
        pytest.skip(postgres_missing)
    return str(request.param)


@pytest.fixture
def empty_database_url(database_kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: a SQLite file, then a PostgreSQL schema of its own."""
    if database_kind == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/test.db"
        return
    with postgres_schema() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "test.db"
    path.write_bytes(asyncio.run(newest_sqlite()))
    return path


@pytest.fixture(scope="session")
def newest_postgres() -> Iterator[NewestPostgres]:
    newest = NewestPostgres()
    yield newest
    newest.drop()


@pytest.fixture
def new_tables(database_kind: str, newest_postgres: NewestPostgres) -> None:
    """For `usefixtures`: tables that no test has used. PostgreSQL's plans depend on what it has learnt of them."""
    if database_kind == "postgresql":
        newest_postgres.drop()


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, migrated_file: Path, newest_postgres: NewestPostgres) -> str:
    """The URL of a database with the newest schema and no rows, of each kind in turn."""
    if database_kind == "postgresql":
        return newest_postgres.emptied()
    shutil.copy(migrated_file, tmp_path / "test.db")
    return f"sqlite+aiosqlite:///{tmp_path}/test.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database, of each kind in turn."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def synced_database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database that writes the outbox of the conversation API, of each kind in turn."""
    database = Database(database_url, syncs=True)
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
