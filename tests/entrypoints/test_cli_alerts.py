"""`recado alerts` and what `recado doctor` says of alerts."""

import asyncio
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from recado.alerts.counting import Counting
from recado.alerts.raising import Alarm, raise_within
from recado.clock import Clock
from recado.db.engine import Database
from recado.entrypoints.cli import app
from recado.settings import get_settings
from tests.alerts.watch import QUIET
from tests.fakes.discord_api import TOKEN, DiscordFake
from tests.fakes.server import running


@pytest.fixture
def discord(monkeypatch: pytest.MonkeyPatch) -> Iterator[DiscordFake]:
    with running(DiscordFake()) as fake:
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", fake.webhook_url)
        yield fake


def recado(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_test_reaches_every_channel_and_says_so(url: str, discord: DiscordFake) -> None:
    done = recado("alerts", "test")
    assert done.exit_code == 0, done.output
    assert "✓ discord  hears of info and worse" in done.stdout
    assert "✓ log" in done.stdout
    [message] = discord.messages
    assert "A test of the alerts" in message["embeds"][0]["title"]


def test_a_channel_that_refuses_is_named_with_the_remedy(url: str, discord: DiscordFake) -> None:
    discord.fail("status", status=404)
    done = recado("alerts", "test", "--channel", "discord")
    assert done.exit_code == 1
    assert "✗ discord" in done.stdout
    assert "DISCORD_WEBHOOK_URL" in done.stdout
    assert TOKEN not in done.output


def test_a_channel_that_is_not_there_is_said_to_be_so(url: str) -> None:
    done = recado("alerts", "test", "--channel", "slack")
    assert done.exit_code == 1
    assert "slack: not configured; there are log" in done.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [("DISCORD_WEBHOOK_URL", "foo"), ("DISCORD_ALERTS", "dreadful"), ("ALERT_TIMEZONE", "Europe/Atlantis")],
)
@pytest.mark.parametrize("command", [("alerts", "test"), ("serve",), ("doctor",)])
def test_wrong_settings_are_named(
    url: str, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv(setting, value)
    get_settings.cache_clear()
    done = recado(*command)
    assert done.exit_code == 1
    assert setting in done.output


def test_what_the_team_was_told_of_is_listed(url: str) -> None:
    nothing = recado("alerts", "list")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "no alert" in nothing.stderr
    asyncio.run(_fail(url, times=3))
    [line] = recado("alerts", "list").stdout.splitlines()
    assert "3×  open  Turn failed for good: ModelError: no answer" in line
    assert recado("alerts", "list", "--open").stdout == recado("alerts", "list").stdout


async def _fail(url: str, times: int) -> None:
    database, clock = Database(url), Clock()
    async with database.transaction() as session:
        raise_within(session, [Alarm("turn_failed", "ModelError: no answer")] * times, clock.now())
    await Counting(database, clock, lambda _condition, _severity: [], QUIET).run()
    await database.close()


def test_the_doctor_asks_discord_and_posts_nothing(url: str, discord: DiscordFake) -> None:
    assert "ok    alerts: log hears of info and worse; discord hears of info and worse" in recado("doctor").stdout
    assert "ok    alerts: Discord knows the webhook" in recado("doctor").stdout
    discord.fail("status", status=404)
    said = recado("doctor").stdout
    assert "FAIL  alerts: Discord answers HTTP 404 for the webhook" in said
    assert TOKEN not in said
    assert discord.messages == []
