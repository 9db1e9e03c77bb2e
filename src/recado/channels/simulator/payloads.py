"""The simulated network's own formats: what its API shows, and what it reports."""

import json
from typing import Any

from recado.channels.base import Attachment, InboundMessage, OutboundMessage, StatusUpdate
from recado.db.models import SimulatorMessage
from recado.errors import MalformedEvent


def describe(row: SimulatorMessage) -> dict[str, Any]:
    """A message as the simulator's API gives it."""
    ends = (row.phone, row.address) if row.direction == "in" else (row.address, row.phone)
    described = {
        "id": row.id,
        "direction": row.direction,
        "from": ends[0],
        "to": ends[1],
        "kind": row.kind,
        "text": row.text,
        "template": row.template,
        **(row.content or {}),
        "buttons": row.buttons or None,
        "reply_to": row.reply_to,
        "status": row.status,
        "at": row.at.isoformat(),
    }
    return {key: value for key, value in described.items() if value is not None}


def outbound_kind(message: OutboundMessage) -> str:
    """What kind of message a person gets."""
    if message.template:
        return "template"
    return message.media.kind if message.media else "interactive" if message.buttons else "text"


def inbound_payload(row: SimulatorMessage, name: str | None, button: str | None) -> dict[str, Any]:
    """What the network reports when a person has sent something."""
    return {
        "id": row.id,
        "phone": row.phone,
        "name": name,
        "text": row.text,
        "kind": "button" if button else row.kind,
        "button": button,
        "reply_to": row.reply_to,
        "attachments": (row.content or {}).get("attachments", []),
        "data": (row.content or {}).get("location", {}),
    }


def _read_inbound(data: dict[str, Any]) -> InboundMessage:
    """What a person sent. Raises KeyError, TypeError or AttributeError for anything else."""
    return InboundMessage(
        provider_message_id=_text(data["id"]),
        channel_user_id=_text(data["phone"]),
        phone=_text(data["phone"]),
        name=_text_or_none(data["name"]),
        kind=_text(data["kind"]),
        text=_text(data["text"]),
        quoted_provider_message_id=_text_or_none(data["reply_to"]),
        attachments=tuple(map(_read_attachment, data.get("attachments", ()))),
        button=_text_or_none(data.get("button")),
        about_provider_message_id=_text_or_none(data.get("about")),
        data=dict(data.get("data", {}).items()),
    )


def _read_attachment(data: dict[str, Any]) -> Attachment:
    return Attachment(
        kind=_text(data["kind"]),
        source=_text(data["source"]),
        content_type=_text_or_none(data.get("content_type")),
        filename=_text_or_none(data.get("filename")),
        voice=data.get("voice") is True,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is none")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def read_event(payload: bytes) -> InboundMessage | StatusUpdate:
    """An event that the network has reported. Raises MalformedEvent."""
    try:
        data = json.loads(payload)
        if "status" in data:
            return StatusUpdate(_text(data["id"]), _text(data["status"]), int(data["delivery_id"]))
        return _read_inbound(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise MalformedEvent(f"not an event of the simulator: {type(error).__name__}") from error
