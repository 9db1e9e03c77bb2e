"""WhatsApp through Twilio: form posts in, REST calls out.

Facts of the wire are Twilio's: https://www.twilio.com/docs/messaging/guides/webhook-request (inbound),
…/track-outbound-message-status (statuses) and https://www.twilio.com/docs/api/errors (codes).
"""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

import aiohttp
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from recado.channels.base import (
    Attachment,
    InboundMessage,
    OutboundMessage,
    RawEvent,
    StatusUpdate,
    kind_of,
    template_id,
)
from recado.errors import MalformedEvent, OptedOut, Permanent, Retryable, SendError, TemplateRefused, WindowClosed
from recado.merchants.account import Account
from recado.text import clean_text

PREFIX = "whatsapp:"
LONGEST_ADDRESS = 140
"""A business-scoped user id with its country; a phone number is far shorter."""
TYPING_URL = "https://messaging.twilio.com/v2/Indicators/Typing.json"

CLOCK_SKEW = timedelta(minutes=1)
"""How far Twilio's clock and ours may be apart."""

CODES: dict[int, type[SendError]] = {
    63016: WindowClosed,
    21610: OptedOut,
    63018: Retryable,  # rate limit of the sender
    20429: Retryable,  # too many requests
    30001: Retryable,  # queue overflow
    20500: Retryable,
    20503: Retryable,
    21655: TemplateRefused,  # no such ContentSid
    63027: TemplateRefused,  # does not exist in this language
    63028: TemplateRefused,  # has another number of variables
    63040: TemplateRefused,  # rejected by WhatsApp
    63041: TemplateRefused,  # paused
    63042: TemplateRefused,  # disabled
}
"""What Twilio's codes mean to us. Any other code with a 4xx is permanent, with a 5xx retryable."""

STATES = {"sent": "sent", "delivered": "delivered", "read": "read"} | dict.fromkeys(
    ("failed", "undelivered", "canceled"), "failed"
)
"""Twilio's statuses as ours. Those before `sent` say nothing that the 201 did not."""

_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")

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


def _is_status(form: Form) -> bool:
    return "MessageStatus" in form and first(form, "SmsStatus") != "received"


BUTTON_TEXT_LIMIT = 1_024
"""The longest text of a content with quick replies."""
_NO_VALUE = re.compile(r"[\n\r\t]|\s{5}")
"""What Twilio takes in no variable of a content (63013)."""


class TwilioHttp(AsyncTwilioHttpClient):
    """The library's async client, with the timeout that it ignores and, when set, another host."""

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        super().__init__()
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    async def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        """Send one request. Raises TimeoutError after the configured seconds."""
        if self._base_url:
            parts = urlsplit(url)
            url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        return await asyncio.wait_for(super().request(method, url, *args, **kwargs), self._timeout_seconds)


class TwilioChannel:
    """The adapter. `public_base_url` is where Twilio posts statuses to."""

    kind = "twilio"

    def __init__(self, public_base_url: str, api_base_url: str, timeout_seconds: float) -> None:
        self._status_url = f"{public_base_url.rstrip('/')}/webhooks/twilio/status"
        self._api_base_url = api_base_url
        self._timeout_seconds = timeout_seconds
        self._http: TwilioHttp | None = None

    def parse(self, payload: bytes) -> InboundMessage | StatusUpdate:
        """Read a stored form post. Raises MalformedEvent."""
        try:
            form = read_form(payload)
        except ValueError as error:
            raise MalformedEvent(f"not a form: {error}") from error
        sid = first(form, "MessageSid")
        if not _SID.fullmatch(sid):
            raise MalformedEvent("the form has no MessageSid, or one that cannot be")
        return _parse_status(sid, form) if _is_status(form) else _parse_message(sid, form)

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Mark as read and show typing, in Twilio's one call for both. Raises SendError."""
        data = {"messageId": message.provider_message_id, "channel": "whatsapp"}
        response = await self._call(self._client(account).request_async("POST", TYPING_URL, data=data))
        if response.status_code >= 400:
            raise _error(response.status_code, None, f"typing indicator: HTTP {response.status_code}")

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Send, and return the message's SID. Raises SendError."""
        content: dict[str, Any]
        if message.template is not None:
            sid = template_id(account, message.template.name, message.template.language)
            if sid is None:
                raise TemplateRefused(
                    f"no Content SID for template {message.template.name}: name it under `templates` of this channel"
                )
            values = {str(n): value for n, value in enumerate(message.template.variables.values(), 1)}
            content = {"content_sid": sid, "content_variables": json.dumps(values, ensure_ascii=False)}
        else:
            content = _with_button(account, message) or {"body": message.text}
        sent = await self._call(
            self._client(account).messages.create_async(
                to=PREFIX + message.to,
                from_=PREFIX + account.address,
                status_callback=f"{self._status_url}?delivery={message.delivery_id}",
                **content,
            )
        )
        return str(sent.sid)

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        """Messages that Twilio took for this person since then, by its own list. Raises SendError.

        Twilio has no client reference to look for. A text must be the same; a template's rendering is Twilio's own.
        """
        listed = await self._call(
            self._client(account).messages.list_async(to=PREFIX + message.to, from_=PREFIX + account.address, limit=20)
        )
        earliest = since - CLOCK_SKEW
        return [
            str(found.sid)
            for found in reversed(listed)
            if (found.date_created is None or found.date_created >= earliest)
            and (message.template is not None or (found.body or "").strip() == (message.text or "").strip())
        ]

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        """Write a file of a message. Raises MediaRefused and SendError."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections to Twilio."""
        if self._http is not None:
            await self._http.close()

    def _client(self, account: Account) -> Client:
        if self._http is None:  # it must be made inside the running loop
            self._http = TwilioHttp(self._api_base_url, self._timeout_seconds)
        credentials = account.credentials
        return Client(credentials["account_sid"], credentials["auth_token"], http_client=self._http)

    async def _call(self, request: Any) -> Any:
        try:
            return await request
        except TwilioRestException as error:
            raise _error(error.status, error.code, error.msg) from error
        except TwilioServiceException as error:
            raise _error(error.status, error.code, error.detail or error.title) from error
        except TwilioException as error:  # how its lists fail: without status or code
            raise Retryable(f"Twilio: {error}") from error
        except aiohttp.ClientConnectorError as error:
            raise Retryable(f"cannot connect to Twilio: {error}") from error
        except (TimeoutError, aiohttp.ClientError, ConnectionError, ValueError) as error:
            # ValueError: the library could not read the answer as JSON (a proxy's error page).
            raise Retryable(f"no answer from Twilio: {type(error).__name__}", ambiguous=True) from error


