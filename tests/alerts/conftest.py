"""The local Discord, as it is at first for each test."""

from collections.abc import Iterator

import pytest

from tests.fakes.discord_api import DiscordFake
from tests.fakes.server import running


@pytest.fixture(scope="module")
def server() -> Iterator[DiscordFake]:
    with running(DiscordFake()) as fake:
        yield fake


@pytest.fixture
def discord(server: DiscordFake) -> DiscordFake:
    server.reset()
    server.limit = None
    return server
