"""The log as a channel."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from recado.alerts.conditions import SeverityLevel
from recado.alerts.logged import LogChannel
from tests.alerts.notices import NOTICE, ONGOING


async def test_one_line_without_a_person_in_it() -> None:
    notice = replace(ONGOING, description="no answer to +51999999999", title="Call 51999999999")
    with capture_logs() as logs:
        await LogChannel().send(notice)

    (line,) = logs
    assert line == {
        "event": "alert told",
        "log_level": "error",
        "kind": "ongoing",
        "condition": "delivery_given_up",
        "title": "Still happening: Call 519…99",
        "description": "no answer to +51…99",
        "count": 57,
        "first_at": "2026-05-01T08:02:03+00:00",
        "ids": {"turn_id": 5, "delivery_id": 12},
        "conversation_id": 7,
        "store": "Bodega Sol",
        "phone": "+51…99",
        "conversations": 12,
        "merchants": 3,
        "trace": "https://langfuse.example.com/project/p/traces/abc",
        "issue": "OPS-1",
    }


@pytest.mark.parametrize("severity", list(SeverityLevel))
async def test_the_level_is_the_severity(severity: SeverityLevel) -> None:
    with capture_logs() as logs:
        await LogChannel().send(replace(NOTICE, severity=severity))
    assert [line["log_level"] for line in logs] == [severity.value]
