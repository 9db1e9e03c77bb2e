"""An Instagram account at Meta as its operator sees it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from recado.campaigns.wanted import wanted_templates
from recado.channels.instagram.management import InstagramManagement
from recado.channels.management import Check, Expected
from recado.errors import Permanent
from recado.merchants.account import Account
from tests.builders import SetClock
from tests.fakes.instagram_account import InstagramAccountFake
from tests.fakes.instagram_inbound import ACCESS_TOKEN, ACCOUNT
from tests.fakes.server import running
from tests.support import free_port

EXPECTED = Expected("https://recado.example")
CREDENTIALS = {"access_token": ACCESS_TOKEN, "app_secret": "app-secret-1", "verify_token": "verify-1"}
SHOP = Account(1, 1, "instagram", ACCOUNT, CREDENTIALS, {})
BY_PAGE = replace(SHOP, credentials={**CREDENTIALS, "login": "facebook"})
CLOCK = SetClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
UNTOLD = "where Meta posts to is in the app's dashboard alone: it should be https://recado.example/webhooks/meta"


@pytest.fixture(scope="module")
def server() -> Iterator[InstagramAccountFake]:
    with running(InstagramAccountFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: InstagramAccountFake) -> InstagramAccountFake:
    server.reset()
    return server


@pytest.fixture
async def instagram(fake: InstagramAccountFake) -> AsyncIterator[InstagramManagement]:
    made = InstagramManagement(fake.url, "24.0", 5.0, CLOCK)
    yield made
    await made.close()


def failing(checks: Sequence[Check]) -> list[str]:
    """What is wrong; each with a remedy, and nothing secret."""
    assert ACCESS_TOKEN not in str(checks)
    assert all(check.remedy for check in checks if not check.ok)
    return [check.text for check in checks if not check.ok]


async def test_all_is_well(fake: InstagramAccountFake, instagram: InstagramManagement) -> None:
    checks = await instagram.examine(SHOP, EXPECTED)
    assert failing(checks) == []
    assert [check.text for check in checks] == [
        "the access token is valid, for @bodega.sol",
        "subscribed to messages, messaging_postbacks",
        UNTOLD,
    ]
    assert not [entry for entry in fake.requests.entries() if entry["method"] != "GET"]


@pytest.mark.parametrize("me", [{"data": [{"user_id": ACCOUNT, "username": "x"}]}, {"id": ACCOUNT}], ids=str)
async def test_other_shapes_of_the_same(
    fake: InstagramAccountFake, instagram: InstagramManagement, me: dict[str, Any]
) -> None:
    fake.apply_script({"me": me})
    assert failing(await instagram.examine(SHOP, EXPECTED)) == []


@pytest.mark.parametrize("me", [{"user_id": "999"}, {}, {"data": []}, {"user_id": ["x"]}], ids=str)
async def test_a_token_of_another_account(
    fake: InstagramAccountFake, instagram: InstagramManagement, me: dict[str, Any]
) -> None:
    fake.apply_script({"me": me})
    [wrong] = failing(await instagram.examine(SHOP, EXPECTED))
    assert wrong.startswith(f"the access token is not for {ACCOUNT} but for ")


@pytest.mark.parametrize("fields", [["comments"], [], None, "messages", 7], ids=str)
async def test_what_is_not_subscribed_to(
    fake: InstagramAccountFake, instagram: InstagramManagement, fields: object
) -> None:
    fake.apply_script({"fields": fields})
    checks = await instagram.examine(SHOP, EXPECTED)
    assert failing(checks) == ["not subscribed to messages, messaging_postbacks"]
    assert "subscribed_fields=messages,messaging_postbacks" in checks[1].remedy


async def test_a_page_has_the_account(fake: InstagramAccountFake, instagram: InstagramManagement) -> None:
    scopes = ["instagram_manage_messages", "pages_manage_metadata"]
    linked = {"id": "1", "instagram_business_account": {"id": ACCOUNT, "username": "bodega.sol"}}
    fake.apply_script({"me": linked, "debug": {"is_valid": True, "expires_at": 0, "scopes": scopes}})
    assert failing(await instagram.examine(BY_PAGE, EXPECTED)) == []
    fake.apply_script({"me": {"id": "1"}, "debug": {"is_valid": True, "scopes": ["pages_manage_metadata"]}})
    assert failing(await instagram.examine(BY_PAGE, EXPECTED)) == [
        f"the access token is not for {ACCOUNT} but for no account",
        "the access token lacks instagram_manage_messages",
    ]


async def test_a_token_that_is_refused(fake: InstagramAccountFake, instagram: InstagramManagement) -> None:
    account = replace(SHOP, credentials={**CREDENTIALS, "access_token": "a-withdrawn-token"})
    checks = await instagram.examine(account, EXPECTED)
    [wrong] = failing(checks)
    assert wrong.startswith("the access token or the account cannot be read: Instagram 190")
    assert "a-withdrawn-token" not in str(checks)


@pytest.mark.parametrize(
    "fault", [{"status": 502, "html": True}, {"code": 4, "status": 429}, {"cut": True}, {"code": 100}], ids=str
)
async def test_what_cannot_be_asked_is_a_finding(
    fake: InstagramAccountFake, instagram: InstagramManagement, fault: dict[str, Any]
) -> None:
    fake.apply_script({"faults": [{"when": {"op": "apps"}, "fault": fault}]})
    [wrong] = failing(await instagram.examine(SHOP, EXPECTED))
    assert wrong.startswith("the subscription cannot be read")
    fake.apply_script({"faults": [{"when": {"op": "me"}, "fault": fault}]})
    assert len(failing(await instagram.examine(SHOP, EXPECTED))) == 1


async def test_nobody_answers() -> None:
    instagram = InstagramManagement(f"http://127.0.0.1:{free_port()}", "24.0", 5.0, CLOCK)
    [wrong] = failing(await instagram.examine(SHOP, EXPECTED))
    assert "cannot connect to Instagram" in wrong
    await instagram.close()


async def test_instagram_has_no_templates(instagram: InstagramManagement) -> None:
    assert await instagram.approvals(SHOP) == {}
    with pytest.raises(Permanent):
        await instagram.create_template(SHOP, wanted_templates(None, ["es"])[0], {})
