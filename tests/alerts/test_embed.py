"""What Discord is given for a notification."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recado.alerts.conditions import SeverityLevel
from recado.alerts.discord import embed_of, notification_of
from recado.alerts.links import Links
from recado.alerts.notice import Notice
from recado.alerts.schemas import DiscordNotification
from tests.alerts.notices import AT, NOTICE, NUMBERS, ONGOING, SUMMARY, TEXTS, URLS, notices, settings
from tests.fakes.discord_rules import mistakes_in

ZURICH = ZoneInfo("Europe/Zurich")
LINKS = Links(settings())


def embed(notification: DiscordNotification, links: Links = LINKS, zone: ZoneInfo = ZURICH) -> dict[str, Any]:
    """The only one in the body, which Discord takes."""
    body = embed_of(notification, links, zone, AT)
    assert mistakes_in(body) == {}
    assert body["allowed_mentions"] == {"parse": []}
    (found,) = body["embeds"]
    return dict(found)


def fields(found: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["value"] for field in found["fields"]}


def test_all_that_is_known_is_shown() -> None:
    found = embed(
        DiscordNotification(
            title="Order failed",
            description="The kitchen did not answer",
            store_name="Bodega Sol",
            conversation_id="abc/7",
            customer_name="Ana",
            customer_phone="+51999999999",
            customer_orders_count=0,
            trace_url="https://langfuse.example.com/traces/1",
            severity="warning",
            linear_url="https://linear.app/recado/issue/OPS-1",
            linear_identifier="OPS-1",
            at=AT,
            fields={"Times": "57"},
        )
    )

    assert found["title"] == "⚠️ Order failed"
    assert found["description"] == "The kitchen did not answer"
    assert found["url"] == "https://app.example.com/whatsapp/messages?conversationId=abc%2F7"
    assert found["color"] == 0xFB8C00
    assert found["footer"] == {"text": "2026-05-01 10:02:03 CEST"}
    assert found["timestamp"] == "2026-05-01T08:02:03.000+00:00"
    assert fields(found) == {
        "Store": "Bodega Sol",
        "Customer": "Ana",
        "Phone": "+51999999999",
        "Orders": "0",
        "Conversation": "[abc/7](https://app.example.com/whatsapp/messages?conversationId=abc%2F7)",
        "Trace": "[Open](https://langfuse.example.com/traces/1)",
        "Logs": "[One minute](https://railway.com/project/p1/logs?environmentId=e1"
        "&start=2026-05-01T08%3A01%3A33.000Z&end=2026-05-01T08%3A02%3A33.000Z)",
        "Linear": "[OPS-1](https://linear.app/recado/issue/OPS-1)",
        "Times": "57",
    }


def test_what_is_not_known_is_not_shown() -> None:
    found = embed(DiscordNotification(), Links(settings(webapp_base_url="", railway_project_id="")))
    assert set(found) == {"title", "color", "timestamp", "footer", "fields"}
    assert (found["title"], found["fields"]) == ("🚨 Error", [])


@pytest.mark.parametrize(
    ("severity", "title", "color"),
    [
        ("error", "🚨 Error · Sol", 0xE53935),
        ("warning", "⚠️ Warning · Sol", 0xFB8C00),
        ("info", "ℹ️ Info · Sol", 0x1E88E5),
    ],
)
def test_a_title_is_made_of_severity_and_store(severity: str, title: str, color: int) -> None:
    found = embed(DiscordNotification(severity=severity, store_name="Sol", title=" \u200b"))
    assert (found["title"], found["color"]) == (title, color)


@pytest.mark.parametrize(
    ("given_color", "color"),
    [
        (None, 0xE53935),
        (0, 0),
        (0x123456, 0x123456),
        (-5, 0),
        (2**40, 0xFFFFFF),
        (float("inf"), 0xFFFFFF),
        (float("nan"), 0xE53935),
        ("red", 0xE53935),
        ("255", 255),
        ([], 0xE53935),
    ],
)
def test_a_colour_is_one(given_color: Any, color: int) -> None:
    assert embed(DiscordNotification(color=given_color))["color"] == color


@pytest.mark.parametrize("severity", ["fatal", "", None, 5, "critical"])
def test_a_severity_that_is_unknown_is_an_error(severity: Any) -> None:
    assert DiscordNotification(severity=severity).severity is SeverityLevel.ERROR


@pytest.mark.parametrize("severity", ["WARNING", " warning ", SeverityLevel.WARNING])
def test_a_severity_is_known_however_it_is_written(severity: Any) -> None:
    assert DiscordNotification(severity=severity).severity is SeverityLevel.WARNING


@pytest.mark.parametrize(
    ("at", "footer"),
    [
        (None, "2026-05-01 10:02:03 CEST"),
        (datetime(2026, 1, 5, 23, 30), "2026-01-06 00:30:00 CET"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25 02:30:00 CEST"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25 02:30:00 CET"),
        ("2026-01-05T23:30:00Z", "2026-01-06 00:30:00 CET"),
        (datetime.min, "2026-05-01 10:02:03 CEST"),
        (datetime.max.replace(tzinfo=ZURICH), "2026-05-01 10:02:03 CEST"),
        ("yesterday", "2026-05-01 10:02:03 CEST"),
    ],
)
def test_the_footer_tells_the_local_time(at: Any, footer: str) -> None:
    found = embed(DiscordNotification(at=at))
    assert found["footer"]["text"] == footer
    assert datetime.fromisoformat(found["timestamp"]).tzinfo is not None


def test_a_negative_count_and_an_address_that_is_none_are_left_out() -> None:
    given_values: dict[str, Any] = {"customer_orders_count": -1, "trace_url": "nowhere", "linear_url": "x:y"}
    found = fields(embed(DiscordNotification(**given_values, linear_identifier="OPS-1")))
    assert "Orders" not in found
    assert "Trace" not in found
    assert found["Linear"] == "OPS-1"


def test_an_address_that_discord_refuses_in_the_title_stands_in_the_text() -> None:
    found = embed(DiscordNotification(conversation_id="7"), Links(settings(webapp_base_url="http://localhost:3000")))
    assert "url" not in found
    assert fields(found)["Conversation"].endswith("(http://localhost:3000/whatsapp/messages?conversationId=7)")


def test_markdown_and_mentions_are_text() -> None:
    evil = "[free](http://evil.example) @everyone <@1> <#1> **b** https://evil.example"
    found = embed(DiscordNotification(title=evil, description=evil, customer_name=evil, fields={evil: evil}))
    written = r"\[free\]\(http\://evil.example\) \@everyone \<\@1\> \<\#1\> \*\*b\*\* https\://evil.example"
    assert found["title"] == f"🚨 {written}"
    assert found["description"] == written
    assert fields(found)["Customer"] == fields(found)[written] == written


def test_a_long_description_is_cut_and_leaves_the_links() -> None:
    notification = notification_of(NOTICE, ZURICH).model_copy(update={"description": "ñ" * 100_000})
    found = embed(notification)
    assert len(found["description"]) == 4_096
    assert {"Store", "Customer", "Phone", "Conversation", "Trace", "Logs", "Linear", "Ids"} <= set(fields(found))


@pytest.mark.parametrize(("count", "length", "shown"), [(40, 5, 25), (30, 1_000, 2), (30, 5_000, 2)])
def test_fields_are_left_out_where_there_are_too_many(count: int, length: int, shown: int) -> None:
    more = {f"name {number}": "x" * length for number in range(count)}
    links = Links(settings(railway_project_id=""))
    found = embed(DiscordNotification(description="ñ" * 5_000, fields=more), links)
    assert len(found["fields"]) == shown
    assert len(found["description"]) > 2_900


@pytest.mark.parametrize(
    ("notice", "title", "times", "seen"),
    [
        (NOTICE, "🚨 Delivery given up", None, None),
        (ONGOING, "🚨 Still happening: Delivery given up", "still happening: 57 times so far, since 10:02",
         "12 conversations, 3 merchants"),
        (SUMMARY, "🚨 Over: Delivery given up", "over: 10,000 times between 10:02 and 10:03",
         "10,000 conversations, 1 merchant"),
    ],
)  # fmt: skip
def test_a_notice_says_what_kind_it_is(notice: Notice, title: str, times: str | None, seen: str | None) -> None:
    found = embed(notification_of(notice, ZURICH))
    shown = fields(found)
    assert found["title"] == title
    assert (shown.get("Times"), shown.get("Seen in")) == (times, seen)
    assert shown["Ids"] == r"turn\_id 5, delivery\_id 12"
    assert shown["Trace"] == f"[Open]({notice.trace_url})"
    assert "start=2026-05-01T08%3A01%3A33" in shown["Logs"]


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(TEXTS | st.none() | st.integers(), min_size=7, max_size=7),
    urls=st.tuples(URLS, URLS),
    numbers=st.tuples(NUMBERS, NUMBERS),
    severity=TEXTS | st.sampled_from(["info", "warning"]) | st.none(),
    at=st.none() | st.datetimes() | st.datetimes(timezones=st.timezones()) | st.text(max_size=5),
    more=st.dictionaries(TEXTS, TEXTS, max_size=30),
    environment=st.sampled_from(
        [{}, {"webapp_base_url": "https://a.example/" + "x" * 3_000}, {"railway_logs_url": "-"}]
    ),
)
def test_any_notification_is_one_that_discord_takes(
    texts: list[Any], urls: tuple[Any, Any], numbers: tuple[Any, Any], severity: Any, at: Any,
    more: dict[str, str], environment: dict[str, str],
) -> None:  # fmt: skip
    names = ("title", "description", "store_name", "conversation_id", "customer_name", "customer_phone")
    given_values: dict[str, Any] = dict(zip((*names, "linear_identifier"), texts, strict=True))
    given_values |= {"trace_url": urls[0], "linear_url": urls[1], "color": numbers[0]}
    given_values |= {"customer_orders_count": numbers[1], "severity": severity, "at": at, "fields": more}

    found = embed(DiscordNotification(**given_values), Links(settings(**environment)))

    assert found["title"].strip()


@hypothesis_settings(max_examples=50, deadline=None)
@given(notices())
def test_any_notice_is_one_that_discord_takes(notice: Notice) -> None:
    embed(notification_of(notice, ZURICH))


def test_a_notification_can_be_read_from_json() -> None:
    given_one = DiscordNotification(title="a", color=5, at=AT, fields={"b": "c"}, severity="info")
    assert DiscordNotification.model_validate_json(given_one.model_dump_json()) == given_one
    assert given_one.at is not None
    assert given_one.at - AT == timedelta()
