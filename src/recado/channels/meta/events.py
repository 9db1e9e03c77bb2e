"""One post of Meta's, in the parts that are stored: a batch may hold a thousand, of several numbers.

Shapes: developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview, and
developers.facebook.com/docs/messenger-platform/instagram/features/webhook. A part's payload is JSON, and tells with
`kind` what else is in it, always the provider's own objects:

    message     metadata, contact?, message     a person sent something
    status      metadata, contact?, status      how far something of ours has come
    preference  metadata, contact?, preference  a person wants no marketing, or wants it again
    template    template                        a decision about a template
    messaging   event                           anything of Instagram's
    change      field, value                    another change, which needs nothing
    unknown     part                            what is none of these
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recado.channels.base import RawEvent
from recado.merchants.account import WABA

CHANNELS = {"whatsapp_business_account": "whatsapp", "instagram": "instagram"}
"""Our names of what Meta calls the object of a post."""
TEMPLATE_STATUS = "message_template_status_update"
_LISTS = {"messages": "message", "statuses": "status", "user_preferences": "preference"}
_NAMED_BY = {"message": ("id",), "status": ("id", "status")}

_ADDRESS = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[!-~]{1,400}")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """One event before it is stored. An empty `event_id`: its content is its id."""

    address: str
    event_id: str
    payload: Json


class MetaPost:
    """One post, read but not believed yet. Raises nothing, whatever `body` is."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            data = None
        named = data.get("object") if isinstance(data, dict) else None
        known = CHANNELS.get(named) if isinstance(named, str) else None
        self.channel = known or "whatsapp"
        self._entries = _list(data.get("entry")) if isinstance(data, dict) and known else []
        split = _of_instagram if known == "instagram" else _of_whatsapp
        self._parts = [part for entry in self._entries for part in split(entry)]

    def names(self) -> set[str]:
        """The addresses that it is about, with those of the accounts that own them."""
        prefix = "" if self.channel == "instagram" else WABA
        owners = {_prefixed(prefix, entry.get("id")) for entry in self._entries if isinstance(entry, dict)}
        return (owners | {part.address for part in self._parts}) - {""}

    def events(self) -> list[RawEvent]:
        """Its parts. What has no shape that we know is one event, the whole of it, without an address."""
        try:
            found = [self._raw(part) for part in self._parts]
        except RecursionError:
            found = []
        if found or any(map(_has_echo, self._entries)):
            return found
        return [RawEvent(self.channel, "", hashlib.sha256(self._body).hexdigest(), self._body)]

    def _raw(self, part: _Part) -> RawEvent:
        payload = json.dumps(part.payload, separators=(",", ":")).encode()
        event_id = part.event_id if _ID.fullmatch(part.event_id) else hashlib.sha256(payload).hexdigest()
        return RawEvent(self.channel, part.address, event_id, payload)


def _of_whatsapp(entry: Any) -> Iterator[_Part]:
    if not isinstance(entry, dict) or not isinstance(entry.get("changes"), list):
        yield _unknown(entry)
        return
    owner = _prefixed(WABA, entry.get("id"))
    for change in entry["changes"]:
        field, value = (change.get("field"), change.get("value")) if isinstance(change, dict) else (None, None)
        if not isinstance(field, str) or not isinstance(value, dict):
            yield _unknown(change)
        elif field == TEMPLATE_STATUS:
            yield _Part(owner, "", {"kind": "template", "time": entry.get("time"), "template": value})
        elif any(name in value for name in _LISTS) and field in _LISTS:
            yield from _of_number(value)
        else:
            yield _Part(owner, "", {"kind": "change", "time": entry.get("time"), "field": field, "value": value})


def _of_number(value: Json) -> Iterator[_Part]:
    """What happened to one of our numbers."""
    metadata = _object(value.get("metadata"))
    address = _prefixed("", metadata.get("phone_number_id"))
    contacts = [contact for contact in _list(value.get("contacts")) if isinstance(contact, dict)]
    for name, kind in _LISTS.items():
        items = value.get(name, [])
        if not isinstance(items, list):
            yield _unknown({name: items, "metadata": metadata})
            continue
        for item in items:
            if not isinstance(item, dict) or not address:
                yield _unknown({name: item, "metadata": metadata})
                continue
            payload = {"kind": kind, "metadata": metadata, kind: item}
            contact = _contact(contacts, item, alone=len(items) == 1)
            yield _Part(address, _event_id(kind, item), payload | ({"contact": contact} if contact else {}))


def _event_id(kind: str, item: Json) -> str:
    values = [item.get(name) for name in _NAMED_BY.get(kind, ())]
    found = [value for value in values if isinstance(value, str) and value]
    return ":".join(found) if len(found) == len(values) else ""


def _contact(contacts: Sequence[Json], item: Json, *, alone: bool) -> Json | None:
    """Who of the batch's people an item is about: by their id, their number, or because nobody else is there."""
    for ours, theirs in (
        ("user_id", ("from_user_id", "recipient_user_id", "user_id")),
        ("wa_id", ("from", "recipient_id", "wa_id")),
    ):
        wanted = [item[name] for name in theirs if item.get(name)]
        for contact in contacts:
            if contact.get(ours) and contact[ours] in wanted:
                return contact
    return contacts[0] if alone and len(contacts) == 1 else None


def _of_instagram(entry: Any) -> Iterator[_Part]:
    if not isinstance(entry, dict) or not any(isinstance(entry.get(name), list) for name in ("messaging", "changes")):
        yield _unknown(entry)
        return
    address = _prefixed("", entry.get("id"))
    for event in _list(entry.get("messaging")):
        yield from _messaging(address, event)
    for change in _list(entry.get("changes")):
        field, value = (change.get("field"), change.get("value")) if isinstance(change, dict) else (None, None)
        if field == "messages":  # how the dashboard's test button sends a message
            yield from _messaging(address, value)
        elif isinstance(field, str) and address:
            yield _Part(address, "", {"kind": "change", "time": entry.get("time"), "field": field, "value": value})
        else:
            yield _unknown(change)


def _messaging(address: str, event: Any) -> Iterator[_Part]:
    if not isinstance(event, dict) or not address:
        yield _unknown(event)
    elif not _is_echo(event):
        yield _Part(address, _messaging_id(event), {"kind": "messaging", "event": event})


def _messaging_id(event: Json) -> str:
    """The message's own id, for what is one: a deletion, a reaction or a read mark names another's."""
    message = _object(event.get("message"))
    own = message if not message.get("is_deleted") else _object(event.get("postback"))
    mid = own.get("mid")
    return mid if isinstance(mid, str) else ""


def _is_echo(event: Any) -> bool:
    return isinstance(event, dict) and bool(_object(event.get("message")).get("is_echo"))


def _has_echo(entry: Any) -> bool:
    return isinstance(entry, dict) and any(map(_is_echo, _list(entry.get("messaging"))))


def _unknown(part: Any) -> _Part:
    return _Part("", "", {"kind": "unknown", "part": part})


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _prefixed(prefix: str, value: Any) -> str:
    """An id as an address; empty where it is none that an account can have."""
    named = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return prefix + named if _ADDRESS.fullmatch(named) else ""
