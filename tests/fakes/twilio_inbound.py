"""Webhooks as Twilio sends them: inbound WhatsApp messages and status callbacks, signed.

Fields and their spelling are Twilio's (www.twilio.com/docs/messaging/guides/webhook-request and
.../track-outbound-message-status) checked against public dumps of real requests: ChannelMetadata repeats the
WhatsApp fields as strings, a quick reply has MessageType `interactive` or `button` and its label in Body too.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urldefrag

import httpx
from twilio.request_validator import RequestValidator

ACCOUNT_SID = "AC" + "0" * 31 + "1"
AUTH_TOKEN = "fake-twilio-auth-token"
WHATSAPP_INSTALL_SID = "XE" + "0" * 31 + "1"
_CONSTANT = {
    "ApiVersion": "2010-04-01",
    "SmsStatus": "received",
    "NumSegments": "1",
    "ReferralNumMedia": "0",
}
_EVENTS = {"delivered": "DELIVERED", "read": "READ", "undelivered": "UNDELIVERED"}


def new_sid(prefix: str = "SM") -> str:
    """A sid of Twilio's form: two letters and 32 hex digits."""
    return prefix + secrets.token_hex(16)


def whatsapp(address: str) -> str:
    """`+51…` or a business-scoped user id, as Twilio writes it."""
    return address if address.startswith("whatsapp:") else f"whatsapp:{address}"


def inbound_form(
    *,
    from_: str,
    to: str,
    body: str = "",
    profile_name: str = "Ana",
    account_sid: str = ACCOUNT_SID,
    message_sid: str | None = None,
    message_type: str | None = None,
    media: Sequence[tuple[str, str]] = (),
    reply_to_sid: str | None = None,
    reply_to_sender: str | None = None,
    button_text: str | None = None,
    button_payload: str | None = None,
    location: tuple[float, float] | None = None,
    external_user_id: str | None = None,
    forwarded: bool = False,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The form of one inbound message. `from_` is a phone (`+51…`), or the business-scoped user id (`PE.123`)
    of someone who hides it, and then WaId is missing. `media` is pairs of URL and content type. `extra`
    overrides or adds fields.
    """
    sid = message_sid or new_sid("MM" if media else "SM")
    form = {
        "AccountSid": account_sid,
        **dict.fromkeys(("MessageSid", "SmsSid", "SmsMessageSid"), sid),
        **_CONSTANT,
        "MessageType": message_type or _message_type(media, button_text, location),
        "Body": body or button_text or "",
        "ButtonPayload": button_payload,
        "To": whatsapp(to),
        **_sender_fields(from_, profile_name, external_user_id, button_text, forwarded),
        **_reply_fields(reply_to_sid, reply_to_sender or to),
        **_media_fields(media),
        **_location_fields(location),
    }
    return _present(form) | dict(extra or {})


def _sender_fields(
    from_: str, name: str, external_user_id: str | None, button_text: str | None, forwarded: bool
) -> dict[str, str | None]:
    bare = from_.removeprefix("whatsapp:")
    phone = bare.removeprefix("+") if bare.startswith("+") else None
    user_id = external_user_id or (None if phone else bare)
    # ChannelMetadata says these again, all of them as strings
    repeated = _present({"ButtonText": button_text, "ProfileName": name, "WaId": phone})
    context = {"Forwarded": str(forwarded).lower(), "FrequentlyForwarded": "false", **repeated}
    metadata = {"type": "whatsapp", "data": {"context": context}}
    return {
        **repeated,
        "From": whatsapp(from_),
        "ExternalUserId": whatsapp(user_id) if user_id else None,
        "Forwarded": "true" if forwarded else None,
        "ChannelMetadata": json.dumps(metadata, ensure_ascii=False, separators=(",", ":")),
    }


def _present(fields: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


def _message_type(
    media: Sequence[tuple[str, str]], button_text: str | None, location: tuple[float, float] | None
) -> str:
    if media:
        kind = media[0][1].partition("/")[0]
        return kind if kind in ("image", "audio", "video") else "document"
    if button_text is not None:
        return "button"
    return "location" if location else "text"


def _reply_fields(sid: str | None, sender: str) -> dict[str, str]:
    if sid is None:
        return {}
    return {"OriginalRepliedMessageSid": sid, "OriginalRepliedMessageSender": whatsapp(sender)}


def _media_fields(media: Sequence[tuple[str, str]]) -> dict[str, str]:
    fields = {"NumMedia": str(len(media))}
    for index, (url, content_type) in enumerate(media):
        fields |= {f"MediaContentType{index}": content_type, f"MediaUrl{index}": url}
    return fields


def _location_fields(location: tuple[float, float] | None) -> dict[str, str]:
    return {"Latitude": str(location[0]), "Longitude": str(location[1])} if location else {}


def status_form(
    *,
    message_sid: str,
    status: str,
    from_: str,
    to: str,
    account_sid: str = ACCOUNT_SID,
    error_code: int | None = None,
    error_message: str | None = None,
    messaging_service_sid: str | None = None,
) -> dict[str, str]:
    """The form of one status callback for a WhatsApp message; `from_` is the business, `to` the person."""
    bare = to.removeprefix("whatsapp:")
    form = {
        "EventType": _EVENTS.get(status),
        "ChannelPrefix": "whatsapp",
        "ChannelInstallSid": WHATSAPP_INSTALL_SID,
        "ChannelToAddress": f"{bare[:-4]}XXXX",
        "ChannelStatusMessage": error_message,
        "ErrorCode": str(error_code) if error_code is not None else None,
        "ErrorMessage": error_message,
        "SmsSid": message_sid,
        "SmsStatus": status,
        "MessageSid": message_sid,
        "MessageStatus": status,
        "MessagingServiceSid": messaging_service_sid,
        "AccountSid": account_sid,
        "From": whatsapp(from_),
        "To": whatsapp(to),
        "ApiVersion": "2010-04-01",
    }
    return _present(form)


def sign(url: str, form: Mapping[str, str], token: str = AUTH_TOKEN) -> str:
    """X-Twilio-Signature of a form post. A `#…` fragment holds connection overrides and is not signed."""
    signature: str = RequestValidator(token).compute_signature(urldefrag(url).url, form)
    return signature


async def post_signed(
    client: httpx.AsyncClient,
    url: str,
    form: Mapping[str, str],
    *,
    token: str = AUTH_TOKEN,
    public_url: str | None = None,
) -> httpx.Response:
    """Posts a form as Twilio does. `public_url` is what Twilio was told to call, when it differs from `url`
    (a proxy stands between); the signature is over that one. A fragment is not sent.
    """
    headers = {
        "X-Twilio-Signature": sign(public_url or url, form, token),
        "User-Agent": "TwilioProxy/1.1",
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    return await client.post(urldefrag(url).url, data=dict(form), headers=headers)


async def post_inbound(
    client: httpx.AsyncClient,
    url: str,
    *,
    token: str = AUTH_TOKEN,
    public_url: str | None = None,
    **fields: Any,
) -> httpx.Response:
    """Delivers one inbound message made of `inbound_form`'s fields. For a redelivery make the form once, and
    `post_signed` it twice.
    """
    return await post_signed(client, url, inbound_form(**fields), token=token, public_url=public_url)
