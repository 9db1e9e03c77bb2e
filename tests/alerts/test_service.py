"""The notifications service: true, false, and never an exception."""

import asyncio
import time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from recado.alerts.discord import DiscordChannel
from recado.alerts.links import Links
from recado.alerts.schemas import DiscordNotification
from recado.alerts.service import NotificationsService
from recado.telemetry.tracing import in_trace
from tests.alerts.notices import settings
from tests.fakes.discord_api import TOKEN, DiscordFake

LINKS = Links(settings())
HELLO = DiscordNotification(title="Ana cannot pay", description="She wrote from +51999999999", severity="warning")


def service_to(url: str, links: Links = LINKS) -> NotificationsService:
    return NotificationsService(DiscordChannel(url, LINKS, ZoneInfo("UTC"), seconds=1.0), links)


@pytest.fixture
def service(discord: DiscordFake) -> NotificationsService:
    return service_to(discord.webhook_url)


async def test_true_when_discord_took_it(discord: DiscordFake, service: NotificationsService) -> None:
    assert await service.send_discord_notification(HELLO) is True
    (embed,) = discord.messages[0]["embeds"]
    assert embed["title"] == "⚠️ Ana cannot pay"


async def test_false_and_a_line_in_the_log_without_a_webhook() -> None:
    with capture_logs() as logs:
        assert await NotificationsService(None, LINKS).send_discord_notification(HELLO) is False
    assert [line["event"] for line in logs] == ["a Discord notification was not sent: set DISCORD_WEBHOOK_URL"]


@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "status", "status": 401},
        {"mode": "status", "status": 403},
        {"mode": "status", "status": 404},
        {"mode": "status", "status": 400},
        {"mode": "status", "status": 500, "html": True},
        {"mode": "429", "retry_after": 3_600},
        {"mode": "redirect"},
        {"mode": "cut"},
        {"mode": "page"},
        {"mode": "hang"},
    ],
    ids=lambda fault: f"{fault['mode']} {fault.get('status', '')}",
)
async def test_false_and_a_line_in_the_log_when_it_failed(
    discord: DiscordFake, service: NotificationsService, fault: dict[str, Any]
) -> None:
    discord.apply_script({"faults": [fault]})
    began = time.monotonic()
    with capture_logs() as logs:
        assert await service.send_discord_notification(HELLO) is False
    assert time.monotonic() - began < 3
    (line,) = logs
    assert line["event"] == "a Discord notification was not sent"
    assert line["error"]
    assert TOKEN not in str(logs)
    assert discord.messages == []


@pytest.mark.parametrize("url", ["", "nowhere", "http://127.0.0.1:1/x", "ftp://x/y"])
async def test_false_with_an_address_where_nobody_is(url: str) -> None:
    assert await service_to(url).send_discord_notification(HELLO) is False


async def test_a_short_pause_is_kept_once(discord: DiscordFake, service: NotificationsService) -> None:
    discord.fail("429", retry_after=0.2, times=1)
    assert await service.send_discord_notification(HELLO) is True
    first, second = discord.requests.entries()
    assert second["at"] - first["at"] >= 0.2


async def test_a_second_pause_is_not_waited_for(discord: DiscordFake, service: NotificationsService) -> None:
    discord.fail("429", retry_after=0.1, times=2)
    assert await service.send_discord_notification(HELLO) is False
    assert len(discord.requests.entries()) == 2


async def test_the_end_of_the_work_is_not_held_up(discord: DiscordFake, service: NotificationsService) -> None:
    discord.fail("hang")
    sending = asyncio.create_task(service.send_discord_notification(HELLO))
    await discord.requests.until(1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_notification_is_given_the_trace_of_the_work_in_hand(
    discord: DiscordFake, service: NotificationsService
) -> None:
    own = HELLO.model_copy(update={"trace_url": "https://langfuse.example.com/traces/mine"})
    with in_trace("0af7651916cd43dd8448eb211c80319c"):
        assert await service.send_discord_notification(HELLO)
        assert await service.send_discord_notification(own)
    assert await service.send_discord_notification(HELLO)

    traces = [_field(message, "Trace") for message in discord.messages]
    assert traces == [
        "[Open](https://langfuse.example.com/traces/0af7651916cd43dd8448eb211c80319c)",
        "[Open](https://langfuse.example.com/traces/mine)",
        None,
    ]


async def test_a_trace_that_cannot_be_found_holds_nothing_up(
    discord: DiscordFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(trace_id: str) -> str | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr("recado.alerts.service.TRACE_SECONDS", 0.05)
    with in_trace("0af7651916cd43dd8448eb211c80319c"):
        service = service_to(discord.webhook_url, Links(settings(trace_url=""), never))
        assert await service.send_discord_notification(HELLO)
    assert _field(discord.messages[0], "Trace") is None


async def test_what_no_one_thought_of_is_no_exception_either(discord: DiscordFake) -> None:
    async def broken(trace_id: str) -> str | None:
        raise KeyError(trace_id)

    service = service_to(discord.webhook_url, Links(settings(trace_url=""), broken))
    with in_trace("0af7651916cd43dd8448eb211c80319c"), capture_logs() as logs:
        assert await service.send_discord_notification(HELLO) is False
    assert [line["event"] for line in logs] == ["a Discord notification raised what it should not"]


def _field(message: dict[str, Any], name: str) -> str | None:
    return next((field["value"] for field in message["embeds"][0]["fields"] if field["name"] == name), None)
