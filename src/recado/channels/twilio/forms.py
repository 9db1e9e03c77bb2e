"""What Twilio posts, read: messages of people, and statuses of ours. Also who signed it.

Facts of the wire are Twilio's: https://www.twilio.com/docs/messaging/guides/webhook-request (inbound) and
…/track-outbound-message-status (statuses). Field by field they were compared with public dumps of real posts.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qs

from twilio.request_validator import RequestValidator

from recado.channels.base import Attachment, InboundMessage, RawEvent, StatusUpdate, kind_of
from recado.channels.codes import meaning_of
from recado.channels.download import content_type_of
from recado.channels.twilio.codes import CODES
from recado.channels.twilio.http import without_numbers
from recado.errors import MalformedEvent
from recado.text import clean_text

PREFIX = "whatsapp:"
LONGEST_ADDRESS = 140
"""A business-scoped user id with its country; a phone number is far shorter."""
MOST_MEDIA = 10
SENT_AT = "DateSent"
"""Only posts that we make of listed messages have it: when the person sent it, in ISO 8601."""

STATES = {"sent": "sent", "partially_delivered": "sent", "delivered": "delivered", "read": "read"} | dict.fromkeys(
    ("failed", "undelivered", "canceled"), "failed"
)
"""Twilio's statuses as ours. Those before `sent` say nothing that the 201 did not."""

_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_ADDRESS = re.compile(rf"[!-~]{{1,{LONGEST_ADDRESS}}}")
_PHONE = re.compile(r"\+[0-9]{5,18}")
_WA_ID = re.compile(r"[0-9]{5,18}")
_DEGREES = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,30})?")
_KIND = re.compile(r"[a-z][a-z_]{0,29}")
_VCARD = frozenset({"text/vcard", "text/x-vcard"})
_LONGEST_VALUE = 2_000

Form = Mapping[str, list[str]]


def read_form(body: bytes) -> Form:
    """A form post's fields. Blank values count: they are part of what was signed."""
    return parse_qs(body.decode("utf-8", errors="replace"), keep_blank_values=True, max_num_fields=1_000)


def first(form: Form, name: str) -> str:
    """The first value of a field, or an empty string."""
    return form.get(name, [""])[0]


class _SignedForm(dict[str, list[str]]):
    """The shape in which the validator reads repeated fields."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def verify(url: str, form: Form, signature: str, auth_token: str) -> bool:
    """Whether Twilio signed this post to `url` (as Twilio called it) with the account's token."""
    return bool(RequestValidator(auth_token).validate(url, _SignedForm(form), signature))


def own_address(form: Form) -> str:
    """Our number in a post: who was written to, or, in a status, who wrote."""
    written = first(form, "From" if _is_status(form) else "To").removeprefix(PREFIX)
    return clean_text(written)[:LONGEST_ADDRESS]


def raw_event(form: Form, body: bytes, fallback_id: str) -> RawEvent:
    """The event to store. A redelivery has the same id; `fallback_id` serves a post that names no message.

    Requests share commits, so one post with an id that no index takes would fail the others': such an id is not used.
    """
    names = [first(form, "MessageSid"), *([first(form, "MessageStatus")] if _is_status(form) else [])]
    event_id = ":".join(names) if all(map(_SID.fullmatch, names)) else fallback_id
    return RawEvent("twilio", own_address(form), event_id, body)


def parse(payload: bytes) -> InboundMessage | StatusUpdate:
    """Read a stored form post. Raises MalformedEvent."""
    try:
        form = read_form(payload)
    except ValueError as error:
        raise MalformedEvent(f"not a form: {error}") from error
    sid = first(form, "MessageSid")
    if not _SID.fullmatch(sid):
        raise MalformedEvent("the form has no MessageSid, or one that cannot be")
    return _parse_status(sid, form) if _is_status(form) else _parse_message(sid, form)


def _is_status(form: Form) -> bool:
    return "MessageStatus" in form and first(form, "SmsStatus") != "received"


def _number(form: Form, name: str) -> int | None:
    value = first(form, name)
    return int(value) if _NUMBER.fullmatch(value) else None


def _value(form: Form, name: str) -> str:
    """A field that is kept as data, such that every database can."""
    return clean_text(first(form, name)[:_LONGEST_VALUE])


def _sid(form: Form, name: str) -> str | None:
    value = first(form, name)
    return value if _SID.fullmatch(value) else None


