"""What Instagram delivers, one golden payload for each kind, and what cannot be read."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recado.channels.base import Attachment, Event, Ignored, InboundMessage, StatusUpdate
from recado.channels.instagram.payloads import MAX_ATTACHMENTS, parse_event
from recado.channels.meta.events import MetaPost
from recado.conversations.window import opens_window
from recado.errors import MalformedEvent
from recado.text import MAX_MESSAGE_CHARACTERS
from tests.fakes.instagram_inbound import PERSON, event, message_event, post, stored

GOLDEN = Path(__file__).parents[1] / "golden" / "instagram"
MID = "aWdfZAG1faXRlbToxOklHTWVzc2FnZAUlEOjAwMQZD"
FILE = "https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1234&signature=Abc-_def"
MILLISECONDS = 1_777_636_800_000
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def said(kind: str, text: str = "", mid: str = MID, **more: Any) -> InboundMessage:
    return InboundMessage(mid, PERSON, None, None, kind, text, sent_at=NOON, **more)


def sent(*files: Attachment, **more: Any) -> InboundMessage:
    return said(files[0].kind, attachments=files, **more)


def linked(kind: str, **link: str) -> InboundMessage:
    return said(kind, data={"links": [{"type": kind, **link}]})


ADVERT = {
    "source_url": "https://www.instagram.com/p/1",
    "headline": "Panetones",
    "ref": "navidad",
    "source": "ADS",
    "ad_id": "120200000000001",
}
EXPECTED: dict[str, Event] = {
    "text": said("text", "Hola, ¿tienen panetón? 🎄"),
    "reply": said("text", "este", quoted_provider_message_id="aWdfORIGINAL"),
    "story_reply": said("text", "¿Precio?", data={"story": {"id": "17880000000000001", "url": FILE}}),
    "image": sent(Attachment("image", FILE)),
    "images": sent(Attachment("image", FILE), Attachment("video", FILE + "2")),
    "audio": sent(Attachment("audio", FILE, voice=True)),
    "video": sent(Attachment("video", FILE)),
    "file": sent(Attachment("document", FILE)),
    "sticker": sent(Attachment("sticker", FILE)),
    "share": linked("share", url=FILE),
    "reel": linked("ig_reel", url=FILE, title="Panetón casero"),
    "story_mention": linked("story_mention", url=FILE),
    "template": linked("template"),
    "quick_reply": said("button", "Sí", button="NOTIF_12"),
    "postback": said("button", "Ver horarios", button="HOURS"),
    "postback_without_id": said("button", "Ver horarios", f"postback:{PERSON}:{MILLISECONDS}", button="HOURS"),
    "reaction": said(
        "reaction",
        "❤️",
        f"aWdfORIGINAL:reaction:{MILLISECONDS}",
        about_provider_message_id="aWdfORIGINAL",
        data={"emoji": "❤️"},
    ),
    "unreaction": said(
        "reaction", "", f"aWdfORIGINAL:unreaction:{MILLISECONDS}", about_provider_message_id="aWdfORIGINAL"
    ),
    "deletion": said("deletion", "", f"{MID}:deleted", about_provider_message_id=MID),
    "edit": said("edit", "Hola, ¿tienen pan?", f"{MID}:edit:1", about_provider_message_id=MID),
    "unsupported": said("unsupported"),
    "advert": said("text", "Quiero este", data={"referral": ADVERT}),
    "product": said("text", "¿Hay?", data={"referral": {"product_id": "4455"}}),
    "echo": Ignored("echo"),
    "read": StatusUpdate("aWdfOURS", "read"),
    "read_without_id": Ignored("read"),
    "delivery": StatusUpdate("aWdfOURS", "delivered"),
    "referral": Ignored("referral"),
    "unknown": Ignored("optin"),
}
NO_MESSAGES = {"reaction", "deletion", "edit"}


def test_every_golden_payload_is_expected() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_golden_payload_is_read(name: str) -> None:
    found = parse_event(stored(json.loads((GOLDEN / f"{name}.json").read_text())))
    assert found == EXPECTED[name]
    if isinstance(found, InboundMessage):
        assert opens_window(found.kind) == (found.kind not in NO_MESSAGES)


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "echo"])
def test_it_is_the_same_after_the_webhook_has_stored_it(name: str) -> None:
    """Whatever splits posts and what reads their parts must mean the same by them."""
    (raw,) = MetaPost(post(json.loads((GOLDEN / f"{name}.json").read_text()))).events()
    assert parse_event(raw.payload) == EXPECTED[name]


def test_a_redelivery_has_the_same_id_and_other_news_of_a_message_another() -> None:
    names = ["text", "deletion", "edit", "reaction"]
    ids = [parse_event(stored(json.loads((GOLDEN / f"{name}.json").read_text()))) for name in names * 2]
    found = [message.provider_message_id for message in ids if isinstance(message, InboundMessage)]
    assert found[:4] == found[4:]
    assert len(set(found)) == 4


def test_comments_and_the_like_are_ignored() -> None:
    assert parse_event(b'{"kind": "change", "field": "comments", "value": {}}') == Ignored("comments")
    assert parse_event(b'{"kind": "change", "field": "\\u0000"}') == Ignored("unknown")


def test_the_first_version_of_a_text_is_no_edit() -> None:
    edit = {"mid": MID, "text": "Hola", "num_edit": 0}
    assert parse_event(stored(event(message_edit=edit))) == Ignored("edit")


@pytest.mark.parametrize("timestamp", [0, -1, 10**30, True, "1777636800000", None, 1.5, []])
def test_a_time_that_cannot_be_is_none(timestamp: Any) -> None:
    message = parse_event(stored(event(timestamp=timestamp, message={"mid": MID, "text": "hola"})))
    assert message == replace(said("text", "hola"), sent_at=None)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"text": "a\x00b\ud800c"}, said("text", "abc")),
        ({"text": ["no"]}, said("text")),
        ({"text": "x" * 30_000}, said("text", "x" * MAX_MESSAGE_CHARACTERS)),
        ({"text": "hola", "attachments": "no", "quick_reply": 1, "reply_to": [], "referral": 5}, said("text", "hola")),
        ({"attachments": [None, 5, {"type": "image"}]}, linked("image")),
        ({"attachments": [{"type": "<b>", "payload": {"url": FILE}}]}, linked("unknown", url=FILE)),
        ({"text": "mira", "attachments": [{"type": "share", "payload": None}]}, "mira"),
        ({"text": "no se ve", "is_unsupported": True}, said("text", "no se ve")),
        ({"reply_to": {"story": {"id": 5, "url": []}}}, said("text")),
    ],
)
def test_what_has_another_shape_is_left_out(message: dict[str, Any], expected: InboundMessage | str) -> None:
    found = parse_event(stored(event(message={"mid": MID, **message})))
    if isinstance(expected, str):
        expected = said("text", expected, data={"links": [{"type": "share"}]})
    assert found == expected


def test_a_message_has_only_so_many_files() -> None:
    files = [{"type": "image", "payload": {"url": f"{FILE}{n}"}} for n in range(50)]
    found = parse_event(stored(message_event(attachments=files)))
    assert isinstance(found, InboundMessage)
    assert len(found.attachments) == MAX_ATTACHMENTS


def _mutated(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.1:
        return chance.choice([None, 5, -1, 1e400, "", "\ud800", "\x00", [], {}, True, [[]], {"id": {}}, "x" * 9_000])
    if isinstance(value, dict):
        return {name: _mutated(found, chance) for name, found in value.items() if chance.random() > 0.03}
    return [_mutated(found, chance) for found in value] if isinstance(value, list) else value


def test_nothing_but_malformed_is_raised_whatever_comes() -> None:
    chance = random.Random(7)
    events = [json.loads(path.read_text()) for path in sorted(GOLDEN.iterdir())]
    raised = read = 0
    for number in range(3_000):
        changed = _mutated(events[number % len(events)], chance)
        try:
            found = parse_event(json.dumps({"kind": "messaging", "event": changed}).encode())
        except MalformedEvent:
            raised += 1
            continue
        read += 1
        if isinstance(found, InboundMessage):
            json.dumps([found.data, found.text, found.button], ensure_ascii=False).encode()  # no lone surrogates
            assert "\x00" not in repr(found)
            assert found.channel_user_id
    assert min(raised, read) > 100
