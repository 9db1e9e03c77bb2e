"""The Discord channel, over HTTP, when all goes well and when it does not."""

import logging
import time
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from recado.alerts import webhook
from recado.alerts.discord import DiscordChannel
from recado.alerts.links import Links
from recado.alerts.schemas import DiscordNotification
from recado.errors import AlertFailed
from tests.alerts.notices import NOTICE, settings
from tests.fakes.discord_api import TOKEN, DiscordFake
from tests.support import free_port

ZURICH = ZoneInfo("Europe/Zurich")


def channel_to(url: str, seconds: float = 5.0) -> DiscordChannel:
    return DiscordChannel(url, Links(settings()), ZURICH, seconds=seconds)


@pytest.fixture
def channel(discord: DiscordFake) -> DiscordChannel:
    return channel_to(discord.webhook_url)


async def failure(channel: DiscordChannel) -> AlertFailed:
    """How it fails. Nothing in it tells the secret."""
    with pytest.raises(AlertFailed) as caught:
        await channel.send(NOTICE)
    error = caught.value
    assert TOKEN not in f"{error!r} {error.__cause__!r}"
    assert error.__suppress_context__ or error.__context__ is None
    return error


async def test_a_notice_is_taken_and_waited_for(discord: DiscordFake, channel: DiscordChannel) -> None:
    await channel.send(NOTICE)

    (request,) = discord.requests.entries("execute")
    (embed,) = request["body"]["embeds"]
    assert request["query"] == {"wait": "true"}
    assert embed["title"] == "🚨 Delivery given up"
    assert request["body"]["allowed_mentions"] == {"parse": []}
    assert discord.messages == [request["body"]]


async def test_a_thread_in_the_address_is_kept(discord: DiscordFake) -> None:
    await channel_to(f"{discord.webhook_url}?thread_id=42").send(NOTICE)
    assert discord.requests.entries("execute")[0]["query"] == {"thread_id": "42", "wait": "true"}


async def test_an_answer_without_a_body_is_one(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.fail("status", status=204, times=1)
    await channel.send(NOTICE)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        ({"retry_after": 0.25}, 0.25),
        ({"body": 1.5, "header": "2"}, 1.5),
        ({"body": None, "header": "2"}, 2.0),
        ({"body": "0.5", "header": None}, 0.5),
        ({"body": None, "header": None}, webhook.PAUSE),
        ({"body": -1, "header": "-1"}, webhook.PAUSE),
        ({"body": float("nan"), "header": "nan"}, webhook.PAUSE),
        ({"body": True, "header": "Wed, 21 Oct 2026 07:28:00 GMT"}, webhook.PAUSE),
        ({"body": 1e300, "header": "1"}, webhook.LONGEST_PAUSE),
        ({"body": float("inf"), "header": "1"}, webhook.LONGEST_PAUSE),
        ({"body": {"a": 1}, "header": "9" * 400}, webhook.LONGEST_PAUSE),
    ],
)
async def test_a_pause_that_discord_asks_for_is_passed_on(
    discord: DiscordFake, channel: DiscordChannel, fault: dict[str, Any], seconds: float
) -> None:
    discord.fail("429", **fault)
    error = await failure(channel)
    assert (error.retry_after, error.permanent) == (seconds, False)


