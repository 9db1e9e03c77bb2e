"""The party of WhatsApp's own API in the channels' one contract, over a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from recado.channels.meta.events import MetaPost
from recado.channels.whatsapp.channel import WhatsAppChannel
from recado.clock import Clock
from recado.merchants.account import Account
from tests.channels.parties import NAME, Party
from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import (
    ACCESS_TOKEN,
    ANA,
    ANA_ID,
    APP_SECRET,
    PHONE_NUMBER_ID,
    VERIFY_TOKEN,
    WABA_ID,
    body_of,
    message,
    messages_post,
    status,
    statuses_post,
)
from tests.fakes.recorder import JsonObject
from tests.fakes.server import running

CREDENTIALS = {"access_token": ACCESS_TOKEN, "app_secret": APP_SECRET, "verify_token": VERIFY_TOKEN}
RECONCILE_SECONDS = 60.0
TEMPLATE = {"name": "answer_v1", "language": "es", "body": "Gracias, {{lead_name}}: {{answer}}."}
MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"kind": "unknown", "part": null}',
    b'{"kind": "message"}',
    b'{"kind": "message", "message": {"type": "text", "id": "wamid.1"}}',
    b'{"kind": "message", "message": {"type": "text", "from": "51900000001"}}',
    b'{"kind": "message", "message": {"type": "text", "from": "51900000001", "id": "\\u0000"}}',
    b'{"kind": "status", "status": {"status": "sent"}}',
]


def account(**changes: object) -> Account:
    """The merchant's number at Meta, with one approved template."""
    values: JsonObject = {"credentials": CREDENTIALS, "templates": {NAME: {"es": "answer_v1"}}, "waba_id": WABA_ID}
    return Account(1, 1, "whatsapp", PHONE_NUMBER_ID, **{**values, **changes})


def stored(post: JsonObject) -> bytes:
    """The one event of a post, as it is kept until it is read."""
    (event,) = MetaPost(body_of(post)).events()
    return event.payload


@asynccontextmanager
async def whatsapp(_folder: Path) -> AsyncIterator[Party]:
    """WhatsApp's adapter over a socket. Only statuses tell what Meta took."""
    with running(MetaFake()) as fake:
        fake.apply_script({"templates": [TEMPLATE]})

        def inbound(text: str = "", *, id: str = "SM1", quoting: str | None = None, button: str | None = None) -> bytes:
            context = {"from": "15550783881", "id": quoting} if quoting else None
            if button:
                content = {"type": "button_reply", "button_reply": {"id": "payload", "title": button}}
                return stored(messages_post(message("interactive", content, id=id, context=context)))
            return stored(messages_post(message("text", {"body": text}, id=id, context=context)))

        def state_of(wamid: str, state: str, delivery_id: int) -> bytes:
            return stored(statuses_post(status(wamid, state, delivery_id)))

        async def arrived() -> list[str]:
            return [sent.shown for sent in fake.messages.values()]

        async def shown() -> list[list[str]]:
            return [sent.titles for sent in fake.messages.values()]

        async def acknowledged() -> list[str]:
            return [entry["body"]["message_id"] for entry in fake.requests.entries("read")]

        async def receive(_: str) -> None:
            """Meta takes any id."""

        channel = WhatsAppChannel(fake.url, "24.0", 10.0, RECONCILE_SECONDS, Clock())
        yield Party(
            channel,
            account(),
            (ANA_ID, f"+{ANA}", "Ana"),
            inbound,
            state_of,
            MALFORMED,
            arrived,
            shown,
            acknowledged,
            receive,
            finds=False,
        )
        await channel.close()
