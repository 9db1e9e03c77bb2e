"""The local Discord refuses what Discord refuses, or tests with it would prove nothing."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.discord_api import DiscordFake
from tests.fakes.discord_rules import length
from tests.fakes.server import running


@pytest.fixture(scope="module")
def server() -> Iterator[DiscordFake]:
    with running(DiscordFake()) as fake:
        yield fake


@pytest.fixture
def discord(server: DiscordFake) -> DiscordFake:
    server.reset()
    return server


def fields(count: int, value: str = "v") -> list[dict[str, str]]:
    return [{"name": "n", "value": value} for _ in range(count)]


@pytest.mark.parametrize(
    ("embed", "place"),
    [
        ({"title": "x" * 257}, ("title",)),
        ({"title": "🚨" * 129}, ("title",)),
        ({"title": " \n"}, ("title",)),
        ({"description": "x" * 4_097}, ("description",)),
        ({"fields": fields(26)}, ("fields",)),
        ({"fields": fields(1, "x" * 1_025)}, ("fields", "0", "value")),
        ({"fields": fields(1, "")}, ("fields", "0", "value")),
        ({"fields": [{"name": "x" * 257, "value": "v"}]}, ("fields", "0", "name")),
        ({"footer": {"text": "x" * 2_049}}, ("footer",)),
        ({"author": {"name": "x" * 257}}, ("author",)),
        ({"title": "x", "url": "javascript:alert(1)"}, ("url",)),
        ({"title": "x", "url": "http://localhost:3000/"}, ("url",)),
        ({"title": "x", "url": "https://example.com/" + "x" * 2_048}, ("url",)),
        ({"title": "x", "color": 0x1000000}, ("color",)),
        ({"title": "x", "color": -1}, ("color",)),
        ({"title": "x", "timestamp": "yesterday"}, ("timestamp",)),
        ({"title": "x", "titel": "x"}, ("titel",)),
    ],
)
async def test_a_limit_that_is_broken_is_refused_where_it_is(
    discord: DiscordFake, http: httpx.AsyncClient, embed: dict[str, Any], place: tuple[str, ...]
) -> None:
    answer = await http.post(discord.webhook_url, json={"embeds": [embed]})
    body = answer.json()
    found = body["errors"]["embeds"]["0"]
    for name in place:
        found = found[name]
    assert (answer.status_code, body["code"], list(found)) == (400, 50035, ["_errors"])
    assert discord.messages == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": " "},
        {"content": "x" * 2_001},
        {"embeds": [{"title": "x"}] * 11},
        {"embeds": [{"description": "x" * 4_000, "fields": fields(2, "x" * 1_000)}]},
        {"embeds": [{"description": "x" * 3_001}, {"description": "x" * 3_000}]},
        {"content": "x", "allowed_mentions": {"parse": ["nobody"]}},
    ],
)
async def test_a_message_that_is_none_is_refused(
    discord: DiscordFake, http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    answer = await http.post(discord.webhook_url, json=body)
    assert (answer.status_code, answer.json()["code"], discord.messages) == (400, 50035, [])


async def test_what_fits_is_taken_and_answered_as_it_was_asked(discord: DiscordFake, http: httpx.AsyncClient) -> None:
    whole = {"title": "x" * 256, "description": "x" * 4_096, "fields": fields(2, "x" * 800), "color": 0}
    assert (await http.post(discord.webhook_url, json={"embeds": [whole]})).status_code == 204
    answer = await http.post(discord.webhook_url, json={"embeds": [whole]}, params={"wait": "true"})
    assert (answer.status_code, answer.json()["embeds"]) == (200, [whole])
    assert len(discord.messages) == 2


async def test_a_token_that_is_wrong_is_unknown(discord: DiscordFake, http: httpx.AsyncClient) -> None:
    answer = await http.post(f"{discord.webhook_url}x", json={"content": "x"})
    assert (answer.status_code, answer.json()["code"]) == (404, 10015)


async def test_the_limit_is_told_and_kept(discord: DiscordFake, http: httpx.AsyncClient) -> None:
    discord.limit = (2, 30.0)
    answers = [await http.post(discord.webhook_url, json={"content": "x"}) for _ in range(3)]
    discord.limit = None
    assert [answer.status_code for answer in answers] == [204, 204, 429]
    assert [answer.headers.get("x-ratelimit-remaining") for answer in answers] == ["1", "0", None]
    assert 29 < answers[2].json()["retry_after"] <= 30


def test_a_length_is_the_greater_of_both_counts() -> None:
    assert (length("ñ"), length("🚨"), length("👩‍👩‍👧")) == (1, 2, 8)
