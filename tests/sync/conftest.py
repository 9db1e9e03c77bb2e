"""A shop that is kept in step with a stand-in of the conversation API, in each of its behaviours."""

from collections.abc import AsyncIterator, Iterator

import pytest
import stamina

from recado.db.engine import Database
from recado.settings import get_settings
from recado.sync.client import ConversationStateService
from tests.builders import make_shop
from tests.fakes.conversation_api import ConversationApiFake
from tests.sync.desk import SyncDesk


@pytest.fixture
def database(synced_database: Database) -> Database:
    return synced_database


@pytest.fixture
async def desk(database: Database, api: ConversationApiFake) -> AsyncIterator[SyncDesk]:
    """The outbox of a shop, and the API."""
    desk = SyncDesk(await make_shop(database), api)
    yield desk
    await desk.close()


@pytest.fixture(scope="module", params=["guide", "observed"])
def running_api(request: pytest.FixtureRequest) -> Iterator[ConversationApiFake]:
    with ConversationApiFake(request.param) as api:
        yield api


@pytest.fixture
def api(running_api: ConversationApiFake) -> ConversationApiFake:
    """A running stand-in, empty, in each behaviour in turn. It is kept: to start one takes a quarter of a second."""
    running_api.start()
    running_api.reset()
    return running_api


@pytest.fixture
async def service(api: ConversationApiFake) -> AsyncIterator[ConversationStateService]:
    """A client of it, which repeats nothing."""
    async with ConversationStateService(api.url, "", prefix=api.prefix, timeout=5, retries=0) as service:
        yield service


@pytest.fixture
def at_once() -> Iterator[None]:
    """Nobody waits before a call is repeated."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture
def configured_api(api: ConversationApiFake, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConversationApiFake]:
    """As `api`, and the settings name it."""
    settings = {
        "ENABLE_CONVERSATION_SYNC": "true",
        "CARTAAI_API_BASE_URL": api.url,
        "CARTAAI_API_KEY": "key",
        "CONVERSATION_API_PREFIX": api.prefix,
        "CONVERSATION_API_TIMEOUT": "5",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield api
    get_settings.cache_clear()