async def test_nothing_is_posted_during_a_pause(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.fail("429", retry_after=60, times=1)
    await failure(channel)

    error = await failure(channel)
    assert error.retry_after is not None
    assert 50 < error.retry_after <= 60
    with pytest.raises(AlertFailed):
        await channel.post(DiscordNotification(title="another"))
    assert len(discord.requests.entries()) == 1


async def test_a_short_pause_is_waited_for(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.fail("429", retry_after=0.2, times=1)
    await failure(channel)
    await channel.send(NOTICE)
    first, second = discord.requests.entries()
    assert second["at"] - first["at"] >= 0.2


async def test_a_burst_keeps_to_the_limit_that_discord_tells_of(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.limit = (5, 0.2)
    for number in range(12):
        await channel.send(replace(NOTICE, description=f"number {number}"))
    assert [body["embeds"][0]["description"] for body in discord.messages] == [f"number {n}" for n in range(12)]
    assert len(discord.requests.entries()) == 12


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_webhook_that_is_gone_is_for_good(
    discord: DiscordFake, channel: DiscordChannel, status: int, html: bool
) -> None:
    discord.fail("status", status=status, html=html)
    error = await failure(channel)
    assert error.permanent
    assert f"HTTP {status}" in str(error)
    assert "make a webhook there, and set DISCORD_WEBHOOK_URL" in str(error)


async def test_a_refusal_of_the_form_is_for_good_and_says_where(discord: DiscordFake) -> None:
    channel = channel_to(discord.webhook_url)
    with pytest.raises(AlertFailed) as caught:
        await channel._webhook.post({"embeds": [{"title": "x" * 257, "fields": [{"name": "a", "value": " "}]}]})
    assert caught.value.permanent
    assert str(caught.value) == (
        "Discord refused the alert (HTTP 400, code 50035: embeds.0.fields.0.value, embeds.0.title)"
    )


async def test_a_refusal_that_repeats_the_secret_is_not_repeated(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.fail("status", status=400, errors={TOKEN: {"_errors": []}, "embeds": {"_errors": []}}, message=TOKEN)
    assert str(await failure(channel)) == "Discord refused the alert (HTTP 400, code 0: embeds)"


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
@pytest.mark.parametrize("html", [False, True])
async def test_a_failure_of_the_server_passes(
    discord: DiscordFake, channel: DiscordChannel, status: int, html: bool
) -> None:
    discord.fail("status", status=status, html=html, times=1)
    assert not (await failure(channel)).permanent
    await channel.send(NOTICE)


@pytest.mark.parametrize(("status", "permanent"), [(301, True), (302, False), (307, False), (308, True)])
async def test_a_redirect_is_not_followed(
    discord: DiscordFake, channel: DiscordChannel, status: int, permanent: bool
) -> None:
    discord.fail("redirect", status=status, times=1)
    assert (await failure(channel)).permanent is permanent
    assert discord.messages == []


async def test_a_page_is_no_answer_of_discord(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.fail("page")
    error = await failure(channel)
    assert not error.permanent
    assert "something else than Discord answered" in str(error)


async def test_a_connection_that_is_cut_is_tried_again(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.fail("cut", times=1)
    assert str(await failure(channel)) == "Discord cannot be reached: RemoteProtocolError"
    await channel.send(NOTICE)


async def test_what_was_taken_before_the_cut_is_not_told_again(discord: DiscordFake, channel: DiscordChannel) -> None:
    discord.fail("cut", taken=True)
    await channel.send(NOTICE)
    assert len(discord.messages) == 1


async def test_an_endless_answer_is_not_read(discord: DiscordFake) -> None:
    discord.fail("huge")
    began = time.monotonic()
    await channel_to(discord.webhook_url, seconds=60).send(NOTICE)
    assert time.monotonic() - began < 2
    assert len(discord.messages) == 1


async def test_a_server_that_hangs_is_left(discord: DiscordFake) -> None:
    discord.fail("hang")
    began = time.monotonic()
    error = await failure(channel_to(discord.webhook_url, seconds=0.3))
    assert time.monotonic() - began < 2
    assert (error.permanent, error.retry_after) == (False, None)


async def test_nobody_there_is_tried_again() -> None:
    error = await failure(channel_to(f"http://127.0.0.1:{free_port()}/api/webhooks/1/{TOKEN}"))
    assert not error.permanent


@pytest.mark.parametrize("url", ["discord", f"ftp://example.com/{TOKEN}", f"http://[::1/{TOKEN}", "https:///x"])
async def test_an_address_that_is_none_is_for_good(url: str) -> None:
    error = await failure(channel_to(url))
    assert error.permanent
    assert "DISCORD_WEBHOOK_URL is no http(s) address" in str(error)


async def test_a_host_that_no_name_server_can_be_asked_for_is_none(discord: DiscordFake) -> None:
    assert not (await failure(channel_to(f"http://{'a' * 70}.invalid/{TOKEN}"))).permanent


async def test_the_secret_is_in_no_log(
    discord: DiscordFake, channel: DiscordChannel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for fault in ("429", "cut", "page", "redirect"):
            discord.fail(fault, times=1, retry_after=0.01)
            await failure(channel)
        await channel.send(NOTICE)
    assert TOKEN not in caplog.text