def _parse_status(sid: str, form: Form) -> StatusUpdate:
    state = STATES.get(first(form, "MessageStatus"), "sending")
    said = without_numbers(_value(form, "ErrorMessage") or _value(form, "ChannelStatusMessage"))
    delivery_id = _number(form, "delivery")
    code = _value(form, "ErrorCode")[:20]
    if state != "failed" or not code:
        return StatusUpdate(sid, state, delivery_id, code or None, said or None)
    meaning = meaning_of(CODES, _number(form, "ErrorCode"))
    why = f"{meaning.why} ({said})" if said else meaning.why
    return StatusUpdate(sid, state, delivery_id, code, why, meaning.error, meaning.remedy)


def _parse_message(sid: str, form: Form) -> InboundMessage:
    user_id, phone = _sender(form)
    attachments = _attachments(form)
    button = _value(form, "ButtonPayload") or _value(form, "ListId")
    return InboundMessage(
        provider_message_id=sid,
        channel_user_id=user_id,
        phone=phone,
        name=first(form, "ProfileName") or None,
        kind=_kind(form, attachments),
        text=first(form, "ListTitle") or first(form, "Body") or first(form, "ButtonText"),
        quoted_provider_message_id=_sid(form, "OriginalRepliedMessageSid"),
        attachments=attachments,
        button=button or None,
        data=_data(form),
        sent_at=_sent_at(form),
        opt_out=_opt_out(form),
    )


def _sender(form: Form) -> tuple[str, str | None]:
    """Their user id and phone number. Raises MalformedEvent.

    Where Twilio knows both, `From` is the number and `ExternalUserId` the id that stays when they hide the number.
    """
    sender = first(form, "From").removeprefix(PREFIX)
    if not _ADDRESS.fullmatch(sender):
        raise MalformedEvent("the form has no From, or one that cannot be")
    wa_id = first(form, "WaId")
    phone = sender if _PHONE.fullmatch(sender) else f"+{wa_id}" if _WA_ID.fullmatch(wa_id) else None
    external = first(form, "ExternalUserId").removeprefix(PREFIX)
    return (external if _ADDRESS.fullmatch(external) else sender), phone


def _kind(form: Form, attachments: Iterable[Attachment]) -> str:
    told = first(form, "MessageType").lower()
    if any(attachment.content_type in _VCARD for attachment in attachments):
        return "contacts"
    for attachment in attachments:
        return attachment.kind
    if any(first(form, name) for name in ("ButtonPayload", "ButtonText", "ListId")):
        return "button"
    if _place(form):
        return "location"
    return told if _KIND.fullmatch(told) else "unsupported" if told else "text"


def _attachments(form: Form) -> tuple[Attachment, ...]:
    number = min(_number(form, "NumMedia") or 0, MOST_MEDIA)
    is_sticker = first(form, "MessageType").lower() == "sticker"
    return tuple(
        _attachment(_value(form, f"MediaUrl{n}"), content_type_of(first(form, f"MediaContentType{n}")), is_sticker)
        for n in range(number)
    )


def _attachment(url: str, content_type: str | None, is_sticker: bool) -> Attachment:
    kind = "sticker" if is_sticker else kind_of(content_type)
    # WhatsApp records voice notes as Opus in Ogg, and Twilio has no other word for them.
    return Attachment(kind, url, content_type, voice=content_type == "audio/ogg")


def _data(form: Form) -> dict[str, Any]:
    data: dict[str, Any] = _place(form)
    if first(form, "MessageType").lower() == "contacts":
        data["contacts"] = []  # they are in the attached vCard
    referral = {
        ours: value
        for ours, theirs in (("source_url", "SourceUrl"), ("headline", "Headline"), ("body", "Body"))
        if (value := _value(form, f"Referral{theirs}"))
    }
    if referral:
        data["referral"] = referral
    if "true" in (first(form, "Forwarded").lower(), first(form, "FrequentlyForwarded").lower()):
        data["forwarded"] = True
    return data


def _place(form: Form) -> dict[str, Any]:
    latitude, longitude = _degrees(form, "Latitude", 90), _degrees(form, "Longitude", 180)
    if latitude is None or longitude is None:
        return {}
    named = {"name": _value(form, "Label"), "address": _value(form, "Address")}
    return {"latitude": latitude, "longitude": longitude} | {name: said for name, said in named.items() if said}


def _degrees(form: Form, name: str, most: int) -> float | None:
    value = first(form, name)
    if not _DEGREES.fullmatch(value):
        return None
    degrees = float(value)
    return degrees if abs(degrees) <= most else None


def _sent_at(form: Form) -> datetime | None:
    try:
        sent_at = datetime.fromisoformat(first(form, SENT_AT))
    except ValueError:
        return None
    return sent_at if sent_at.tzinfo is not None else None


def _opt_out(form: Form) -> Literal["stop", "start"] | None:
    """Twilio has taken the word as such and has answered; of HELP it tells too, and that changes nothing."""
    told = first(form, "OptOutType").upper()
    return "stop" if told == "STOP" else "start" if told == "START" else None
