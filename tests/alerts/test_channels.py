"""From settings to channels, and what is wrong with settings."""

from typing import Any

import pytest

from recado.alerts.channels import discord_of, make_channels, problems_of, wishes_of
from recado.alerts.conditions import SeverityLevel
from recado.errors import ConfigurationError
from recado.settings import Settings
from tests.alerts.notices import NOTICE, settings
from tests.fakes.discord_api import DiscordFake
from tests.fakes.server import running

ALL = {
    "discord_webhook_url": "https://discord.com/api/webhooks/1/token",
    "slack_webhook_url": "https://hooks.slack.com/services/T/B/token",
    "smtp_url": "smtps://user:password@mail.example.com",
    "alert_email_from": "recado@example.com",
    "alert_email_to": "ops@example.com,boss@example.com",
    "linear_api_key": "lin_api_key",
    "linear_team_id": "9cfb482a-81e3-4154-b5b9-2c805e70a02d",
    "railway_environment_ids": "production=a, staging=b",
}


def test_only_the_log_without_settings() -> None:
    assert list(make_channels(Settings(_env_file=None))) == ["log"]  # type: ignore[call-arg]


def test_all_that_are_configured() -> None:
    channels = make_channels(settings(**ALL))
    assert {name: channel.name for name, channel in channels.items()} == {
        name: name for name in ("log", "discord", "slack", "email")
    }
    assert "token" not in repr(channels)


async def test_discord_shows_the_time_in_the_timezone_of_the_settings() -> None:
    with running(DiscordFake()) as discord:
        channels = make_channels(settings(discord_webhook_url=discord.webhook_url, alert_timezone="America/Lima"))
        for channel in channels.values():
            await channel.send(NOTICE)
            await channel.close()
    assert discord.messages[0]["embeds"][0]["footer"]["text"] == "2026-05-01 03:02:03 -05"


def test_discord_is_found_for_the_notifications_service() -> None:
    channels = make_channels(settings(**ALL))
    assert discord_of(channels) is channels["discord"]
    assert discord_of(make_channels(settings())) is None


def test_a_timezone_that_nobody_knows_stops_nothing() -> None:
    assert set(make_channels(settings(**ALL, alert_timezone="Europe/Atlantis"))) == {"log", "discord", "slack", "email"}


def test_channels_have_the_wishes_of_their_settings() -> None:
    given = settings(**ALL, discord_alerts="warning", slack_alerts="security_*", log_alerts="error")
    wishes = wishes_of(given, make_channels(given))
    assert wishes["discord"].least is SeverityLevel.WARNING
    assert wishes["slack"].wanted == ("security_*",)
    assert wishes["email"].least is SeverityLevel.ERROR
    assert wishes["log"].least is SeverityLevel.ERROR
    assert set(wishes_of(given, {"log": make_channels(given)["log"]})) == {"log"}


def test_a_wish_that_is_none_is_refused() -> None:
    given = settings(log_alerts="eror")
    with pytest.raises(ConfigurationError, match="LOG_ALERTS: 'eror'"):
        wishes_of(given, make_channels(given))


def test_nothing_is_wrong_with_good_settings() -> None:
    assert problems_of(settings(**ALL)) == []
    assert problems_of(Settings(_env_file=None)) == []  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"discord_alerts": "warning,delivry_held"}, "DISCORD_ALERTS: 'delivry_held' is no severity and no condition"),
        ({"slack_alerts": "all"}, "SLACK_ALERTS: 'all'"),
        ({"email_alerts": "-"}, "EMAIL_ALERTS: '-'"),
        ({"log_alerts": "debug"}, "LOG_ALERTS: 'debug'"),
        ({"alert_timezone": "Zurich"}, "ALERT_TIMEZONE 'Zurich' is unknown; give a name such as Europe/Zurich"),
        ({"alert_timezone": "../etc/passwd"}, "ALERT_TIMEZONE '../etc/passwd' is unknown"),
        ({"alert_timezone": "Europe"}, "ALERT_TIMEZONE 'Europe' is unknown"),
        (
            {"discord_webhook_url": "discord.com/api/webhooks/1/token"},
            "DISCORD_WEBHOOK_URL must be an address that begi",
        ),
        ({"slack_webhook_url": "ftp://hooks.slack.com/x"}, "SLACK_WEBHOOK_URL must be an address that begins with"),
        ({"webapp_base_url": "app.example.com"}, "WEBAPP_BASE_URL must be an address"),
        ({"linear_api_url": "linear"}, "LINEAR_API_URL must be an address"),
        ({"smtp_url": "mail.example.com"}, "SMTP_URL must look like smtp://user:password@host:587"),
        ({"alert_email_to": ""}, "SMTP_URL is set, but nobody is written to; set ALERT_EMAIL_TO"),
        (
            {"alert_email_to": "ops@example.com;boss@example.com"},
            "ALERT_EMAIL_TO: 'ops@example.com;boss@example.com' is no",
        ),
        ({"alert_email_from": "Recado"}, "ALERT_EMAIL_FROM: 'Recado' is no e-mail address"),
        ({"smtp_url": ""}, "ALERT_EMAIL_TO is set, but nothing sends; set SMTP_URL"),
        ({"railway_logs_url": "https://r.example/{project}"}, "RAILWAY_LOGS_URL has the unknown placeholder {project}"),
        ({"railway_logs_url": "https://r.example/{at.year}"}, "RAILWAY_LOGS_URL has the unknown placeholder {at.year}"),
        ({"railway_logs_url": "https://r.example/{"}, "RAILWAY_LOGS_URL has a brace without its other half"),
        ({"webapp_conversation_path": "/c/{conversation_id}"}, "WEBAPP_CONVERSATION_PATH has the unknown placeholder"),
        ({"webapp_conversation_path": "c/{id}"}, "WEBAPP_CONVERSATION_PATH must begin with a slash"),
        ({"trace_url": "https://t.example/{}"}, "TRACE_URL has the unknown placeholder {}; it may have {trace_id}"),
        ({"trace_url": "https://t.example/{trace_id:>9}"}, "TRACE_URL has the unknown placeholder {trace_id}"),
        ({"linear_team_id": ""}, "LINEAR_API_KEY is set, but no team; set LINEAR_TEAM_ID"),
        ({"linear_api_key": ""}, "LINEAR_TEAM_ID is set, but no key; set LINEAR_API_KEY"),
        ({"railway_environment_ids": "production"}, "RAILWAY_ENVIRONMENT_IDS holds 'production'; give pairs"),
        ({"railway_environment_ids": "production=a,=b"}, "RAILWAY_ENVIRONMENT_IDS holds '=b'"),
    ],
)
def test_a_problem_is_named_with_its_remedy(values: dict[str, Any], problem: str) -> None:
    (found,) = problems_of(settings(**{**ALL, **values}))
    assert found.startswith(problem)
    assert "token" not in found


def test_all_problems_are_named_at_once() -> None:
    found = problems_of(settings(discord_alerts="x", alert_timezone="x", trace_url="{", linear_api_key="x"))
    assert [problem.split()[0].rstrip(":") for problem in found] == [
        "DISCORD_ALERTS",
        "TRACE_URL",
        "ALERT_TIMEZONE",
        "LINEAR_API_KEY",
    ]
