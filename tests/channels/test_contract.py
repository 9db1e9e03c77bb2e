"""One contract, every adapter: over real sockets to local providers, and the simulator on a real database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from recado.channels.base import Attachment, InboundMessage, OutboundMedia, OutboundMessage, StatusUpdate
from recado.channels.rules import RULES
from recado.clock import Clock
from recado.errors import MalformedEvent, MediaRefused, Permanent, Retryable
from tests.channels import parties
from tests.channels.parties import CHOICES, FILLED, Party
from tests.channels.party_instagram import instagram
from tests.channels.party_whatsapp import whatsapp

PARTIES = {
    "twilio": parties.twilio,
    "simulator": parties.simulator,
    "whatsapp": whatsapp,
    "instagram": instagram,
}
PICTURE = OutboundMedia("image", "https://shop.example/shoe.jpg")


@pytest.fixture(params=PARTIES)
async def party(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Party]:
    async with PARTIES[request.param](tmp_path) as found:
        yield found


def test_every_channel_has_rules_and_a_party() -> None:
    assert set(PARTIES) == set(RULES)


def message_to(party: Party, delivery_id: int = 7, **what: object) -> OutboundMessage:
    user_id, phone, _ = party.person
    return replace(OutboundMessage(delivery_id, user_id, phone=phone), **what)  # type: ignore[arg-type]


# What comes in


@pytest.mark.parametrize("said", ["hola", "¿ñandú? 👩‍👩‍👧 مرحبا", "a\nb & c=d + e % f", ""])
async def test_a_text_is_read(party: Party, said: str) -> None:
    message = party.channel.parse(party.inbound(said))
    assert isinstance(message, InboundMessage)
    assert replace(message, sent_at=None) == InboundMessage("SM1", *party.person, "text", said)


async def test_a_button_is_read_with_its_label_and_id(party: Party) -> None:
    message = party.channel.parse(party.inbound(button="Sí, por favor"))
    assert isinstance(message, InboundMessage)
    assert (message.kind, message.text, message.button) == ("button", "Sí, por favor", "payload")


async def test_a_reply_names_what_it_quotes(party: Party) -> None:
    message = party.channel.parse(party.inbound("sí", quoting="SM99"))
    assert isinstance(message, InboundMessage)
    assert message.quoted_provider_message_id == "SM99"


@pytest.mark.parametrize("state", ["sent", "delivered", "read", "failed"])
async def test_a_status_is_read(party: Party, state: str) -> None:
    if state not in party.states:
        pytest.skip(f"{party.channel.kind} reports no {state}")
    update = party.channel.parse(party.status("SM1", state, 7))
    assert isinstance(update, StatusUpdate)
    assert (update.provider_message_id, update.state) == ("SM1", state)
    assert (update.failure is not None) == (update.code is not None)


async def test_what_cannot_be_read_is_malformed(party: Party) -> None:
    for payload in party.malformed:
        with pytest.raises(MalformedEvent):
            party.channel.parse(payload)


# What goes out


async def test_a_text_is_sent(party: Party) -> None:
    said = "¿Sí? 👍🏽\n\n«Claro» & a=b + 100% مرحبا"
    provider_id = await party.channel.send(party.account, message_to(party, text=said))
    assert await party.arrived() == [said]
    assert provider_id


async def test_the_longest_text_is_taken(party: Party) -> None:
    rules = RULES[party.channel.kind]
    said = "ñ" * (rules.text // rules.size("ñ"))
    await party.channel.send(party.account, message_to(party, text=said))
    assert await party.arrived() == [said]


async def test_a_template_is_sent_where_there_are_any(party: Party) -> None:
    wanted = message_to(party, template=FILLED)
    if not RULES[party.channel.kind].templates:
        with pytest.raises(Permanent):
            await party.channel.send(party.account, wanted)
        assert await party.arrived() == []
        return
    await party.channel.send(party.account, wanted)
    assert await party.arrived() == [FILLED.text]


@pytest.mark.parametrize("number", [1, 3, 7])
async def test_choices_are_shown_with_their_text(party: Party, number: int) -> None:
    choices = CHOICES[:number]
    await party.channel.send(party.account, message_to(party, text="¿Cuál?", buttons=choices, language="es"))
    assert await party.arrived() == ["¿Cuál?"]
    assert await party.shown() == [[choice["title"] for choice in choices]]


async def test_a_file_is_sent(party: Party) -> None:
    await party.channel.send(party.account, message_to(party, media=PICTURE))
    assert await party.arrived() == [PICTURE.url]


async def test_each_send_has_an_id_of_its_own(party: Party) -> None:
    ids = [await party.channel.send(party.account, message_to(party, n, text="ok")) for n in range(5)]
    assert len(set(ids)) == 5


@pytest.mark.parametrize("what", [{"text": "hola"}, {"template": FILLED}], ids=["text", "template"])
async def test_a_send_is_found_again(party: Party, what: dict[str, object]) -> None:
    if "template" in what and not RULES[party.channel.kind].templates:
        pytest.skip(f"{party.channel.kind} has no templates")
    message, since = message_to(party, **what), Clock().now()
    if not party.finds:
        with pytest.raises(Retryable) as wait:
            await party.channel.find(party.account, message, since)
        assert wait.value.retry_after is not None
        return
    assert await party.channel.find(party.account, message, since) == []
    provider_id = await party.channel.send(party.account, message)
    assert await party.channel.find(party.account, message, since) == [provider_id]


async def test_another_message_is_not_taken_for_it(party: Party) -> None:
    if not party.finds:
        pytest.skip(f"{party.channel.kind} cannot be asked")
    since = Clock().now()
    await party.channel.send(party.account, message_to(party, 1, text="hola"))
    assert await party.channel.find(party.account, message_to(party, 3, text="adiós"), since) == []


async def test_a_message_is_acknowledged(party: Party) -> None:
    await party.receive("SM1")
    await party.channel.acknowledge(party.account, InboundMessage("SM1", *party.person, "text", ""))
    assert await party.acknowledged() == ["SM1"]


@pytest.mark.parametrize("source", ["http://127.0.0.1:1/x", "https://evil.example/x", "file:///etc/passwd", "../../x"])
async def test_a_file_elsewhere_is_not_fetched(party: Party, source: str) -> None:
    file = BytesIO()
    with pytest.raises((MediaRefused, Permanent)):
        await party.channel.download(party.account, Attachment("image", source), file, 1_000)
    assert file.getvalue() == b""


async def test_closing_twice_is_harmless(party: Party) -> None:
    await party.channel.close()
    await party.channel.close()
