"""What Instagram delivers, as the channels' events.

Facts of the wire are Meta's: https://developers.facebook.com/documentation/instagram-platform/webhooks/examples and
https://developers.facebook.com/documentation/business-messaging/instagram-messaging/webhooks.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from recado.channels.base import Attachment, Event, Ignored, InboundMessage, StatusUpdate
from recado.channels.meta.values import Json, id_of, object_of, objects_of, strings_of, text_of, word_of
from recado.errors import MalformedEvent

MEDIA = {"image": "image", "audio": "audio", "video": "video", "file": "document"}
"""Instagram's types of attachments that are files of the person's own. Others are links to what somebody published."""

MAX_ATTACHMENTS = 10
LONGEST_URL = 8_192
LONGEST_BUTTON = 1_000
LONGEST_EMOJI = 40
LAST_TIME = datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1_000

_USER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_event(payload: bytes) -> Event:
    """Read `{"kind": "messaging", "event": {…}}`, with one of Instagram's own messaging events in it; of kind `change`
    are comments and the like, which are no messages.

    Raises MalformedEvent, and nothing else whatever the payload is.
    """
    try:
        stored = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(f"not JSON: {type(error).__name__}") from None
    kind = stored.get("kind") if isinstance(stored, dict) else None
    if kind == "change":
        return Ignored(word_of(stored.get("field")))
    event = stored.get("event") if kind == "messaging" else None
    if not isinstance(event, dict):
        raise MalformedEvent("no messaging event of Instagram's")
    for name, read in READERS.items():
        if name in event:
            return read(event, object_of(event, name))
    return Ignored(word_of(next((name for name in event if name not in COMMON), None)))


def _message(event: Json, message: Json) -> Event:
    if message.get("is_echo"):
        return Ignored("echo")
    mid = id_of(message.get("mid"))
    if message.get("is_deleted"):
        return _inbound(event, f"{mid}:deleted", kind="deletion", about_provider_message_id=mid)
    reply_to, text = object_of(message, "reply_to"), text_of(message.get("text"))
    attachments, links = _attachments(message.get("attachments"))
    data = _referral(object_of(message, "referral")) | _story(object_of(reply_to, "story"))
    button = text_of(object_of(message, "quick_reply").get("payload"))[:LONGEST_BUTTON] or None
    if links:
        data["links"] = links
    kind = "button" if button else "text"
    if attachments:
        kind = attachments[0].kind
    elif links and not text:
        kind = links[0]["type"]
    elif message.get("is_unsupported") and not text:
        kind = "unsupported"
    quoted = reply_to.get("mid")
    return _inbound(
        event,
        mid,
        kind=kind,
        text=text,
        quoted_provider_message_id=id_of(quoted) if quoted else None,
        attachments=attachments,
        button=button,
        data=data,
    )


def _postback(event: Json, postback: Json) -> Event:
    """A tap on a button of a template, an ice breaker or the persistent menu."""
    title, payload = text_of(postback.get("title")), text_of(postback.get("payload"))[:LONGEST_BUTTON]
    # Without an id of its own (older subscriptions) a redelivery still has the same person and time.
    named = postback.get("mid")
    mid = id_of(named) if named else f"postback:{_user_id(event)}:{_milliseconds(event)}"
    return _inbound(
        event, mid, kind="button", text=title, button=payload or None, data=_referral(object_of(postback, "referral"))
    )


def _reaction(event: Json, reaction: Json) -> Event:
    about = id_of(reaction.get("mid"))
    taken_back = reaction.get("action") == "unreact"
    emoji = "" if taken_back else text_of(reaction.get("emoji") or reaction.get("reaction"))[:LONGEST_EMOJI]
    return _inbound(
        event,
        f"{about}:{'unreaction' if taken_back else 'reaction'}:{_milliseconds(event)}",
        kind="reaction",
        text=emoji,
        about_provider_message_id=about,
        data={"emoji": emoji} if emoji else {},
    )


def _edit(event: Json, edit: Json) -> Event:
    about = id_of(edit.get("mid"))
    number = edit.get("num_edit")
    if number == 0:  # it tells of the message as it was first sent, which comes as a message too
        return Ignored("edit")
    which = number if isinstance(number, int) and 0 < number < 1_000 else _milliseconds(event)
    return _inbound(
        event, f"{about}:edit:{which}", kind="edit", text=text_of(edit.get("text")), about_provider_message_id=about
    )


def _read(_event: Json, read: Json) -> Event:
    return StatusUpdate(id_of(read["mid"]), "read") if read.get("mid") else Ignored("read")


def _delivery(_event: Json, delivery: Json) -> Event:
    mids = delivery.get("mids")
    # Several would be several updates, and each of them is read sooner or later.
    one = isinstance(mids, list) and len(mids) == 1
    return StatusUpdate(id_of(mids[0]), "delivered") if one and mids else Ignored("delivery")


def _ignored(what: str) -> Callable[[Json, Json], Event]:
    def ignore(_event: Json, _part: Json) -> Event:
        return Ignored(what)

    return ignore


READERS: Mapping[str, Callable[[Json, Json], Event]] = {
    "message": _message,
    "postback": _postback,
    "reaction": _reaction,
    "message_edit": _edit,
    "read": _read,
    "delivery": _delivery,
    # Somebody came by a link: there is no message yet.
    "referral": _ignored("referral"),
}
"""By the part of an event that says what it is; the first that is there decides."""

COMMON = frozenset({"sender", "recipient", "timestamp"})


def _inbound(event: Json, mid: str, *, kind: str, text: str = "", **more: Any) -> InboundMessage:
    return InboundMessage(
        provider_message_id=mid,
        channel_user_id=_user_id(event),
        phone=None,
        name=None,
        kind=kind,
        text=text,
        sent_at=_sent_at(event),
        **more,
    )


def _attachments(given: Any) -> tuple[tuple[Attachment, ...], list[dict[str, Any]]]:
    """The files, and what else was sent: {type, url?, title?} of a shared post, a reel, a story, a product."""
    files, links = [], []
    for found in objects_of(given)[:MAX_ATTACHMENTS]:
        payload, kind = object_of(found, "payload"), word_of(found.get("type"))
        url = text_of(payload.get("url"))[:LONGEST_URL]
        if kind in MEDIA and url:
            named = "sticker" if kind == "image" and payload.get("sticker_id") else MEDIA[kind]
            # People cannot choose a sound there: it is always one that they recorded.
            files.append(Attachment(named, url, voice=kind == "audio"))
        else:
            links.append({"type": kind, **({"url": url} if url else {}), **strings_of(payload, "title")})
    return tuple(files), links


def _story(story: Json) -> dict[str, Any]:
    """The story of the account's that was replied to; its address works for as long as the story is there."""
    known = strings_of(story, "id") | ({"url": url} if (url := text_of(story.get("url"))[:LONGEST_URL]) else {})
    return {"story": known} if known else {}


def _referral(referral: Json) -> dict[str, Any]:
    """Where a person came from: an advertisement, a link with a reference, a product of the shop."""
    advert, product = object_of(referral, "ads_context_data"), object_of(referral, "product")
    kept = {
        **strings_of(advert, source_url="video_url"),
        **strings_of(advert, source_url="photo_url", headline="ad_title"),
        **strings_of(referral, "ref", "source", "ad_id"),
        **strings_of(product, product_id="id"),
    }
    return {"referral": kept} if kept else {}


def _user_id(event: Json) -> str:
    found = object_of(event, "sender").get("id")
    if not isinstance(found, str) or not _USER_ID.fullmatch(found):
        raise MalformedEvent("the event has no sender, or one that cannot be")
    return found


def _milliseconds(event: Json) -> int:
    found = event.get("timestamp")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < LAST_TIME else 0


def _sent_at(event: Json) -> datetime | None:
    milliseconds = _milliseconds(event)
    return _EPOCH + timedelta(milliseconds=milliseconds) if milliseconds else None
