"""A message as the model reads it: what the person said, and notes of ours, in brackets, for all that is no text.

What people send is data: a bracket with which a line of theirs begins gets a backslash, and none is let into a note, so
that nobody can write what looks like a note of ours.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recado.db.models import MediaFile, Message
from recado.media.check import SHOWN
from recado.media.pictures import LARGEST
from recado.media.repository import REFUSED, REMOVED, STORED
from recado.text import clean_text, shorten

MAX_CHARACTERS = 4_000
"""How much of one message the model reads. The database keeps all of it."""
MAX_DETAIL = 200
MAX_ITEMS = 30

_LEADING_BRACKET = re.compile(r"^(\s*)\[", re.MULTILINE)
_NO_BRACKETS = str.maketrans("[]", "()")
_SPOKEN = frozenset({"text", "button", "edit"})
"""Kinds whose text says it all."""
_NOTED = frozenset({"location", "contacts", "order", "image", "audio", "video", "document", "sticker"})
"""Kinds that are understood, also where the provider has said no more of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`text` is for the model, `words` is what the person said, in writing or aloud, without notes. `images`: the media
    ids of what the model can be shown."""

    text: str
    words: str
    images: tuple[int, ...] = ()


def read_message(message: Message, files: Sequence[MediaFile] = ()) -> Reading:
    """A message of anybody's. `files` are those that came with it, in order."""
    if message.role != "user":
        return Reading(shorten(message.text, MAX_CHARACTERS).strip() or "[empty message]", message.text)
    if message.other_data.get("deleted"):
        return Reading("[deleted message]", "")
    data: Mapping[str, Any] = message.other_data.get("data") or {}
    parts = list(_about(message, data))
    said = []
    by_position = {media.position: media for media in files}
    for position, attachment in enumerate(message.attachments):
        media = by_position.get(position)
        parts.append(_file_note(attachment, media))
        if media is not None and media.state == STORED and media.transcript:
            said.append(shorten(media.transcript, MAX_CHARACTERS))
            parts.append(_as_data(said[-1]))
    written = message.text or str(data.get("text") or "")
    if not parts and not written and message.kind not in _SPOKEN:
        known = message.kind in _NOTED
        parts.append(f"[{_detail(message.kind)}{'' if known else ': a kind of message that cannot be read here'}]")
    if message.kind != "reaction":
        parts.append(_as_data(shorten(written, MAX_CHARACTERS)))
    text = " ".join(part for part in parts if part).strip()
    images = tuple(media.id for media in files if media.state == STORED and _can_be_shown(message, media))
    return Reading(text or "[empty message]", "\n".join([*said, written]).strip(), images)


def _as_data(text: str) -> str:
    return _LEADING_BRACKET.sub(r"\1\\[", text)


def _detail(value: Any, limit: int = MAX_DETAIL) -> str:
    """Something from outside, as a note can hold it."""
    return shorten(" ".join(clean_text(str(value)).translate(_NO_BRACKETS).split()), limit)


def _details(*values: Any) -> str:
    return ", ".join(_detail(value) for value in values if value not in (None, ""))


def _about(message: Message, data: Mapping[str, Any]) -> Iterator[str]:
    """The notes for all but files."""
    referral = data.get("referral")
    if isinstance(referral, Mapping):
        found = _details(referral.get("headline"), referral.get("body"), referral.get("source_url"))
        yield f"[came from an ad: {found}]" if found else "[came from an ad]"
    if data.get("forwarded"):
        yield "[forwarded]"
    match message.kind:
        case "location" if data:
            place = (data.get("name"), data.get("address"), data.get("latitude"), data.get("longitude"))
            yield f"[location: {_details(*place)}]"
        case "contacts" if data:
            yield f"[contacts: {'; '.join(map(_contact, _items(data, 'contacts')))}]"
        case "order" if data:
            yield f"[order: {'; '.join(map(_ordered, _items(data, 'items')))}]"
        case "reaction":
            emoji = data.get("emoji") or message.text
            yield f"[reaction: {_detail(emoji)}]" if emoji else "[took a reaction back]"
        case "edit":
            yield "[edited]"
        case "deletion":
            yield "[deleted a message]"
        case "unsupported":
            yield f"[a kind of message that cannot be read here: {_details(data.get('title')) or 'unknown'}]"


def _items(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = data.get(name)
    return [item for item in found if isinstance(item, Mapping)][:MAX_ITEMS] if isinstance(found, Sequence) else []


def _contact(contact: Mapping[str, Any]) -> str:
    phones = contact.get("phones")
    return " ".join(map(_detail, [contact.get("name") or "nameless", *(phones if isinstance(phones, list) else [])]))


def _ordered(item: Mapping[str, Any]) -> str:
    price = f" at {_detail(item['price'])} {_detail(item.get('currency') or '')}" if item.get("price") else ""
    return f"{_detail(item.get('quantity') or 1)} × {_detail(item.get('id') or 'unnamed')}{price}".rstrip()


def _file_note(attachment: Mapping[str, Any], media: MediaFile | None) -> str:
    what = "voice note" if attachment.get("voice") else _detail(attachment.get("kind") or "file")
    if media is None or media.state != STORED:
        why = {REFUSED: "could not be opened", REMOVED: "was taken back"}
        return f"[{what} that {why.get(media.state if media else '', 'could not be fetched')}]"
    described = _details(attachment.get("filename"), media.content_type, _size(media.size or 0))
    match attachment.get("kind"):
        case "image":
            return "[image]" if _is_shown(media) else f"[image that cannot be shown: {described}]"
        case "audio" if media.transcript is None:
            return f"[{what} that could not be heard]"
        case "audio":
            return f"[{what}]" if media.transcript else f"[{what} without words]"
        case "sticker":
            return "[sticker]"
    return f"[{what}: {described}]"


def _size(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 1_000_000 else f"{-(-size // 1_000)} kB"


def _is_shown(media: MediaFile) -> bool:
    return media.content_type in SHOWN and (media.size or 0) <= LARGEST


def _can_be_shown(message: Message, media: MediaFile) -> bool:
    attachments = message.attachments
    return media.position < len(attachments) and attachments[media.position]["kind"] == "image" and _is_shown(media)
