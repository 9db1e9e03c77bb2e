"""The Slack channel, over HTTP."""

from collections.abc import Iterator
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from recado.alerts.notice import Customer, Notice
from recado.alerts.slack import SlackChannel, message_of
from recado.errors import AlertFailed
from tests.alerts.notices import NOTICE, ONGOING, SUMMARY, notices
from tests.fakes.server import running
from tests.fakes.slack_api import LONGEST_TEXT, PATH, SlackFake

ZURICH = ZoneInfo("Europe/Zurich")


@pytest.fixture(scope="module")
def server() -> Iterator[SlackFake]:
    with running(SlackFake()) as fake:
        yield fake


@pytest.fixture
def slack(server: SlackFake) -> SlackFake:
    server.reset()
    return server


@pytest.fixture
def channel(slack: SlackFake) -> SlackChannel:
    return SlackChannel(slack.webhook_url, ZURICH)


async def test_a_notice_with_all_that_is_known(slack: SlackFake, channel: SlackChannel) -> None:
    await channel.send(ONGOING)

    (message,) = slack.messages
    (attachment,) = message["attachments"]
    assert message["text"] == attachment["fallback"] == "🚨 Still happening: Delivery given up"
    assert attachment["color"] == "#e53935"
    assert attachment["text"] == (
        "The provider refused it: error 63016\n\n"
        "<https://app.example.com/whatsapp/messages?conversationId=7|Conversation> · "
        "<https://langfuse.example.com/project/p/traces/abc|Trace> · "
        "<https://railway.com/project/p/logs?environmentId=e|Logs> · "
        "<https://linear.app/recado/issue/OPS-1/an-issue|Issue OPS-1>"
    )
    assert {field["title"]: field["value"] for field in attachment["fields"]} == {
        "Store": "Bodega Sol",
        "Customer": "Ana",
        "Phone": "+51999999999",
        "Orders": "3",
        "Times": "still happening: 57 times so far, since 10:02",
        "Seen in": "12 conversations, 3 merchants",
        "Ids": "turn_id 5, delivery_id 12",
    }
    assert (attachment["footer"], attachment["ts"]) == ("2026-05-01 10:02:03 CEST", 1777622523)


def test_a_summary_says_how_often_and_when() -> None:
    fields = message_of(SUMMARY, ZURICH)["attachments"][0]["fields"]
    assert "over: 10,000 times between 10:02 and 10:03" in [field["value"] for field in fields]


def test_links_and_mentions_of_people_are_text() -> None:
    evil = "<!channel> <@U1> [free](http://evil.example) <http://evil.example|Sol> & @channel @All"
    message = message_of(replace(NOTICE, title=evil, description=evil, customer=Customer(evil)), ZURICH)
    attachment = message["attachments"][0]
    for text in (message["text"], attachment["text"].partition("\n\n")[0], attachment["fields"][1]["value"]):
        assert "&lt;!channel&gt; &lt;@U1&gt;" in text
        assert "](" not in text
        assert "@channel" not in text
        assert "@All" not in text
        assert "<" not in text


@hypothesis_settings(max_examples=40, deadline=None)
@given(notices())
def test_any_notice_is_within_the_limits(notice: Notice) -> None:
    message = message_of(notice, ZURICH)
    (attachment,) = message["attachments"]
    assert 0 < len(message["text"]) <= 250
    assert len(attachment["text"]) < LONGEST_TEXT
    assert attachment["text"].count("<http") == attachment["text"].count(">")
    assert all(0 < len(field["value"]) <= 500 for field in attachment["fields"])
    assert "\ud800" not in str(message)


@pytest.mark.parametrize(
    ("answer", "permanent", "retry_after"),
    [
        ((404, "no_service", {}), True, None),
        ((403, "action_prohibited", {}), True, None),
        ((410, "channel_is_archived", {}), True, None),
        ((400, "invalid_payload", {}), True, None),
        ((500, "rollup_error", {}), False, None),
        ((429, "rate_limited", {"Retry-After": "30"}), False, 30.0),
        ((302, "", {"Location": "https://slack.com/"}), False, None),
        ((200, "<html>sign in</html>", {}), False, None),
    ],
)
async def test_what_was_not_taken(
    slack: SlackFake,
    channel: SlackChannel,
    answer: tuple[int, str, dict[str, str]],
    permanent: bool,
    retry_after: float,
) -> None:
    slack.answers = [answer]
    with pytest.raises(AlertFailed) as caught:
        await channel.send(NOTICE)
    assert (caught.value.permanent, caught.value.retry_after) == (permanent, retry_after)
    assert PATH not in str(caught.value)


async def test_any_word_of_a_compatible_server_is_a_yes(slack: SlackFake, channel: SlackChannel) -> None:
    slack.answers = [(200, '{"id": 1}', {}), (200, "", {}), (204, "", {})]
    for _ in range(3):
        await channel.send(NOTICE)
