"""Instagram's party of the channels' one contract, over a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from recado.channels.instagram.channel import InstagramChannel
from recado.merchants.account import Account
from tests.channels.parties import Party
from tests.fakes.instagram_api import InstagramFake
from tests.fakes.instagram_inbound import ACCESS_TOKEN, ACCOUNT, APP_SECRET, PERSON, event, message_event, stored
from tests.fakes.server import running

MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"kind": "messaging"}',
    b'{"kind": "messaging", "event": []}',
    b'{"kind": "unknown", "part": null}',
    stored({"message": {"mid": "m1", "text": "hola"}}),
    stored({"sender": {"id": "\x00"}, "message": {"mid": "m1"}}),
    stored(event(message={"text": "hola"})),
    stored(event(message=None)),
    stored(event(message={"mid": "a b"})),
    stored(event(reaction={"emoji": "❤"})),
]


@asynccontextmanager
async def instagram(_folder: Path) -> AsyncIterator[Party]:
    """Instagram's adapter over a socket. It shows no phone number and no name, and reports only what was read."""
    with running(InstagramFake()) as fake:

        def inbound(text: str = "", *, id: str = "SM1", quoting: str | None = None, button: str | None = None) -> bytes:
            payload = "payload" if button else None
            return stored(message_event(text or button or "", mid=id, reply_to=quoting, quick_reply=payload))

        def status(message_id: str, _state: str, _delivery_id: int) -> bytes:
            return stored(event(read={"mid": message_id}))

        async def arrived() -> list[str]:
            return [sent.shown for sent in fake.messages]

        async def shown() -> list[list[str]]:
            return [sent.titles for sent in fake.messages]

        async def acknowledged() -> list[str]:
            actions = [entry["body"]["sender_action"] for entry in fake.requests.entries("action")]
            return ["SM1"] if actions == ["mark_seen", "typing_on"] else actions

        async def receive(_message_id: str) -> None:
            """It takes any."""

        channel = InstagramChannel(fake.url, "24.0", 10.0)
        credentials = {"access_token": ACCESS_TOKEN, "app_secret": APP_SECRET}
        account = Account(1, 1, "instagram", ACCOUNT, credentials, {})
        yield Party(
            channel,
            account,
            (PERSON, None, None),
            inbound,
            status,
            MALFORMED,
            arrived,
            shown,
            acknowledged,
            receive,
            states=frozenset({"read"}),
        )
        await channel.close()
