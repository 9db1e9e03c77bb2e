"""A local Graph API for WhatsApp, empty for each test, and the adapter that calls it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from recado.channels.whatsapp.channel import WhatsAppChannel
from tests.builders import SetClock
from tests.fakes.meta_api import MetaFake
from tests.fakes.server import running


@pytest.fixture(scope="module")
def graph_server() -> Iterator[MetaFake]:
    with running(MetaFake()) as fake:
        yield fake


@pytest.fixture
def graph(graph_server: MetaFake) -> MetaFake:
    graph_server.reset()
    return graph_server


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def cloud(graph: MetaFake, clock: SetClock) -> AsyncIterator[WhatsAppChannel]:
    made = WhatsAppChannel(graph.url, "24.0", 10.0, 60.0, clock)
    yield made
    await made.close()


@pytest.fixture
async def hasty(graph: MetaFake, clock: SetClock) -> AsyncIterator[WhatsAppChannel]:
    """One that gives up soon, for a provider that never answers."""
    made = WhatsAppChannel(graph.url, "24.0", 0.3, 60.0, clock)
    yield made
    await made.close()
