"""The conversation API's stand-in in both behaviours, empty for each test, and a client."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.fakes.conversation_api import ConversationApiFake


@pytest.fixture(scope="module")
def guide_server() -> Iterator[ConversationApiFake]:
    with ConversationApiFake("guide", body_limit=2_000) as fake:
        yield fake


@pytest.fixture(scope="module")
def observed_server() -> Iterator[ConversationApiFake]:
    with ConversationApiFake("observed", body_limit=2_000) as fake:
        yield fake


@pytest.fixture
def guide(guide_server: ConversationApiFake) -> ConversationApiFake:
    guide_server.reset()
    return guide_server


@pytest.fixture
def observed(observed_server: ConversationApiFake) -> ConversationApiFake:
    observed_server.reset()
    return observed_server


@pytest.fixture(params=["guide", "observed"])
def api(request: pytest.FixtureRequest) -> ConversationApiFake:
    fake: ConversationApiFake = request.getfixturevalue(request.param)
    return fake


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        yield client
