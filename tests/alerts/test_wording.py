"""What every channel says of an alert."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from recado.alerts.notice import Notice
from recado.alerts.wording import aware, facts_of, find_zone, links_of, people_of, spread_of, times_of, zone_of
from tests.alerts.notices import AT, NOTICE, ONGOING, SUMMARY

ZURICH = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("notice", "times"),
    [
        (NOTICE, None),
        (replace(NOTICE, count=3), "3 times since 10:02"),
        (ONGOING, "still happening: 57 times so far, since 10:02"),
        (replace(ONGOING, last_at=AT + timedelta(days=2)), "still happening: 57 times so far, since 2026-05-01 10:02"),
        (SUMMARY, "over: 10,000 times between 10:02 and 10:03"),
        (replace(SUMMARY, count=1, last_at=AT), "over: once between 10:02 and 10:02"),
        (
            replace(SUMMARY, last_at=AT + timedelta(hours=14)),
            "over: 10,000 times between 2026-05-01 10:02 and 2026-05-02 00:02",
        ),
    ],
)
def test_how_often_and_when(notice: Notice, times: str | None) -> None:
    assert times_of(notice, ZURICH) == times


@pytest.mark.parametrize(
    ("spread", "said"),
    [
        (None, None),
        ((1, 1), "1 conversation, 1 merchant"),
        ((12_000, 3), "12,000 conversations, 3 merchants"),
        ((0, 2), "0 conversations, 2 merchants"),
    ],
)
def test_how_widely(spread: tuple[int, int] | None, said: str | None) -> None:
    assert spread_of(replace(NOTICE, spread=spread)) == said


def test_what_is_not_known_is_not_said() -> None:
    notice = Notice("first", "test", NOTICE.severity, "A", "B", AT, AT, ids={"turn_id": None})
    assert (facts_of(notice, ZURICH), people_of(notice), list(links_of(notice))) == ({}, {}, [])


@pytest.mark.parametrize("name", ["", " ", "Zurich", "../UTC", "/etc/passwd", "Europe", "\0", "a" * 300])
def test_a_timezone_that_is_none_is_utc(name: str) -> None:
    assert find_zone(name) is None
    assert zone_of(name) == ZoneInfo("UTC")


def test_a_moment_that_no_timezone_can_show_is_none() -> None:
    assert aware(datetime.min) is None
    assert aware(datetime.max.replace(tzinfo=ZoneInfo("America/Lima"))) is None
    assert aware(AT.replace(tzinfo=None)) == AT
