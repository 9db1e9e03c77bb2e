"""Where alerts lead."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from recado.alerts.links import Links
from tests.alerts.notices import AT, settings

LOGS = "https://railway.com/project/p1/logs?environmentId={}&start=2026-05-01T08%3A01%3A33.000Z&end=2026-05-01T08%3A02%3A33.000Z"


@pytest.mark.parametrize(
    ("conversation_id", "address"),
    [
        (7, "https://app.example.com/whatsapp/messages?conversationId=7"),
        ("a b&c=/é", "https://app.example.com/whatsapp/messages?conversationId=a%20b%26c%3D%2F%C3%A9"),
        (0, "https://app.example.com/whatsapp/messages?conversationId=0"),
        (None, None),
        ("", None),
    ],
)
def test_a_conversation(conversation_id: Any, address: str | None) -> None:
    assert Links(settings(webapp_base_url="https://app.example.com/")).conversation(conversation_id) == address


def test_no_conversation_without_a_web_app() -> None:
    assert Links(settings(webapp_base_url="")).conversation(7) is None


@pytest.mark.parametrize(
    "at",
    [AT, AT.replace(tzinfo=None), AT.astimezone(timezone(timedelta(hours=-5)))],
    ids=["utc", "naive", "lima"],
)
def test_the_logs_of_one_minute(at: datetime) -> None:
    assert Links(settings()).logs(at) == LOGS.format("e1")


@pytest.mark.parametrize(
    ("values", "environment"),
    [
        ({"railway_environment_id": "own", "railway_environment_ids": "production=x"}, "own"),
        ({"railway_environment_ids": "production=x, development = y"}, "y"),
        ({"railway_environment_ids": "production=x,staging=z", "railway_environment_name": "Staging"}, "z"),
        ({"railway_environment_ids": "production=x,rubbish,="}, None),
        ({}, None),
    ],
)
def test_the_environment_is_the_running_one(values: dict[str, str], environment: str | None) -> None:
    links = Links(settings(**{"railway_environment_id": "", **values}))
    assert links.logs(AT) == (LOGS.format(environment) if environment else None)


def test_no_logs_without_a_project() -> None:
    assert Links(settings(railway_project_id="")).logs(AT) is None


def test_the_form_of_the_logs_is_a_setting() -> None:
    form = "https://logs.example.com/{service_id}?at={at}"
    links = Links(settings(railway_logs_url=form, railway_service_id="s 1"))
    assert (
        links.logs(datetime(2026, 5, 1, tzinfo=UTC)) == "https://logs.example.com/s%201?at=2026-05-01T00%3A00%3A00.000Z"
    )


async def test_a_trace() -> None:
    async def find(trace_id: str) -> str | None:
        return f"found:{trace_id}"

    assert await Links(settings(), find).trace("ab") == "https://langfuse.example.com/traces/ab"
    assert await Links(settings(trace_url=""), find).trace("ab") == "found:ab"
    assert await Links(settings(trace_url="")).trace("ab") is None
    assert await Links(settings()).trace(None) is None
