"""One prepared database for all, and for each module a server with the providers that it calls."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.databases import connect_postgres
from tests.e2e.world import ALL_SHOPS, World, write_merchants
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.support import RecadoServer, copy_database

ONE_QUEUE = 0x7175_6575_65
"""The PostgreSQL advisory lock of who has a queue there: "queue" in ASCII."""
StartWorld = Callable[..., World]


@pytest.fixture(scope="session")
def merchants_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML file of all shops."""
    return write_merchants(tmp_path_factory.mktemp("merchants") / "merchants.yaml")


@pytest.fixture(scope="session")
def prepared_shops(tmp_path_factory: pytest.TempPathFactory, merchants_file: Path) -> Path:
    """A SQLite file with all shops, to be copied."""
    server = RecadoServer(tmp_path_factory.mktemp("prepared_shops"))
    server.prepare(merchants_file)
    return server.folder / "recado.db"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, prepared_shops: Path) -> Iterator[RecadoServer]:
    """`recado serve` with the demo model and all shops."""
    server = RecadoServer(tmp_path_factory.mktemp("demo"))
    copy_database(prepared_shops, server.folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def start_world(tmp_path_factory: pytest.TempPathFactory, prepared_shops: Path) -> Iterator[StartWorld]:
    """Starts a server with a local Twilio and a local OpenAI; all end with the module."""
    with ExitStack() as stack:

        def start(environment: Mapping[str, str] | None = None) -> World:
            twilio = stack.enter_context(running(TwilioFake({shop.account_sid: shop.auth_token for shop in ALL_SHOPS})))
            openai = stack.enter_context(running(OpenAIFake()))
            providers = {
                "MODEL_PROVIDER": "openai",
                "OPENAI_API_KEY": "x",
                "OPENAI_BASE_URL": openai.base_url,
                "TWILIO_API_BASE_URL": twilio.url,
            }
            server = RecadoServer(tmp_path_factory.mktemp("world"), {**providers, **(environment or {})})
            copy_database(prepared_shops, server.folder)
            server.start()
            stack.callback(server.stop)
            return World(server, twilio, openai)

        yield start


@pytest.fixture
def schema(postgres_missing: str | None) -> Iterator[str]:
    """A PostgreSQL schema of its own; the queue's tables lie in it too."""
    if postgres_missing:
        pytest.skip(postgres_missing)
    name = f"recado_e2e_{uuid.uuid4().hex[:12]}"
    with connect_postgres() as connection:
        # SAQ makes its tables under a lock of the whole database, which it keeps, and goes on without them where it
        # cannot have that: one such test at a time, whatever else runs.
        connection.execute("SELECT pg_advisory_lock(%s)", [ONE_QUEUE])
        connection.execute(f"CREATE SCHEMA {name}")
        try:
            yield name
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")
