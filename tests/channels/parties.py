"""The parties of the channels' one contract: each adapter, its account, and how its provider sees things."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from recado.channels.base import Channel, Template
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork
from recado.channels.twilio.channel import TwilioChannel
from recado.clock import Clock
from recado.db.engine import Database
from recado.merchants.account import Account
from tests.builders import ANA
from tests.databases import bring_up_to_date
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN, inbound_form, status_form

SHOP = "+14155238886"
NAME = "merchant_user_question_answer"
FILLED = Template(NAME, "es", {"lead_name": "Ana", "answer": "sí “hay”"}, "Gracias, Ana: sí “hay”.")
CHOICES: Sequence[dict[str, str]] = tuple(
    {"id": f"NOTIF_{n}", "title": f"NOTIF_{n}", "description": f"¿Pregunta {n}?"} for n in range(1, 8)
)


class Inbound(Protocol):
    """Makes the stored payload of something that Ana sent. `button`: the label of the one that she tapped, whose id is
    `payload`; `quoting`: the provider's id of the message that she replies to."""

    def __call__(
        self, text: str = "", *, id: str = "SM1", quoting: str | None = None, button: str | None = None
    ) -> bytes: ...


@dataclass
class Party:
    """An adapter, its account, and how its provider sees things. `person`: Ana's id and number there."""

    channel: Channel
    account: Account
    person: tuple[str, str | None, str | None]
    """Ana's user id, phone number and name, as the adapter reads them from `inbound`."""
    inbound: Inbound
    status: Callable[[str, str, int], bytes]
    """(provider message id, sent|delivered|read|failed, delivery id) -> the stored payload."""
    malformed: list[bytes]
    arrived: Callable[[], Awaitable[list[str]]]
    """What the provider took, in order: texts, and files as their URLs."""
    shown: Callable[[], Awaitable[list[list[str]]]]
    """The titles of the buttons or rows of each message that the provider took."""
    acknowledged: Callable[[], Awaitable[list[str]]]
    """The ids of messages that were marked as read."""
    receive: Callable[[str], Awaitable[None]]
    """Ana has sent a message with this id, which can be acknowledged."""
    states: frozenset[str] = frozenset({"sent", "delivered", "read", "failed"})
    """The states that the provider reports."""
    finds: bool = True
    """The provider can be asked what it took. If not, only its statuses tell, and `find` says to wait for them."""


def account(kind: str, address: str = SHOP, **credentials: str) -> Account:
    """The merchant's account on a channel."""
    return Account(1, 1, kind, address, credentials, {NAME: {"es": "HX1"}})


async def _nothing(_: str) -> None:
    """For providers that take any id."""


@asynccontextmanager
async def twilio(_folder: Path) -> AsyncIterator[Party]:
    """Twilio's adapter over a socket."""
    with running(TwilioFake()) as fake:
        fake.apply_script({"contents": {"HX1": "Gracias, {{1}}: {{2}}."}, "statuses": [{"sequence": []}]})

        def inbound(text: str = "", *, id: str = "SM1", quoting: str | None = None, button: str | None = None) -> bytes:
            form = inbound_form(
                from_=ANA,
                to=SHOP,
                body=text,
                message_sid=id,
                reply_to_sid=quoting,
                button_text=button,
                button_payload="payload" if button else None,
            )
            return urlencode(form).encode()

        def status(sid: str, state: str, delivery_id: int) -> bytes:
            form = status_form(message_sid=sid, status=state, from_=SHOP, to=ANA)
            return f"delivery={delivery_id}&{urlencode(form)}".encode()

        async def arrived() -> list[str]:
            return [str(message.form.get("MediaUrl") or message.body) for message in fake.messages.values()]

        async def shown() -> list[list[str]]:
            return [fake.titles(message) for message in fake.messages.values()]

        async def acknowledged() -> list[str]:
            return [entry["body"]["messageId"] for entry in fake.requests.entries("typing")]

        malformed = [b"", b"MessageSid=", b"MessageSid=SM1", b"MessageSid=SM1&From=", b"\xff\xfe"]
        malformed.append(b"MessageSid=%00&From=x")
        channel = TwilioChannel("https://recado.example", fake.url, 10.0)
        of_shop = account("twilio", account_sid=ACCOUNT_SID, auth_token=AUTH_TOKEN)
        person = (ANA, ANA, "Ana")
        yield Party(channel, of_shop, person, inbound, status, malformed, arrived, shown, acknowledged, _nothing)
        await channel.close()


@asynccontextmanager
async def simulator(folder: Path) -> AsyncIterator[Party]:
    """The simulator's adapter on a database."""
    database = Database(f"sqlite+aiosqlite:///{folder}/test.db")
    await bring_up_to_date(database)
    network = SimulatorNetwork(database, Clock())

    def inbound(text: str = "", *, id: str = "SM1", quoting: str | None = None, button: str | None = None) -> bytes:
        data = {"id": id, "phone": ANA, "name": "Ana", "kind": "button" if button else "text"}
        data |= {"text": text or button or "", "reply_to": quoting, "button": "payload" if button else None}
        return json.dumps(data).encode()

    def status(message_id: str, state: str, delivery_id: int) -> bytes:
        return json.dumps({"status": state, "id": message_id, "delivery_id": delivery_id}).encode()

    async def arrived() -> list[str]:
        rows = [row for row in await network.messages(ANA) if row.direction == "out"]
        return [row.content["media"]["url"] if row.content else row.text for row in rows]

    async def shown() -> list[list[str]]:
        rows = [row for row in await network.messages(ANA) if row.direction == "out"]
        return [[button["title"] for button in row.buttons] for row in rows]

    async def acknowledged() -> list[str]:
        return [row.id for row in await network.messages(ANA) if row.direction == "in" and row.status == "read"]

    async def receive(message_id: str) -> None:
        values = {"client_reference": message_id, "address": SHOP, "phone": ANA, "text": "hola"}
        await network.person_sends(values)

    malformed = [b"", b"{", b"[]", b"5", b"null", b'"text"', b'{"id": "x"}', b"\xff\xfe", b'{"status": "sent"}']
    channel, person = SimulatorChannel(network), (ANA, ANA, "Ana")
    yield Party(
        channel, account("simulator"), person, inbound, status, malformed, arrived, shown, acknowledged, receive
    )
    await database.close()
