"""A file and a text: one message where the channel shows them together, else the file before the text."""

from typing import Any

import pytest

from recado.channels.base import OutboundMedia
from recado.db.engine import Database
from tests.builders import make_shop
from tests.conversations.post import Post

URL = "https://example.com/menu"


@pytest.mark.parametrize(
    ("channel", "kind", "length", "together"),
    [
        ("simulator", "document", 4_096, True),
        ("twilio", "image", 1_600, True),
        ("whatsapp", "image", 1_024, True),
        ("whatsapp", "image", 1_025, False),
        ("whatsapp", "audio", 5, False),
        ("instagram", "image", 5, False),
    ],
)
async def test_a_file_carries_a_text_where_it_can(
    database: Database, channel: str, kind: str, length: int, together: bool
) -> None:
    post = Post(await make_shop(database))
    await post.be(channel)
    conversation_id = await post.shop.hear("hola")
    button: list[dict[str, Any]] = [{"id": "1", "title": "Sí"}]
    await post.shop.say(conversation_id, "x" * length, media=OutboundMedia(kind, URL), buttons=button)
    found = await post.deliver(conversation_id)
    parts = [(row.media is not None, row.text, row.buttons) for row in found]
    text = "x" * length
    assert parts == ([(True, text, button)] if together else [(True, None, []), (False, text, button)])
    assert [row.state for row in found] == ["sent"] * len(found)
    assert [(sent.media is not None, sent.text) for sent in post.line.taken.values()] == [row[:2] for row in parts]


async def test_the_rest_of_a_long_text_follows_without_the_file(database: Database) -> None:
    post = Post(await make_shop(database))
    conversation_id = await post.shop.hear("hola")
    await post.shop.say(conversation_id, "Una frase. " * 600, media=OutboundMedia("image", URL))
    found = await post.deliver(conversation_id)
    assert [row.media is not None for row in found] == [True, False]
    assert all(row.text for row in found)
