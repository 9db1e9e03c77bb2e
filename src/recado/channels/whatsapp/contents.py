"""What each type of WhatsApp message holds, as values of an `InboundMessage`.

Shapes: developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages, and pywa's types
for edits and deletions.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from recado.channels.base import Attachment
from recado.channels.meta.values import (
    LONGEST_VALUE,
    Json,
    anything_of,
    id_of,
    is_number,
    numbers_of,
    object_of,
    objects_of,
    strings_of,
    text_of,
    word_of,
)

MEDIA = ("image", "video", "audio", "document", "sticker")
MEDIA_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""It becomes part of an address."""


def around(message: Json, context: Json) -> dict[str, Any]:
    """What came along with any kind of message: that it was forwarded, and the advertisement that led to it."""
    found: dict[str, Any] = {}
    if context.get("forwarded") or context.get("frequently_forwarded"):
        found["forwarded"] = True
    referral = strings_of(object_of(message, "referral"), "source_url", "headline", "body")
    return found | ({"referral": referral} if referral else {})


def _content_of_text(message: Json) -> dict[str, Any]:
    return {"kind": "text", "text": text_of(object_of(message, "text").get("body"))}


def _content_of_media(message: Json) -> dict[str, Any]:
    kind = str(message["type"])
    media = object_of(message, kind)
    source = media.get("id")
    found: tuple[Attachment, ...] = ()
    if isinstance(source, str) and MEDIA_ID.fullmatch(source):
        content_type, filename = (
            text_of(media.get(name))[:LONGEST_VALUE] or None for name in ("mime_type", "filename")
        )
        found = (Attachment(kind, source, content_type, filename, voice=media.get("voice") is True),)
    return {"kind": kind, "text": text_of(media.get("caption")), "attachments": found}


def _content_of_location(message: Json) -> dict[str, Any]:
    location = object_of(message, "location")
    numbers = {name: location[name] for name in ("latitude", "longitude") if is_number(location.get(name))}
    return {"kind": "location", "text": "", "data": numbers | strings_of(location, "name", "address", "url")}


def _content_of_contacts(message: Json) -> dict[str, Any]:
    cards = [
        {
            "name": text_of(object_of(card, "name").get("formatted_name"))[:LONGEST_VALUE],
            "phones": [
                number
                for phone in objects_of(card.get("phones"))
                if (number := text_of(phone.get("phone") or phone.get("wa_id"))[:LONGEST_VALUE])
            ],
        }
        for card in objects_of(message.get("contacts"))
    ]
    return {"kind": "contacts", "text": "", "data": {"contacts": cards}}


def _content_of_interactive(message: Json) -> dict[str, Any]:
    interactive = object_of(message, "interactive")
    kind = word_of(interactive.get("type"))
    chosen = object_of(interactive, kind)
    if kind in ("button_reply", "list_reply"):
        return _tapped(chosen.get("title"), chosen.get("id"))
    if kind != "nfm_reply":
        return {"kind": kind, "text": ""}
    data: dict[str, Any] = strings_of(chosen, "name")
    try:
        data["response"] = anything_of(json.loads(text_of(chosen.get("response_json"))))
    except (ValueError, RecursionError):
        data["response"] = None
    return {"kind": kind, "text": text_of(chosen.get("body")), "data": data}


def _content_of_button(message: Json) -> dict[str, Any]:
    button = object_of(message, "button")
    return _tapped(button.get("text"), button.get("payload"))


def _tapped(title: Any, button: Any) -> dict[str, Any]:
    return {"kind": "button", "text": text_of(title), "button": text_of(button)[:LONGEST_VALUE] or None}


def _content_of_reaction(message: Json) -> dict[str, Any]:
    reaction = object_of(message, "reaction")
    emoji = text_of(reaction.get("emoji"))[:40]
    about = id_of(reaction.get("message_id"))
    data = {"emoji": emoji} if emoji else {}
    return {"kind": "reaction", "text": emoji, "about_provider_message_id": about, "data": data}


def _content_of_order(message: Json) -> dict[str, Any]:
    order = object_of(message, "order")
    items = [
        strings_of(item, id="product_retailer_id", currency="currency")
        | numbers_of(item, quantity="quantity", price="item_price")
        for item in objects_of(order.get("product_items"))
    ]
    text = text_of(order.get("text"))
    return {"kind": "order", "text": text, "data": {"items": items} | ({"text": text} if text else {})}


def _content_of_unsupported(message: Json) -> dict[str, Any]:
    error = next(iter(objects_of(message.get("errors"))), {})
    code = error.get("code")
    data = {"code": code} if isinstance(code, int) else {}
    return {"kind": "unsupported", "text": "", "data": data | strings_of(error, "title")}


def _content_of_edit(message: Json) -> dict[str, Any]:
    edit = object_of(message, "edit")
    new = object_of(edit, "message")
    kind = new.get("type")
    text = object_of(new, kind).get("caption" if kind in MEDIA else "body") if isinstance(kind, str) else None
    return {"kind": "edit", "text": text_of(text), "about_provider_message_id": id_of(edit.get("original_message_id"))}


def _content_of_revoke(message: Json) -> dict[str, Any]:
    about = id_of(object_of(message, "revoke").get("original_message_id"))
    return {"kind": "deletion", "text": "", "about_provider_message_id": about}


def content_of_unknown(message: Json) -> dict[str, Any]:
    """A type that we do not know, by its name."""
    return {"kind": word_of(message.get("type")), "text": ""}


CONTENTS: Mapping[str, Callable[[Json], dict[str, Any]]] = {
    "text": _content_of_text,
    "location": _content_of_location,
    "contacts": _content_of_contacts,
    "interactive": _content_of_interactive,
    "button": _content_of_button,
    "reaction": _content_of_reaction,
    "order": _content_of_order,
    "unsupported": _content_of_unsupported,
    "edit": _content_of_edit,
    "revoke": _content_of_revoke,
    **dict.fromkeys(MEDIA, _content_of_media),
}
"""What each type of message holds, as values of an `InboundMessage`."""
