"""Buttons and lists: contents that are made once, found again, and never in the way of the text."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from recado.channels.base import OutboundMessage
from recado.channels.twilio.channel import TwilioChannel
from recado.clock import Clock
from recado.errors import AccountRefused, Permanent
from recado.merchants.account import Account
from tests.builders import ANA
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN

SHOP = "+14155238886"
ACCOUNT = Account(1, 1, "twilio", SHOP, {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}, {})
NAMED = replace(ACCOUNT, templates={"answer_button": {"es": "HX9"}})
BUTTON = ({"id": "answer", "title": "Responder"},)


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
    made = TwilioChannel("https://recado.example", fake.url, 10.0)
    yield made
    await made.close()


def choices(count: int, **more: str) -> tuple[dict[str, str], ...]:
    return tuple({"id": f"NOTIF_{n}", "title": f"NOTIF_{n}", **more} for n in range(count))


def asking(buttons: tuple[dict[str, str], ...], text: str = "¿Cuál?", language: str | None = "es") -> OutboundMessage:
    return OutboundMessage(7, ANA, text, buttons=buttons, language=language)


def made(fake: TwilioFake) -> list[dict[str, Any]]:
    return [entry["body"] for entry in fake.requests.entries("content")]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 10])
async def test_up_to_three_are_buttons_and_more_are_rows(fake: TwilioFake, channel: TwilioChannel, count: int) -> None:
    sid = await channel.send(ACCOUNT, asking(choices(count)))
    message = fake.messages[sid]
    assert (message.body, fake.titles(message)) == ("¿Cuál?", [f"NOTIF_{n}" for n in range(count)])
    assert "Body" not in message.form
    [content] = made(fake)
    assert list(content["types"]) == ["twilio/quick-reply" if count <= 3 else "twilio/list-picker"]
    assert await channel.find(ACCOUNT, asking(choices(count)), Clock().now()) == [sid]


async def test_one_content_serves_all_texts_and_choices_of_its_shape(fake: TwilioFake, channel: TwilioChannel) -> None:
    messages = [asking(choices(2), f"¿{n}?") for n in range(5)] + [asking(BUTTON * 2, language=None)]
    await asyncio.gather(*(channel.send(ACCOUNT, message) for message in messages))
    assert len(made(fake)) == 1
    assert sorted(message.body for message in fake.messages.values()) == sorted(message.text for message in messages)


async def test_a_content_is_found_again_after_a_restart(fake: TwilioFake, channel: TwilioChannel) -> None:
    await channel.send(ACCOUNT, asking(choices(4)))
    await channel.send(ACCOUNT, asking(choices(2)))
    another = TwilioChannel("https://recado.example", fake.url, 10.0)
    sid = await another.send(ACCOUNT, asking(choices(4)))
    await another.close()
    assert len(made(fake)) == 2
    assert len(fake.titles(fake.messages[sid])) == 4


async def test_each_account_has_its_own(fake: TwilioFake, channel: TwilioChannel) -> None:
    fake.apply_script({"accounts": {ACCOUNT_SID: AUTH_TOKEN, "AC2": "two"}})
    other = replace(ACCOUNT, credentials={"account_sid": "AC2", "auth_token": "two"})
    for account in (ACCOUNT, other, ACCOUNT, other):
        await channel.send(account, asking(BUTTON))
    assert len(fake.requests.entries("contents")) == 2


async def test_the_operators_own_content_goes_first(fake: TwilioFake, channel: TwilioChannel) -> None:
    await channel.send(NAMED, asking(BUTTON, "¿Venden hielo?"))
    sent = fake.sends()[0]["body"]
    assert (sent["ContentSid"], sent["ContentVariables"]) == ("HX9", '{"1": "¿Venden hielo?"}')
    assert "Body" not in sent
    assert made(fake) == []
    await channel.send(NAMED, asking(BUTTON, language="en"))
    assert fake.sends()[1]["body"]["ContentSid"] in fake.content.made


async def test_what_is_long_or_in_lines_is_cut_where_it_may_be(fake: TwilioFake, channel: TwilioChannel) -> None:
    long = tuple({"id": "x" * 200, "title": "un  título\nmuy, muy largo", "description": "d\n" * 99} for _ in range(4))
    for buttons in (long, long[:2]):
        sid = await channel.send(ACCOUNT, asking(buttons))
        assert "ContentSid" in fake.messages[sid].form


@pytest.mark.parametrize(
    ("text", "buttons"),
    [
        ("hola", ()),
        ("dos\nlíneas", BUTTON),
        ("muchos     espacios", BUTTON),
        ("x" * 1_025, BUTTON),
        ("hola", choices(11)),
        ("hola", ({"id": "x" * 201, "title": "?"},)),
    ],
)
async def test_else_the_text_goes_alone_and_whole(
    fake: TwilioFake, channel: TwilioChannel, text: str, buttons: tuple[dict[str, str], ...]
) -> None:
    await channel.send(NAMED, asking(buttons, text))
    sent = fake.sends()[0]["body"]
    assert sent["Body"] == text
    assert "ContentSid" not in sent
    assert made(fake) == []


@pytest.mark.parametrize("op", ["content", "contents"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"code": 20429}, {"code": 92001}, {"cut": True}, {"html": True}])
async def test_a_content_api_that_fails_costs_the_buttons_only(
    fake: TwilioFake, channel: TwilioChannel, op: str, fault: dict[str, Any]
) -> None:
    fake.apply_script({"faults": [{"when": {"op": op}, "fault": fault}]})
    await channel.send(ACCOUNT, asking(BUTTON))
    assert fake.sends()[0]["body"]["Body"] == "¿Cuál?"
    fake.apply_script({"faults": []})
    await channel.send(ACCOUNT, asking(BUTTON))
    assert "ContentSid" in fake.sends()[1]["body"]


async def test_refused_credentials_are_the_accounts_fault_there_too(fake: TwilioFake, channel: TwilioChannel) -> None:
    fake.apply_script({"faults": [{"when": {"op": "contents"}, "fault": {"code": 20003}}]})
    with pytest.raises(AccountRefused):
        await channel.send(ACCOUNT, asking(BUTTON))
    assert fake.sends() == []


@pytest.mark.parametrize("code", [21655, 63021, 63028])
async def test_a_content_that_is_refused_is_sent_as_text_and_looked_for_anew(
    fake: TwilioFake, channel: TwilioChannel, code: int
) -> None:
    await channel.send(ACCOUNT, asking(BUTTON))
    old = next(iter(fake.content.made))
    fake.content.made.clear()  # somebody has deleted it
    fake.apply_script({"faults": [{"when": {"content_sid": old}, "fault": {"code": code}}]})
    sid = await channel.send(ACCOUNT, asking(BUTTON))
    assert fake.messages[sid].form["Body"] == "¿Cuál?"
    sid = await channel.send(ACCOUNT, asking(BUTTON))
    assert fake.messages[sid].form["ContentSid"] in fake.content.made


async def test_a_text_that_is_refused_itself_is_given_up(fake: TwilioFake, channel: TwilioChannel) -> None:
    fake.apply_script({"faults": [{"fault": {"code": 63013}}]})
    with pytest.raises(Permanent) as failed:
        await channel.send(ACCOUNT, asking(BUTTON))
    assert type(failed.value) is Permanent
    assert len(fake.sends()) == 2
