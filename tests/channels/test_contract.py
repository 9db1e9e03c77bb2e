"""One contract, two adapters: Twilio's over a real socket to a local Twilio, the simulator's on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from recado.channels.base import Channel, InboundMessage, OutboundMessage, RawEvent, StatusUpdate, Template
from recado.channels.rules import RULES
from recado.channels.simulator import SimulatorChannel, SimulatorNetwork, describe
from recado.channels.twilio import TwilioChannel
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.migrate import migrate
from recado.errors import MalformedEvent
from recado.merchants.account import Account
from tests.builders import ANA
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN, inbound_form, status_form

SHOP = "+14155238886"
NAME = "merchant_user_question_answer"
FILLED = Template(NAME, "es", {"lead_name": "Ana", "answer": "sí “hay”"}, "Gracias, Ana: sí “hay”.")
PICTURE = ("https://api.twilio.com/media/1", "image/jpeg")


@dataclass
class Party:
    """An adapter, its account, and how its provider sees things."""

    channel: Channel
    account: Account
    inbound: Callable[..., bytes]
    status: Callable[[str, str, int], bytes]
    malformed: list[bytes]
    arrived: Callable[[], Any]
    """The texts that the provider took, in order."""
    acknowledged: Callable[[], Any]


def account(kind: str) -> Account:
    credentials = {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN} if kind == "twilio" else {}
    return Account(1, 1, kind, SHOP, credentials, {NAME: {"es": "HX1"}})


@pytest.fixture(scope="module")
def twilio_server() -> Iterator[TwilioFake]:
    with running(TwilioFake()) as fake:
        yield fake


def twilio_status(sid: str, status: str, delivery_id: int) -> bytes:
    form = status_form(message_sid=sid, status=status, from_=SHOP, to=ANA)
    return f"delivery={delivery_id}&{urlencode(form)}".encode()


def twilio_party(fake: TwilioFake) -> Party:
    fake.apply_script({"contents": {"HX1": "Gracias, {{1}}: {{2}}."}, "statuses": [{"sequence": []}]})

    def inbound(text: str = "", **more: Any) -> bytes:
        named = {
            "message_sid": more.get("id", "SM1"),
            "reply_to_sid": more.get("quoting"),
            "button_text": more.get("button"),
            "button_payload": "payload" if more.get("button") else None,
        }
        return urlencode(inbound_form(from_=ANA, to=SHOP, body=text, **named)).encode()

    async def arrived() -> list[str]:
        return [message.body for message in fake.messages.values()]

    async def acknowledged() -> list[str]:
        return [entry["body"]["messageId"] for entry in fake.requests.entries("typing")]

    malformed = [b"", b"MessageSid=", b"MessageSid=SM1", b"MessageSid=SM1&From=", b"\xff\xfe", b"MessageSid=%00&From=x"]
    channel = TwilioChannel("https://recado.example", fake.url, 5.0)
    return Party(channel, account("twilio"), inbound, twilio_status, malformed, arrived, acknowledged)


def simulator_party(database: Database) -> Party:
    network = SimulatorNetwork(database, Clock())

    def inbound(text: str = "", **more: Any) -> bytes:
        kind = "button" if more.get("button") else "text"
        data = {"id": more.get("id", "SM1"), "phone": ANA, "name": "Ana", "kind": kind}
        return json.dumps(data | {"text": text or more.get("button", ""), "reply_to": more.get("quoting")}).encode()

    def status(message_id: str, state: str, delivery_id: int) -> bytes:
        return json.dumps({"status": state, "id": message_id, "delivery_id": delivery_id}).encode()

    async def arrived() -> list[str]:
        return [row.text for row in await network.messages(ANA) if row.direction == "out"]

    async def acknowledged() -> list[str]:
        return [row.id for row in await network.messages(ANA) if row.direction == "in" and row.status == "read"]

    malformed = [b"", b"{", b"[]", b"5", b"null", b'"text"', b'{"id": "x"}', b"\xff\xfe", b'{"status": "sent"}']
    return Party(SimulatorChannel(network), account("simulator"), inbound, status, malformed, arrived, acknowledged)


@pytest.fixture(params=["twilio", "simulator"])
async def party(request: pytest.FixtureRequest, tmp_path: Path, twilio_server: TwilioFake) -> AsyncIterator[Party]:
    if request.param == "twilio":
        twilio_server.reset()
        found = twilio_party(twilio_server)
        yield found
        await found.channel.close()
        return
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    await migrate(database)
    yield simulator_party(database)
    await database.close()


def text(said: str, delivery_id: int = 7) -> OutboundMessage:
    return OutboundMessage(delivery_id, ANA, text=said)


@pytest.mark.parametrize("said", ["hola", "¿ñandú? 👩‍👩‍👧 مرحبا", "a\nb & c=d + e % f", ""])
def test_a_text_is_read(party: Party, said: str) -> None:
    assert party.channel.parse(party.inbound(said)) == InboundMessage("SM1", ANA, ANA, "Ana", "text", said)


def test_a_button_is_read_with_its_label(party: Party) -> None:
    message = party.channel.parse(party.inbound(button="Sí, por favor"))
    assert isinstance(message, InboundMessage)
    assert (message.kind, message.text) == ("button", "Sí, por favor")


def test_a_reply_names_what_it_quotes(party: Party) -> None:
    message = party.channel.parse(party.inbound("sí", quoting="SM99"))
    assert isinstance(message, InboundMessage)
    assert message.quoted_provider_message_id == "SM99"


@pytest.mark.parametrize("state", ["sent", "delivered", "read", "failed"])
def test_a_status_is_read(party: Party, state: str) -> None:
    assert party.channel.parse(party.status("SM1", state, 7)) == StatusUpdate("SM1", state, 7)


def test_what_cannot_be_read_is_malformed(party: Party) -> None:
    for payload in party.malformed:
        with pytest.raises(MalformedEvent):
            party.channel.parse(payload)


async def test_a_text_is_sent(party: Party) -> None:
    said = "¿Sí? 👍🏽\n\n«Claro» & a=b + 100% مرحبا"
    provider_id = await party.channel.send(party.account, text(said))
    assert await party.arrived() == [said]
    assert provider_id


async def test_the_longest_text_is_taken(party: Party) -> None:
    said = "ñ" * RULES[party.channel.kind].text
    await party.channel.send(party.account, text(said))
    assert await party.arrived() == [said]


async def test_a_template_is_sent(party: Party) -> None:
    await party.channel.send(party.account, OutboundMessage(7, ANA, template=FILLED))
    assert await party.arrived() == [FILLED.text]


async def test_each_send_has_an_id_of_its_own(party: Party) -> None:
    ids = [await party.channel.send(party.account, text("ok", number)) for number in range(5)]
    assert len(set(ids)) == 5


@pytest.mark.parametrize("message", [text("hola"), OutboundMessage(7, ANA, template=FILLED)], ids=["text", "template"])
async def test_a_send_is_found_again(party: Party, message: OutboundMessage) -> None:
    since = Clock().now()
    assert await party.channel.find(party.account, message, since) == []
    provider_id = await party.channel.send(party.account, message)
    assert await party.channel.find(party.account, message, since) == [provider_id]


async def test_another_message_is_not_taken_for_it(party: Party) -> None:
    since = Clock().now()
    await party.channel.send(party.account, text("hola", 1))
    await party.channel.send(party.account, OutboundMessage(2, "+51955555555", text="adiós"))
    assert await party.channel.find(party.account, text("adiós", 3), since) == []


async def test_a_message_is_acknowledged(party: Party) -> None:
    if isinstance(party.channel, SimulatorChannel):
        values = {"client_reference": "SM1", "address": SHOP, "phone": ANA, "text": "hola"}
        await party.channel._network.person_sends(values)
    await party.channel.acknowledge(party.account, InboundMessage("SM1", ANA, ANA, "Ana", "text", ""))
    assert await party.acknowledged() == ["SM1"]


async def test_closing_twice_is_harmless(party: Party) -> None:
    await party.channel.close()
    await party.channel.close()


# The simulator's network is a provider of our own: it must not send twice, nor go backwards.


@pytest.fixture
def network(database: Database) -> SimulatorNetwork:
    return SimulatorNetwork(database, Clock())


async def test_the_network_takes_a_message_and_a_delivery_once(network: SimulatorNetwork) -> None:
    reported: list[RawEvent] = []

    async def report(events: list[RawEvent]) -> None:
        reported.extend(events)

    network.report = report
    channel, shop = SimulatorChannel(network), account("simulator")
    sent = {"client_reference": "m1", "address": SHOP, "phone": ANA, "text": "hola"}
    await asyncio.gather(*(network.person_sends(sent) for _ in range(5)))
    ids = await asyncio.gather(*(channel.send(shop, text("sí")) for _ in range(5)))
    assert len(set(ids)) == 1
    assert [(row.direction, row.text) for row in await network.messages(ANA)] == [("in", "hola"), ("out", "sí")]
    # each report of the same thing has the same id: the inbox keeps the first
    assert {(event.address, event.provider_event_id) for event in reported} == {
        (SHOP, "m1"),
        (SHOP, f"{ids[0]}:delivered"),
    }
    assert isinstance(channel.parse(reported[0].payload), InboundMessage)
    assert channel.parse(reported[-1].payload) == StatusUpdate(ids[0], "delivered", 7)


async def test_the_networks_statuses_only_move_forward_and_are_told(network: SimulatorNetwork) -> None:
    message_id = await SimulatorChannel(network).send(account("simulator"), text("sí"))
    async with network.watch(ANA) as notices:
        await network.person_reads(ANA, SHOP)
        await network.mark([message_id], SHOP, "delivered")
        await network.person_reads(ANA, SHOP)
    (row,) = await network.messages(ANA)
    assert row.status == "read"
    assert notices.get_nowait() == ("message", describe(row))
    assert notices.empty()


async def test_the_networks_clock_survives_a_restart(database: Database, network: SimulatorNetwork) -> None:
    await network.advance_clock(3_600)
    await network.advance_clock(3_600)
    clock = Clock()
    await SimulatorNetwork(database, clock).load_clock()
    assert clock.offset.total_seconds() == 7_200
