"""WhatsApp's 24 hours, at their edges."""

from datetime import timedelta

import pytest

from recado.conversations.window import is_open, opens_window
from recado.db.engine import Database
from recado.db.models import Conversation
from tests.builders import NOON, make_shop

DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (timedelta(0), True),
        (DAY - timedelta(seconds=1), True),
        (DAY, True),
        (DAY + timedelta(microseconds=1), False),
        (DAY + timedelta(seconds=1), False),
        (timedelta(days=400), False),
    ],
)
def test_free_text_until_24_hours_after_the_last_message(since: timedelta, expected: bool) -> None:
    assert is_open(NOON, NOON + since) is expected


def test_who_never_wrote_has_no_window() -> None:
    assert not is_open(None, NOON)


@pytest.mark.parametrize("kind", ["text", "button", "image", "audio", "location", "interactive"])
def test_messages_open_it(kind: str) -> None:
    assert opens_window(kind)


@pytest.mark.parametrize("kind", ["reaction", "call", "edit", "revoke", "deleted", "system", "status"])
def test_what_is_no_message_does_not(kind: str) -> None:
    assert not opens_window(kind)


async def test_only_messages_move_the_conversations_window(database: Database) -> None:
    shop = await make_shop(database)
    conversation_id = await shop.hear("👍", kind="reaction")

    async def last_inbound() -> object:
        async with database.read() as session:
            return (await session.get_one(Conversation, conversation_id)).last_inbound_at

    assert await last_inbound() is None
    await shop.hear("hola")
    assert await last_inbound() == NOON
    shop.clock.forward(hours=1)
    for kind in ("reaction", "call", "edit", "revoke", "system"):
        await shop.hear("❤️", kind=kind)
        assert await last_inbound() == NOON
    await shop.hear("sigo aquí")
    assert await last_inbound() == NOON + timedelta(hours=1)