def _with_button(account: Account, message: OutboundMessage) -> dict[str, Any] | None:
    """The text within the content that has the wanted button; None where there is none, or it takes no such text.

    Inside the window such a content needs no approval: `{{1}}` is all of its body.
    """
    if len(message.buttons) != 1 or message.text is None:
        return None
    sid = template_id(account, f"{message.buttons[0]['id']}_button", message.language or "")
    if sid is None or len(message.text) > BUTTON_TEXT_LIMIT or _NO_VALUE.search(message.text):
        return None
    return {"content_sid": sid, "content_variables": json.dumps({"1": message.text}, ensure_ascii=False)}


def _error(status: int, code: int | None, message: str) -> SendError:
    kind = CODES.get(code or 0) or (Retryable if status == 429 or status >= 500 else Permanent)
    text = f"Twilio {code or status}: {message}"
    if kind is Retryable:
        return Retryable(text, str(code or status), ambiguous=status >= 500)
    return kind(text, str(code or status))


def _number(form: Form, name: str) -> int | None:
    value = first(form, name)
    return int(value) if _NUMBER.fullmatch(value) else None


def _parse_status(sid: str, form: Form) -> StatusUpdate:
    status = first(form, "MessageStatus")
    code = first(form, "ErrorCode")
    return StatusUpdate(
        provider_message_id=sid,
        state=STATES.get(status, "sending"),
        delivery_id=_number(form, "delivery"),
        code=code or None,
        error=first(form, "ErrorMessage") or first(form, "ChannelStatusMessage") or None,
        failure=CODES.get(_number(form, "ErrorCode") or 0, Permanent) if code else None,
    )


def _parse_message(sid: str, form: Form) -> InboundMessage:
    sender = first(form, "From").removeprefix(PREFIX)
    if not 0 < len(sender) <= LONGEST_ADDRESS:
        raise MalformedEvent("the form has no From, or one that cannot be")
    attachments = _attachments(form)
    kind = first(form, "MessageType") or "text"
    if attachments:
        kind = attachments[0].kind
    elif first(form, "ButtonPayload"):
        kind = "button"
    return InboundMessage(
        provider_message_id=sid,
        channel_user_id=sender,
        phone=sender if sender.startswith("+") else None,
        name=first(form, "ProfileName") or None,
        kind=kind,
        text=first(form, "Body"),
        quoted_provider_message_id=first(form, "OriginalRepliedMessageSid") or None,
        attachments=attachments,
        button=first(form, "ButtonPayload") or None,
    )


def _attachments(form: Form) -> tuple[Attachment, ...]:
    number = min(_number(form, "NumMedia") or 0, 10)
    types = [first(form, f"MediaContentType{n}") for n in range(number)]
    return tuple(
        Attachment(kind_of(content_type), first(form, f"MediaUrl{n}"), content_type or None)
        for n, content_type in enumerate(types)
    )
