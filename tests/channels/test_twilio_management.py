"""A Twilio account as its operator sees it, and having contents made there."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from recado.channels.management import Check, Expected
from recado.channels.twilio.management import TwilioManagement
from recado.merchants.account import Account
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN
from tests.support import free_port

SHOP = "+15550200123"
SERVICE = "MG" + "0" * 32
ACCOUNT = Account(1, 1, "twilio", SHOP, {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}, {}, daily_limit=1_000)
EXPECTED = Expected("https://recado.example")
SENDER: dict[str, Any] = {
    "sid": "XE" + "1" * 32,
    "sender_id": f"whatsapp:{SHOP}",
    "status": "ONLINE",
    "webhook": {"callback_url": "https://recado.example/webhooks/twilio", "callback_method": "POST"},
    "properties": {"quality_rating": "HIGH", "messaging_limit": "10K Customers/24hr"},
    "offline_reasons": None,
}


@pytest.fixture(scope="module")
def server() -> Iterator[TwilioFake]:
    with running(TwilioFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: TwilioFake) -> TwilioFake:
    server.reset()
    server.apply_script({"senders": [SENDER]})
    return server


@pytest.fixture
async def twilio(fake: TwilioFake) -> AsyncIterator[TwilioManagement]:
    made = TwilioManagement(fake.url, 5.0)
    yield made
    await made.close()


def failing(checks: Sequence[Check]) -> list[str]:
    """What is wrong; each with a remedy, and nothing secret."""
    assert AUTH_TOKEN not in str(checks)
    assert SHOP not in str(checks)
    assert all(check.remedy for check in checks if not check.ok)
    return [check.text for check in checks if not check.ok]


def warnings(checks: Sequence[Check]) -> list[str]:
    return [check.text for check in checks if check.ok and check.remedy]


async def test_all_is_well(fake: TwilioFake, twilio: TwilioManagement) -> None:
    checks = await twilio.examine(ACCOUNT, EXPECTED)
    assert (failing(checks), warnings(checks)) == ([], [])
    assert [check.text for check in checks] == [
        "the account is active",
        "the sender is ONLINE",
        "the sender posts to https://recado.example/webhooks/twilio",
        "quality HIGH",
        "Twilio says 10K Customers/24hr; Recado counts daily_limit 1000, per_second by default",
        "templates approved: 0",
    ]
    assert not [entry for entry in fake.requests.entries() if entry["method"] != "GET"]


async def test_a_closed_account_and_a_trial(fake: TwilioFake, twilio: TwilioManagement) -> None:
    fake.apply_script({"account": {"status": "suspended"}})
    assert failing(await twilio.examine(ACCOUNT, EXPECTED)) == ["the account is suspended"]
    fake.apply_script({"account": {"type": "Trial"}})
    assert warnings(await twilio.examine(ACCOUNT, EXPECTED)) == ["the account is a trial"]


async def test_wrong_credentials_end_the_examination(fake: TwilioFake, twilio: TwilioManagement) -> None:
    account = replace(ACCOUNT, credentials={"account_sid": ACCOUNT_SID, "auth_token": "a-wrong-token"})
    checks = await twilio.examine(account, EXPECTED)
    assert len(checks) == 1
    assert failing(checks)[0].startswith("the account cannot be read: Twilio 20003")
    assert "a-wrong-token" not in str(checks)


@pytest.mark.parametrize(
    ("changes", "wrong", "warned"),
    [
        ({"sender_id": "whatsapp:+15550000000"}, "the account has no WhatsApp sender +15…23", None),
        (
            {"status": "OFFLINE", "offline_reasons": [{"code": "63112", "message": "Meta disabled it"}]},
            "the sender is OFFLINE: 63112 Meta disabled it",
            None,
        ),
        ({"status": "ONLINE:UPDATING"}, None, None),
        (
            {"webhook": {"callback_url": "https://u:pass@old.example/webhooks/twilio"}},
            "the sender posts to https://old.example/webhooks/twilio",
            None,
        ),
        ({"webhook": None}, "the sender posts to nowhere", None),
        ({"webhook": {"callback_url": "https://recado.example/webhooks/twilio#rc=3&rp=all"}}, None, None),
        ({"properties": {"quality_rating": "LOW", "messaging_limit": "250"}}, None, "quality LOW"),
        ({"properties": "nonsense"}, None, None),
    ],
)
async def test_a_sender_that_is_not_as_it_should_be(
    fake: TwilioFake, twilio: TwilioManagement, changes: dict[str, Any], wrong: str | None, warned: str | None
) -> None:
    fake.apply_script({"senders": [SENDER | changes]})
    checks = await twilio.examine(ACCOUNT, EXPECTED)
    assert failing(checks) == ([wrong] if wrong else [])
    assert warnings(checks) == ([warned] if warned else [])


async def test_the_sandbox_is_no_sender(fake: TwilioFake, twilio: TwilioManagement) -> None:
    checks = await twilio.examine(replace(ACCOUNT, address="+14155238886"), EXPECTED)
    assert warnings(checks) == ["this is Twilio's sandbox"]


@pytest.mark.parametrize(
    ("service", "wrong"),
    [
        ({"use_inbound_webhook_on_number": True, "senders": [f"whatsapp:{SHOP}"]}, []),
        (
            {"inbound_request_url": "https://recado.example/webhooks/twilio", "senders": []},
            ["the messaging service does not have the sender"],
        ),
        (
            {"inbound_request_url": None, "senders": [f"whatsapp:{SHOP}"]},
            ["the messaging service posts to nowhere"],
        ),
        (None, ["the account has no messaging service MG00000000000000000000000000000000"]),
    ],
)
async def test_a_messaging_service_that_is_named(
    fake: TwilioFake, twilio: TwilioManagement, service: dict[str, Any] | None, wrong: list[str]
) -> None:
    fake.apply_script({"services": {SERVICE: {"sid": SERVICE, **service}} if service else {}})
    account = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "messaging_service_sid": SERVICE})
    assert failing(await twilio.examine(account, EXPECTED)) == wrong


@pytest.mark.parametrize(
    "fault",
    [{"status": 503, "html": True}, {"code": 20429, "retry_after": 30}, {"code": 20404}, {"cut": True}, {"hang": True}],
    ids=str,
)
async def test_what_cannot_be_asked_is_a_finding(fake: TwilioFake, fault: dict[str, Any]) -> None:
    fake.apply_script({"faults": [{"when": {"op": op}, "fault": fault} for op in ("account", "senders", "contents")]})
    twilio = TwilioManagement(fake.url, 0.3 if fault.get("hang") else 5.0)
    wrong = failing(await twilio.examine(ACCOUNT, EXPECTED))
    fake.gates.release(proceed=False)
    await twilio.close()
    assert [text.partition(":")[0] for text in wrong] == [
        "the account cannot be read",
        "the sender cannot be read",
        "templates cannot be read",
    ]


async def test_nobody_answers() -> None:
    twilio = TwilioManagement(f"http://127.0.0.1:{free_port()}", 5.0)
    assert len(failing(await twilio.examine(ACCOUNT, EXPECTED))) == 3
    await twilio.close()
