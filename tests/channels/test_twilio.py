"""What goes to Twilio, and what each of its failures means."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from recado.channels.base import InboundMessage, OutboundMedia, OutboundMessage, Template
from recado.channels.twilio.channel import TwilioChannel
from recado.channels.twilio.codes import CODES
from recado.channels.twilio.http import SETTLING
from recado.clock import Clock
from recado.errors import AccountRefused, OptedOut, Permanent, Retryable, SendError, TemplateRefused, WindowClosed
from recado.merchants.account import Account
from tests.builders import ANA
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN
from tests.support import free_port

SHOP = "+14155238886"
ACCOUNT = Account(1, 1, "twilio", SHOP, {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}, {"t": {"es": "HX1"}})
HELLO = OutboundMessage(7, ANA, text="hola")
HEARD = InboundMessage("SM1", ANA, ANA, "Ana", "text", "")


@pytest.fixture(scope="module")
def server() -> Iterator[TwilioFake]:
    with running(TwilioFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: TwilioFake) -> TwilioFake:
    server.reset()
    server.apply_script({"statuses": [{"sequence": []}]})
    return server


@pytest.fixture
async def channel(fake: TwilioFake) -> AsyncIterator[TwilioChannel]:
    made = TwilioChannel("https://recado.example/", fake.url, 0.5)
    yield made
    await made.close()


async def test_a_send_asks_for_statuses_that_name_the_delivery(fake: TwilioFake, channel: TwilioChannel) -> None:
    sid = await channel.send(ACCOUNT, HELLO)
    assert list(fake.messages) == [sid]
    assert fake.sends()[0]["body"] == {
        "To": f"whatsapp:{ANA}",
        "From": f"whatsapp:{SHOP}",
        "Body": "hola",
        "StatusCallback": "https://recado.example/webhooks/twilio/status?delivery=7",
    }


async def test_a_templates_variables_are_numbered_in_its_order(fake: TwilioFake, channel: TwilioChannel) -> None:
    template = Template("t", "es", {"z": "último", "a": 'con "comillas"'}, "")
    await channel.send(ACCOUNT, OutboundMessage(7, ANA, template=template))
    sent = fake.sends()[0]["body"]
    assert sent["ContentSid"] == "HX1"
    assert sent["ContentVariables"] == '{"1": "último", "2": "con \\"comillas\\""}'
    assert "Body" not in sent


@pytest.mark.parametrize(("name", "language"), [("t", "en"), ("unknown", "es")])
async def test_a_template_without_content_sid_names_the_remedy(
    fake: TwilioFake, channel: TwilioChannel, name: str, language: str
) -> None:
    with pytest.raises(TemplateRefused, match=f"no Content SID of an approved template {name}"):
        await channel.send(ACCOUNT, OutboundMessage(7, ANA, template=Template(name, language, {}, "")))
    assert fake.sends() == []


async def test_a_messaging_service_sends_where_the_account_has_one(fake: TwilioFake, channel: TwilioChannel) -> None:
    account = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "messaging_service_sid": "MG1"})
    since = Clock().now()
    sid = await channel.send(account, HELLO)
    sent = fake.sends()[0]["body"]
    assert sent["MessagingServiceSid"] == "MG1"
    assert "From" not in sent
    assert await channel.find(account, HELLO, since) == [sid]
    assert await channel.find(ACCOUNT, HELLO, since) == []


async def test_a_person_is_reached_by_their_number_and_else_by_their_id(
    fake: TwilioFake, channel: TwilioChannel
) -> None:
    for message in (OutboundMessage(7, "PE.abc", "hola", phone=ANA), OutboundMessage(8, "PE.abc", "hola")):
        sid = await channel.send(ACCOUNT, message)
        assert await channel.find(ACCOUNT, message, Clock().now()) == [sid]
    assert [sent["body"]["To"] for sent in fake.sends()] == [f"whatsapp:{ANA}", "whatsapp:PE.abc"]


@pytest.mark.parametrize("caption", ["El catálogo", None])
async def test_a_file_goes_with_its_caption(fake: TwilioFake, channel: TwilioChannel, caption: str | None) -> None:
    media = OutboundMedia("document", "https://shop.example/catalog.pdf", "catalog.pdf")
    buttons = ({"id": "a", "title": "A"},)  # no content carries both
    message = OutboundMessage(7, ANA, caption, media=media, buttons=buttons)
    other = await channel.send(ACCOUNT, OutboundMessage(6, ANA, caption or "hola"))
    sid = await channel.send(ACCOUNT, message)
    sent = fake.sends()[1]["body"]
    assert (sent["MediaUrl"], sent.get("Body")) == (media.url, caption)
    assert "ContentSid" not in sent
    found = await channel.find(ACCOUNT, message, Clock().now())
    assert found == [sid]
    assert other not in found


async def test_when_to_come_again_is_told(fake: TwilioFake, channel: TwilioChannel) -> None:
    fake.apply_script({"faults": [{"fault": {"status": 429, "retry_after": 7}}]})
    with pytest.raises(Retryable) as failed:
        await channel.send(ACCOUNT, HELLO)
    assert (failed.value.retry_after, failed.value.ambiguous) == (7.0, False)
    assert failed.value.remedy


async def test_a_send_without_an_answer_is_looked_for_a_little_later(fake: TwilioFake, channel: TwilioChannel) -> None:
    fake.apply_script({"faults": [{"fault": {"hang": True}}]})
    with pytest.raises(Retryable) as failed:
        await channel.send(ACCOUNT, HELLO)
    assert (failed.value.retry_after, failed.value.ambiguous) == (SETTLING, True)


async def test_what_a_template_may_not_say_is_refused_as_a_template(fake: TwilioFake, channel: TwilioChannel) -> None:
    fake.apply_script({"faults": [{"fault": {"code": 63040}}]})
    template = Template("t", "es", {"a": "x"}, "")
    with pytest.raises(TemplateRefused) as failed:
        await channel.send(ACCOUNT, OutboundMessage(7, ANA, template=template))
    assert (failed.value.code, failed.value.remedy) == ("63040", CODES[63040].remedy)


FAULTS: list[tuple[dict[str, Any], type[SendError], str | None, bool]] = [
    ({"code": 20429}, Retryable, "20429", False),
    ({"status": 429}, Retryable, "20429", False),
    ({"code": 63018}, Retryable, "63018", False),
    ({"code": 30001}, Retryable, "30001", False),
    ({"status": 500}, Retryable, "20500", True),
    ({"status": 503}, Retryable, "20503", True),
    ({"status": 503, "html": True}, Retryable, "503", True),
    ({"status": 502, "code": 99999}, Retryable, "99999", True),
    ({"code": 63016}, WindowClosed, "63016", False),
    ({"code": 21610}, OptedOut, "21610", False),
    ({"code": 63024}, Permanent, "63024", False),
    ({"code": 63027}, Permanent, "63027", False),
    ({"code": 63007}, AccountRefused, "63007", False),
    ({"status": 401, "html": True}, AccountRefused, "20003", False),
    ({"code": 99998, "status": 400}, Permanent, "99998", False),
    ({"status": 404, "html": True}, Permanent, "404", False),
    ({"cut": True}, Retryable, None, True),
    ({"hang": True}, Retryable, None, True),
    ({"status": 200, "html": True}, Retryable, None, True),
]


@pytest.mark.parametrize(("fault", "kind", "code", "ambiguous"), FAULTS, ids=lambda value: str(value))
async def test_each_failure_has_its_meaning(
    fake: TwilioFake, channel: TwilioChannel, fault: dict[str, Any], kind: type[SendError], code: str, ambiguous: bool
) -> None:
    fake.apply_script({"faults": [{"fault": fault}]})
    with pytest.raises(SendError) as failed:
        await channel.send(ACCOUNT, HELLO)
    assert type(failed.value) is kind
    assert (failed.value.code, getattr(failed.value, "ambiguous", False)) == (code, ambiguous)
    assert AUTH_TOKEN not in str(failed.value)


async def test_wrong_credentials_are_the_accounts_fault(fake: TwilioFake, channel: TwilioChannel) -> None:
    fake.apply_script({"accounts": {ACCOUNT_SID: "another token"}})
    with pytest.raises(AccountRefused, match="20003"):
        await channel.send(ACCOUNT, HELLO)


async def test_where_nobody_listens_nothing_was_taken() -> None:
    channel = TwilioChannel("", f"http://127.0.0.1:{free_port()}", 1.0)
    with pytest.raises(Retryable, match="cannot connect") as failed:
        await channel.send(ACCOUNT, HELLO)
    assert not failed.value.ambiguous
    await channel.close()


@pytest.mark.parametrize("fault", [{"hang": "after"}, {"cut": "after"}])
async def test_what_was_taken_in_spite_of_a_failure_is_found(
    fake: TwilioFake, channel: TwilioChannel, fault: dict[str, Any]
) -> None:
    since = Clock().now()
    fake.apply_script({"faults": [{"fault": fault, "times": 1}]})
    with pytest.raises(Retryable) as failed:
        await channel.send(ACCOUNT, HELLO)
    assert failed.value.ambiguous
    assert await channel.find(ACCOUNT, HELLO, since) == list(fake.messages)


async def test_what_is_found_is_recent_and_in_order(fake: TwilioFake, channel: TwilioChannel) -> None:
    sids = [await channel.send(ACCOUNT, OutboundMessage(number, ANA, text="ok")) for number in range(3)]
    now = Clock().now()
    fake.messages[sids[0]].created = now - timedelta(minutes=5)
    fake.messages[sids[1]].created = now - timedelta(seconds=30)
    assert await channel.find(ACCOUNT, OutboundMessage(3, ANA, text="ok"), now) == sids[1:]


@pytest.mark.parametrize("fault", [{"status": 500}, {"code": 20429}, {"hang": True}, {"cut": True}, {"html": True}])
async def test_a_lookup_that_fails_may_be_tried_again(
    fake: TwilioFake, channel: TwilioChannel, fault: dict[str, Any]
) -> None:
    fake.apply_script({"faults": [{"when": {"op": "list"}, "fault": fault}]})
    with pytest.raises(Retryable):
        await channel.find(ACCOUNT, HELLO, Clock().now())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 500}, Retryable),
        ({"code": 63024}, Permanent),
        ({"hang": True}, Retryable),
        ({"cut": True}, Retryable),
    ],
)
async def test_an_acknowledgement_fails_as_a_send_error(
    fake: TwilioFake, channel: TwilioChannel, fault: dict[str, Any], kind: type[SendError]
) -> None:
    await channel.acknowledge(ACCOUNT, HEARD)
    fake.apply_script({"faults": [{"when": {"op": "typing"}, "fault": fault}]})
    with pytest.raises(kind):
        await channel.acknowledge(ACCOUNT, HEARD)


async def test_many_sends_at_once(fake: TwilioFake) -> None:
    channel = TwilioChannel("", fake.url, 30.0)
    messages = [OutboundMessage(number, ANA, text=f"n{number}") for number in range(30)]
    sids = await asyncio.gather(*(channel.send(ACCOUNT, message) for message in messages))
    assert {fake.messages[sid].body for sid in sids} == {f"n{number}" for number in range(30)}
    await channel.close()
