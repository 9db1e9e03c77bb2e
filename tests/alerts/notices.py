"""What tests of alerts tell, and settings to tell it with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from recado.alerts.conditions import SeverityLevel
from recado.alerts.notice import Customer, Notice
from recado.settings import Settings

AT = datetime(2026, 5, 1, 8, 2, 3, tzinfo=UTC)
"""In Zurich, 10:02:03 in summer time."""

NOTICE = Notice(
    kind="first",
    condition="delivery_given_up",
    severity=SeverityLevel.ERROR,
    title="Delivery given up",
    description="The provider refused it: error 63016",
    at=AT,
    last_at=AT,
    store_name="Bodega Sol",
    conversation_id=7,
    customer=Customer("Ana", "+51999999999", 3),
    ids={"turn_id": 5, "delivery_id": 12},
    conversation_url="https://app.example.com/whatsapp/messages?conversationId=7",
    trace_url="https://langfuse.example.com/project/p/traces/abc",
    logs_url="https://railway.com/project/p/logs?environmentId=e",
    linear_url="https://linear.app/recado/issue/OPS-1/an-issue",
    linear_identifier="OPS-1",
)
ONGOING = replace(NOTICE, kind="ongoing", count=57, spread=(12, 3), last_at=AT + timedelta(hours=1))
SUMMARY = replace(NOTICE, kind="summary", count=10_000, spread=(10_000, 1), last_at=AT + timedelta(minutes=1))


def settings(**values: Any) -> Settings:
    """Settings that lead somewhere, as far as `values` do not say otherwise."""
    usual = {
        "webapp_base_url": "https://app.example.com",
        "railway_project_id": "p1",
        "railway_environment_id": "e1",
        "trace_url": "https://langfuse.example.com/traces/{trace_id}",
    }
    return Settings(_env_file=None, **{**usual, **values})  # type: ignore[call-arg]


_CHARACTERS = st.one_of(
    st.characters(),
    st.characters(categories=["Cs", "Cf", "Cc", "So", "Mn"]),
    st.sampled_from("*_~`|<>[]()#@:/-\\. \n\t\0\u202e\u200b\ufe0f"),
)
_PIECES = st.sampled_from(
    [
        "[x](http://evil.example)",
        "@everyone",
        "<@1>",
        "<#1>",
        "https://evil.example/a_b",
        "```",
        "1. ",
        "-# ",
        "🚨",
        "👩‍👩‍👧",
    ]
)
_SHORT = st.lists(_CHARACTERS | _PIECES, max_size=20).map("".join)
TEXTS = st.builds(lambda text, times: (text * times)[:100_000], _SHORT, st.sampled_from([1, 1, 1, 40, 400, 10_000]))
"""Any texts, some of them very long."""

URLS = st.one_of(
    st.none(),
    TEXTS,
    TEXTS.map(lambda text: f"https://example.com/{text}"),
    st.sampled_from(["https://example.com/" + "x" * n for n in (900, 1_100, 2_028, 2_029)]),
    st.sampled_from(
        ["http://localhost:3000/", "https://u:p@example.com/", "javascript:alert(1)", "http://[::1", "http://"]
    ),
)
NUMBERS = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**5_000))
MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def notices(draw: st.DrawFn) -> Notice:
    """Any notices."""
    maybe = st.none() | TEXTS
    return Notice(
        kind=draw(st.sampled_from(["first", "ongoing", "summary"])),
        condition=draw(TEXTS),
        severity=draw(st.sampled_from(SeverityLevel)),
        title=draw(TEXTS),
        description=draw(TEXTS),
        at=draw(MOMENTS),
        last_at=draw(MOMENTS),
        count=draw(st.integers()),
        spread=draw(st.none() | st.tuples(st.integers(), st.integers())),
        store_name=draw(maybe),
        conversation_id=draw(st.none() | st.integers()),
        customer=Customer(draw(maybe), draw(maybe), draw(st.none() | st.integers())),
        ids=draw(st.dictionaries(TEXTS, TEXTS | st.none() | st.integers(), max_size=4)),
        conversation_url=draw(URLS),
        trace_url=draw(URLS),
        logs_url=draw(URLS),
        linear_url=draw(URLS),
        linear_identifier=draw(maybe),
    )
