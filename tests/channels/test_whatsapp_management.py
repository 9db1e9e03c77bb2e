"""A WhatsApp number at Meta as its operator sees it, and having templates made there."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recado.campaigns.wanted import wanted_templates
from recado.channels.management import Check, Expected
from recado.channels.whatsapp.management import WhatsAppManagement
from recado.errors import AccountRefused, Permanent, Retryable, SendError, TemplateRefused
from recado.merchants.account import Account
from tests.builders import SetClock
from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import ACCESS_TOKEN, PHONE_NUMBER_ID, WABA_ID
from tests.fakes.server import running
from tests.support import free_port

WEBHOOK = "https://recado.example/webhooks/meta"
EXPECTED = Expected("https://recado.example/")
CREDENTIALS = {"access_token": ACCESS_TOKEN, "app_secret": "app-secret-1", "verify_token": "verify-1"}
ACCOUNT = Account(1, 1, "whatsapp", PHONE_NUMBER_ID, CREDENTIALS, {}, per_second=20, waba_id=WABA_ID)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
[QUESTION, *_], READY = (
    wanted_templates(None, ["es"]),
    next(template for template in wanted_templates(None, ["pt"]) if template.buttons),
)


@pytest.fixture(scope="module")
def server() -> Iterator[MetaFake]:
    with running(MetaFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: MetaFake) -> MetaFake:
    server.reset()
    server.apply_script({"numbers": {PHONE_NUMBER_ID: {"webhook_configuration": {"application": WEBHOOK}}}})
    return server


@pytest.fixture
async def whatsapp(fake: MetaFake) -> AsyncIterator[WhatsAppManagement]:
    made = WhatsAppManagement(fake.url, "24.0", 5.0, SetClock(NOW))
    yield made
    await made.close()


def failing(checks: Sequence[Check]) -> list[str]:
    """What is wrong; each with a remedy, and nothing secret."""
    assert ACCESS_TOKEN not in str(checks)
    assert all(check.remedy for check in checks if not check.ok)
    return [check.text for check in checks if not check.ok]


def warnings(checks: Sequence[Check]) -> list[str]:
    return [check.text for check in checks if check.ok and check.remedy]


def unix(moment: datetime) -> int:
    return int(moment.timestamp())


async def test_all_is_well(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    checks = await whatsapp.examine(ACCOUNT, EXPECTED)
    assert (failing(checks), warnings(checks)) == ([], [])
    said = [check.text for check in checks]
    assert said[0] == "the access token is valid and has no end"
    assert said[1].endswith("(Bodega Sol) is CONNECTED, quality GREEN")
    assert said[2:] == [
        "Meta says limit TIER_250, throughput STANDARD; Recado counts daily_limit by default, per_second 20",
        f"Meta posts to {WEBHOOK}",
        "the app is subscribed to the WhatsApp Business Account",
        "templates approved: 0",
    ]
    assert not [entry for entry in fake.requests.entries() if entry["method"] != "GET"]


@pytest.mark.parametrize(
    ("token", "wrong", "warned"),
    [
        ({"is_valid": False}, ["the access token is not valid"], []),
        ({"expires_at": unix(NOW - timedelta(days=1))}, ["the access token ended at 2026-11-20 12:00 UTC"], []),
        ({"expires_at": unix(NOW + timedelta(days=3))}, [], ["the access token is valid until 2026-11-24 12:00 UTC"]),
        ({"expires_at": unix(NOW + timedelta(days=50))}, [], []),
        (
            {"data_access_expires_at": unix(NOW + timedelta(days=2))},
            [],
            ["the access token is valid until 2026-11-23 12:00 UTC"],
        ),
        ({"scopes": ["whatsapp_business_messaging"]}, ["the access token lacks whatsapp_business_management"], []),
        (
            {"scopes": None, "expires_at": "soon"},
            ["the access token lacks whatsapp_business_messaging, whatsapp_business_management"],
            [],
        ),
    ],
)
async def test_tokens(
    fake: MetaFake, whatsapp: WhatsAppManagement, token: dict[str, Any], wrong: list[str], warned: list[str]
) -> None:
    fake.apply_script({"debug": token})
    checks = await whatsapp.examine(ACCOUNT, EXPECTED)
    assert (failing(checks), warnings(checks)) == (wrong, warned)


async def test_a_token_that_is_refused_ends_the_examination(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    account = replace(ACCOUNT, credentials={**CREDENTIALS, "access_token": "a-withdrawn-token"})
    checks = await whatsapp.examine(account, EXPECTED)
    assert len(checks) == 1
    assert failing(checks)[0].startswith("the access token is refused: WhatsApp 190")
    assert "a-withdrawn-token" not in str(checks)


async def test_a_token_that_may_not_ask_about_itself(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    fake.apply_script({"faults": [{"when": {"op": "debug"}, "fault": {"code": 100}}]})
    checks = await whatsapp.examine(ACCOUNT, EXPECTED)
    assert (failing(checks), warnings(checks)) == ([], ["the end of the access token cannot be told"])
    assert len(checks) == 6


@pytest.mark.parametrize(
    ("number", "wrong", "warned"),
    [
        ({"status": "RESTRICTED"}, ["the number +15…23 is RESTRICTED"], []),
        ({"status": None}, ["the number +15…23 is in a state that Meta does not tell"], []),
        ({"quality_rating": "RED"}, [], ["the number +15…23 (Bodega Sol) is CONNECTED, quality RED"]),
        (
            {"webhook_configuration": {"application": WEBHOOK, "phone_number": "https://old.example/hook"}},
            ["Meta posts to https://old.example/hook"],
            [],
        ),
        ({"webhook_configuration": None}, ["Meta posts to nowhere"], []),
        ({"webhook_configuration": {"application": "https://x/", "whatsapp_business_account": WEBHOOK}}, [], []),
        ({"throughput": "nonsense", "whatsapp_business_manager_messaging_limit": 5}, [], []),
    ],
)
async def test_numbers(
    fake: MetaFake, whatsapp: WhatsAppManagement, number: dict[str, Any], wrong: list[str], warned: list[str]
) -> None:
    known = {"webhook_configuration": {"application": WEBHOOK}, "display_phone_number": "+15550200123"}
    fake.apply_script({"numbers": {PHONE_NUMBER_ID: known | number}})
    checks = await whatsapp.examine(ACCOUNT, EXPECTED)
    assert (failing(checks), warnings(checks)) == (wrong, warned)


async def test_an_app_that_is_not_subscribed(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    fake.apply_script({"debug": {"app_id": "777"}})
    wrong = failing(await whatsapp.examine(ACCOUNT, EXPECTED))
    assert wrong == ["the WhatsApp Business Account sends nothing to this app"]


async def test_without_its_account_templates_are_not_checked(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    account = replace(ACCOUNT, waba_id=None)
    checks = await whatsapp.examine(account, EXPECTED)
    assert warnings(checks) == ["templates and subscription are not checked"]
    assert "waba_id" in checks[-1].remedy
    with pytest.raises(Permanent, match="none is named"):
        await whatsapp.approvals(account)


@pytest.mark.parametrize(
    "fault",
    [{"status": 502, "html": True}, {"code": 80007, "status": 429, "retry_after": 9}, {"cut": True}, {"hang": True}],
    ids=str,
)
async def test_what_cannot_be_asked_is_a_finding(fake: MetaFake, fault: dict[str, Any]) -> None:
    fake.apply_script({"faults": [{"when": {"op": op}, "fault": fault} for op in ("number", "apps", "templates")]})
    whatsapp = WhatsAppManagement(fake.url, "24.0", 0.5 if fault.get("hang") else 5.0, SetClock(NOW))
    wrong = failing(await whatsapp.examine(ACCOUNT, EXPECTED))
    fake.gates.release(proceed=False)
    await whatsapp.close()
    assert [text.partition(":")[0] for text in wrong] == [
        "the number cannot be read",
        "the WhatsApp Business Account cannot be read",
    ]


async def test_nobody_answers() -> None:
    whatsapp = WhatsAppManagement(f"http://127.0.0.1:{free_port()}", "24.0", 5.0, SetClock(NOW))
    [wrong] = failing(await whatsapp.examine(ACCOUNT, EXPECTED))
    assert wrong.startswith("Meta cannot be asked: cannot connect to WhatsApp")
    await whatsapp.close()


async def test_a_template_is_made_with_examples(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    made = await whatsapp.create_template(ACCOUNT, QUESTION, {})
    assert (made.status, made.id, made.category) == ("pending", QUESTION.name, "UTILITY")
    [sent] = fake.requests.entries("create")
    assert sent["body"] == {
        "name": "merchant_user_question_request",
        "language": "es",
        "category": "UTILITY",
        "parameter_format": "NAMED",
        "components": [
            {
                "type": "BODY",
                "text": QUESTION.text,
                "example": {
                    "body_text_named_params": [
                        {"param_name": "notification_id", "example": "NOTIF_57"},
                        {"param_name": "lead_phone", "example": "+51 900 000 001"},
                        {"param_name": "question", "example": "¿Hacen envíos a Arequipa?"},
                    ]
                },
            }
        ],
    }


async def test_buttons_are_quick_replies(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    await whatsapp.create_template(ACCOUNT, READY, {})
    sent = fake.requests.entries("create")[0]["body"]
    assert sent["language"] == "pt_BR"
    assert sent["components"][1] == {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Ver resposta"}]}


async def test_what_is_there_is_not_made_again(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    for template in (QUESTION, READY):
        await whatsapp.create_template(ACCOUNT, template, {})
    listing = await whatsapp.approvals(ACCOUNT)
    for template in (QUESTION, READY):
        assert (await whatsapp.create_template(ACCOUNT, template, listing)).id == template.name
    assert len(fake.templates) == 2


async def test_other_words_get_the_next_version(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    other = replace(QUESTION, text=QUESTION.text.replace("Consulta", "Pregunta"))
    await whatsapp.create_template(ACCOUNT, QUESTION, {})
    made = await whatsapp.create_template(ACCOUNT, other, await whatsapp.approvals(ACCOUNT))
    assert made.id == "merchant_user_question_request_v2"
    english = wanted_templates(None, ["en"])[0]
    assert (await whatsapp.create_template(ACCOUNT, english, await whatsapp.approvals(ACCOUNT))).id == QUESTION.name


async def test_an_answer_that_is_lost_leaves_one_template(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    await whatsapp.create_template(ACCOUNT, QUESTION, {})
    # As far as the first run knew, nothing was there: the name is taken, and the second run finds it.
    with pytest.raises(SendError):
        await whatsapp.create_template(ACCOUNT, QUESTION, {})
    await whatsapp.create_template(ACCOUNT, QUESTION, await whatsapp.approvals(ACCOUNT))
    assert len(fake.templates) == 1


async def test_all_pages_are_read(fake: MetaFake, whatsapp: WhatsAppManagement) -> None:
    many = [{"name": f"t{n}", "language": "es", "body": "Hola", "status": "APPROVED"} for n in range(450)]
    fake.apply_script({"templates": many})
    assert len(await whatsapp.approvals(ACCOUNT)) == 450
    assert len(fake.requests.entries("templates")) == 3


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("APPROVED", "approved"),
        ("FLAGGED", "approved"),
        ("IN_APPEAL", "rejected"),
        ("PAUSED", "paused"),
        ("DISABLED", "disabled"),
        ("PENDING_DELETION", "deleted"),
        ("NEW_WORD", "pending"),
    ],
)
async def test_metas_words(fake: MetaFake, whatsapp: WhatsAppManagement, theirs: str, ours: str) -> None:
    given = {"name": "t", "language": "pt_BR", "body": "Hola", "status": theirs, "category": "MARKETING"}
    fake.apply_script({"templates": [given]})
    found = (await whatsapp.approvals(ACCOUNT))["t"]["pt"]
    assert (found.status, found.category) == (ours, "MARKETING")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"code": 100, "subcode": 2388293}, TemplateRefused),
        ({"code": 80007, "status": 429}, Retryable),
        ({"code": 190}, AccountRefused),
        ({"status": 502, "html": True}, Retryable),
    ],
)
async def test_refusals(
    fake: MetaFake, whatsapp: WhatsAppManagement, fault: dict[str, Any], error: type[SendError]
) -> None:
    fake.apply_script({"faults": [{"when": {"op": "create"}, "fault": fault}]})
    with pytest.raises(error) as raised:
        await whatsapp.create_template(ACCOUNT, QUESTION, {})
    assert ACCESS_TOKEN not in str(raised.value)
