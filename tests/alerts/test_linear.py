"""Issues in Linear: one for each fingerprint, whatever happens on the way."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from recado.alerts.linear import AT_ONCE, LEFT_ALONE, LEFT_ALONE_AWAY, Issue, Linear
from recado.alerts.links import Links
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import Alert, AlertIssue
from tests.alerts.notices import AT, settings
from tests.fakes.linear_api import OAUTH_TOKEN, PERSONAL_KEY, TEAM, LinearFake
from tests.fakes.server import running
from tests.support import free_port

ISSUE = Issue("OPS-1", "https://linear.app/recado/issue/OPS-1/an-issue")


@pytest.fixture(scope="module")
def server() -> Iterator[LinearFake]:
    with running(LinearFake()) as fake:
        yield fake


@pytest.fixture
def api(server: LinearFake) -> LinearFake:
    server.reset()
    return server


@pytest.fixture
def linear(api: LinearFake, database: Database) -> Linear:
    return linear_at(api.api_url, database)


def linear_at(url: str, database: Database, key: str = PERSONAL_KEY, team_id: str = TEAM) -> Linear:
    return Linear(url, key, team_id, database, Clock(), Links(settings()), seconds=1.0)


def an_alert(fingerprint: str = "f" * 32, **values: Any) -> Alert:
    usual: dict[str, Any] = {
        "condition": "delivery_given_up",
        "description": "Twilio refused it for +51999999999: error 63016",
        "conversation_id": 7,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "context": {"delivery_id": 12, "to": "+51999999999"},
        "first_at": AT,
    }
    return Alert(fingerprint=fingerprint, **{**usual, **values})


async def test_an_issue_is_made_once(api: LinearFake, linear: Linear, database: Database) -> None:
    assert await linear.issue_of(an_alert(), "Bodega Sol") == ISSUE
    assert await linear.issue_of(an_alert(), "Bodega Sol") == ISSUE
    assert await linear_at(api.api_url, database).issue_of(an_alert(), None) == ISSUE

    assert [request["kind"] for request in api.requests.entries()] == ["create"]
    ((issue_id, made),) = api.issues.items()
    async with database.read() as session:
        row = (await session.scalars(select(AlertIssue))).one()
    assert (row.issue_id, row.identifier, row.url) == (issue_id, "OPS-1", ISSUE.url)
    assert made["teamId"] == TEAM
    assert made["title"] == ("Delivery given up (Bodega Sol): Twilio refused it for +51…99: error 63016")


async def test_no_phone_number_leaves_the_house(api: LinearFake, linear: Linear) -> None:
    await linear.issue_of(
        an_alert(description="51999999999 called\n```\n[x](http://evil.example)"), "Tienda +51987654321"
    )
    (made,) = api.issues.values()
    assert "999999" not in str(made["title"] + made["description"])
    assert "987654" not in str(made["title"] + made["description"])
    assert made["description"] == (
        "```\n519…99 called\n'''\n[x](http://evil.example)\n```\n\n"
        "Condition: `delivery_given_up`\n\n"
        "Store: `Tienda +51…21`\n\n"
        "First seen: 2026-05-01T08:02:03+00:00\n\n"
        "Ids: `delivery_id 12, to +51…99`\n\n"
        "Trace: `0af7651916cd43dd8448eb211c80319c`\n\n"
        "[Conversation](https://app.example.com/whatsapp/messages?conversationId=7)\n\n"
        "[Logs](https://railway.com/project/p1/logs?environmentId=e1"
        "&start=2026-05-01T08%3A01%3A33.000Z&end=2026-05-01T08%3A02%3A33.000Z)"
    )


async def test_a_description_of_any_length(api: LinearFake, linear: Linear) -> None:
    assert await linear.issue_of(an_alert(description="🚨" * 20_000, conversation_id=None, trace_id=None), "x" * 500)
    (made,) = api.issues.values()
    assert len(made["title"]) <= 200
    assert len(made["description"]) <= 10_000


@pytest.mark.parametrize("fingerprint", ["a", "b"])
async def test_each_fingerprint_has_its_own(api: LinearFake, linear: Linear, fingerprint: str) -> None:
    await linear.issue_of(an_alert("c"), None)
    found = await linear.issue_of(an_alert(fingerprint), None)
    assert found is not None
    assert found.identifier == "OPS-2"


async def test_an_issue_whose_answer_was_lost_is_found_again(
    api: LinearFake, linear: Linear, database: Database
) -> None:
    api.fail("lost", times=1)
    assert await linear.issue_of(an_alert(), None) is None
    assert len(api.issues) == 1

    assert await linear_at(api.api_url, database).issue_of(an_alert(), None) == ISSUE
    assert [request["kind"] for request in api.requests.entries()] == ["create", "create", "find"]
    assert len(api.issues) == 1


async def test_two_who_ask_at_once_make_one(api: LinearFake, database: Database) -> None:
    askers = [linear_at(api.api_url, database) for _ in range(4)]
    found = await asyncio.gather(*(linear.issue_of(an_alert(), None) for linear in askers))
    assert found == [ISSUE] * 4
    assert len(api.issues) == 1


async def test_a_storm_of_alerts_is_no_storm_of_requests(api: LinearFake, linear: Linear) -> None:
    api.fail("hang")
    alerts = [an_alert(str(number)) for number in range(20)]
    began = time.monotonic()
    assert await asyncio.gather(*(linear.issue_of(alert, None) for alert in alerts)) == [None] * 20
    assert time.monotonic() - began < 3
    assert len(api.requests.entries()) == AT_ONCE


async def test_a_known_issue_is_given_though_linear_is_left_alone(api: LinearFake, linear: Linear) -> None:
    assert await linear.issue_of(an_alert(), None) == ISSUE
    api.fail("no_rights")
    assert await linear.issue_of(an_alert("another"), None) is None
    assert await linear.issue_of(an_alert(), None) == ISSUE


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (PERSONAL_KEY, PERSONAL_KEY),
        (f" {PERSONAL_KEY}\n", PERSONAL_KEY),
        (OAUTH_TOKEN, f"Bearer {OAUTH_TOKEN}"),
        (f"Bearer {OAUTH_TOKEN}", f"Bearer {OAUTH_TOKEN}"),
    ],
)
async def test_the_key_goes_as_linear_wants_it(api: LinearFake, database: Database, key: str, header: str) -> None:
    assert await linear_at(api.api_url, database, key).issue_of(an_alert(), None) == ISSUE
    assert api.requests.entries()[0]["headers"]["authorization"] == header


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("no_rights", "FORBIDDEN): You don't have permission to create issues in this team."),
        ("invalid_key", "AUTHENTICATION_ERROR): You need to authenticate."),
        ("invalid_team", "INPUT_ERROR): Could not find referenced Team."),
        ("errors_200", "INVALID_INPUT): teamId must be a UUID."),
    ],
)
async def test_a_refusal_is_logged_with_its_remedy_and_linear_left_alone(
    api: LinearFake, linear: Linear, mode: str, said: str
) -> None:
    api.fail(mode, times=1)
    with capture_logs() as logs:
        assert await linear.issue_of(an_alert(), None) is None
        assert await linear.issue_of(an_alert("another"), None) is None

    (line,) = logs
    assert said in line["error"]
    assert "check LINEAR_API_KEY and its right to create issues, and that LINEAR_TEAM_ID is" in line["error"]
    assert line["left_alone_seconds"] == LEFT_ALONE == 600
    assert PERSONAL_KEY not in str(logs)
    assert len(api.requests.entries()) == 1


@pytest.mark.parametrize("mode", ["html", "status", "redirect", "null", "hang", "limited"])
async def test_a_failure_is_logged_and_tried_again_later(
    api: LinearFake, linear: Linear, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.fail(mode, times=1)
    began = time.monotonic()
    with capture_logs() as logs:
        assert await linear.issue_of(an_alert(), None) is None
        assert await linear.issue_of(an_alert(), None) is None
    assert time.monotonic() - began < 3
    (line,) = logs
    assert line["left_alone_seconds"] == (LEFT_ALONE if mode == "limited" else LEFT_ALONE_AWAY)

    later = time.monotonic() + line["left_alone_seconds"] + 1
    monkeypatch.setattr("recado.alerts.linear.time.monotonic", lambda: later)
    assert await linear.issue_of(an_alert(), None) == ISSUE


@pytest.mark.parametrize("url", ["", "linear", "http://127.0.0.1:{port}/graphql"])
async def test_nobody_there_is_no_issue(database: Database, url: str) -> None:
    assert await linear_at(url.format(port=free_port()), database).issue_of(an_alert(), None) is None


async def test_the_database_is_free_while_linear_is_asked(api: LinearFake, linear: Linear, database: Database) -> None:
    api.fail("hang")
    asking = asyncio.create_task(linear.issue_of(an_alert(), None))
    await api.requests.until(1)
    async with asyncio.timeout(0.5), database.transaction() as session:
        row = (await session.scalars(select(AlertIssue))).one()
        assert (row.identifier, row.url) == (None, None)
        row.url = "written meanwhile"
    assert await asking is None


async def test_a_database_that_is_away_is_no_issue(api: LinearFake, tmp_path: Any) -> None:
    away = Database(f"sqlite+aiosqlite:///{tmp_path}/none/here.db")
    with capture_logs() as logs:
        assert await linear_at(api.api_url, away).issue_of(an_alert(), None) is None
    assert [line["event"] for line in logs] == ["an alert's issue could not be written down"]
    assert api.requests.entries() == []
    await away.close()
