"""WhatsApp through Twilio: form posts in, REST calls out."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, BinaryIO
from urllib.parse import urlencode

import structlog
from twilio.rest import Client

from recado.channels.base import Attachment, InboundMessage, OutboundMessage, RawEvent, StatusUpdate, template_id
from recado.channels.download import Trusted, fetch_file, file_client
from recado.channels.twilio.content import Contents
from recado.channels.twilio.forms import MOST_MEDIA, PREFIX, SENT_AT, parse, raw_event, read_form
from recado.channels.twilio.http import TwilioApi
from recado.errors import Permanent, TemplateRefused
from recado.merchants.account import Account

log = structlog.get_logger(__name__)

API_URL = "https://api.twilio.com"
TYPING_URL = "https://messaging.twilio.com/v2/Indicators/Typing.json"

AUTH_HOSTS = frozenset({"api.twilio.com"})
MEDIA_HOSTS = AUTH_HOSTS | {".twiliocdn.com", "s3-external-1.amazonaws.com"}
"""Where Twilio keeps what people sent: its API answers with a redirect, to its own CDN or, formerly, to Amazon's."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far Twilio's clock and ours may be apart."""
LOOKED_AT = 20
"""How many of the last messages to a person are compared with one whose outcome is unknown."""
PAGE = 500
MOST_MISSED = 20_000
"""How many messages one listing takes in; of more, the newest."""


class TwilioChannel:
    """The adapter. `public_base_url` is where Twilio posts statuses to; `api_base_url` replaces all of its hosts."""

    kind = "twilio"

    def __init__(self, public_base_url: str, api_base_url: str, timeout_seconds: float) -> None:
        self._status_url = f"{public_base_url.rstrip('/')}/webhooks/twilio/status"
        self._api = TwilioApi(api_base_url, timeout_seconds)
        self._contents = Contents(self._api)
        self._media = Trusted(MEDIA_HOSTS, api_base_url)
        self._timeout_seconds = timeout_seconds

    def parse(self, payload: bytes) -> InboundMessage | StatusUpdate:
        """Read a stored form post. Raises MalformedEvent."""
        return parse(payload)

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Mark as read and show typing, in Twilio's one call for both. Raises SendError."""
        data = {"messageId": message.provider_message_id, "channel": "whatsapp"}
        await self._api.call(self._client(account).request_async("POST", TYPING_URL, data=data))

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Send, and return the message's SID. Raises SendError."""
        if message.template is not None:
            return await self._create(account, message, _template(account, message))
        filled = None if message.media else await self._contents.fill(account, message)
        if filled is not None:
            try:
                return await self._create(account, message, filled)
            except TemplateRefused as error:
                # Nobody waits for a button: the text goes without, and the content is looked for anew next time.
                self._contents.forget(account, filled["content_sid"])
                log.warning("a content was refused, the text goes without", account_id=account.id, error=str(error))
        try:
            return await self._create(account, message, _free(message))
        except TemplateRefused as error:
            # There is no template: it is the text, or the file, that is not taken.
            raise Permanent(str(error), error.code, remedy=error.remedy) from error

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        """Messages that Twilio took for this person since then, by its own list. Raises SendError.

        Twilio has no client reference to look for. A text must be the same; a template's rendering is Twilio's own.
        """
        # Not by `From`: where a Messaging Service sends, that is chosen after the message was taken.
        listed = await self._api.call(self._client(account).messages.list_async(to=_to(message), limit=LOOKED_AT))
        earliest = since - CLOCK_SKEW
        return [
            str(found.sid)
            for found in reversed(listed)
            if (found.date_created is None or found.date_created >= earliest)
            and found.direction != "inbound"
            and _is_ours(account, found)
            and _is_like(found, message)
        ]

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        """Write a file of a message, with the account's credentials for Twilio's API alone.

        Raises MediaRefused and SendError.
        """
        credentials = account.credentials
        secret = base64.b64encode(f"{credentials['account_sid']}:{credentials['auth_token']}".encode()).decode()
        async with file_client(self._timeout_seconds) as client:
            return await fetch_file(
                client,
                attachment.source,
                trusted=self._media,
                file=file,
                limit=limit,
                headers={"Authorization": f"Basic {secret}"},
                auth_hosts=AUTH_HOSTS,
            )

    async def missed(self, account: Account, since: datetime) -> list[RawEvent]:
        """What people have sent to this address since then, oldest first, as Twilio would have posted it.

        Twilio lists less than it posts: no name, no id of a tapped button, no place. Raises SendError.
        """
        messages = self._client(account).messages
        listed = await self._api.call(
            messages.list_async(to=PREFIX + account.address, date_sent_after=since, limit=MOST_MISSED, page_size=PAGE)
        )
        if len(listed) >= MOST_MISSED:
            log.warning("more messages than one listing takes in: the oldest are not among them", account_id=account.id)
        # The list begins with the newest; its filter may know days only.
        moments = [(message.date_sent or message.date_created, message) for message in reversed(listed)]
        recent = [(sent_at, message) for sent_at, message in moments if sent_at is not None and sent_at >= since]
        return [
            await self._as_posted(account, message, sent_at)
            for sent_at, message in recent
            if message.direction == "inbound"
        ]

    async def close(self) -> None:
        """Close the connections to Twilio."""
        await self._api.close()

    def _client(self, account: Account) -> Client:
        return self._api.client(account.credentials)

    async def _create(self, account: Account, message: OutboundMessage, content: Mapping[str, Any]) -> str:
        service = account.credentials.get("messaging_service_sid")
        sender = {"messaging_service_sid": service} if service else {"from_": PREFIX + account.address}
        sent = await self._api.call(
            self._client(account).messages.create_async(
                to=_to(message),
                status_callback=f"{self._status_url}?delivery={message.delivery_id}",
                **sender,
                **content,
            )
        )
        return str(sent.sid)

    async def _as_posted(self, account: Account, message: Any, sent_at: datetime) -> RawEvent:
        media = await self._media_of(account, message)
        fields = {
            "MessageSid": message.sid,
            "AccountSid": message.account_sid,
            "SmsStatus": "received",
            "From": message.from_,
            "To": message.to,
            "Body": message.body or "",
            # Without a text or a file it was something that the list does not tell of.
            "MessageType": "" if message.body or media else "unsupported",
            "NumMedia": str(len(media)),
            SENT_AT: sent_at.isoformat(),
        }
        for number, (url, content_type) in enumerate(media):
            fields |= {f"MediaUrl{number}": url, f"MediaContentType{number}": content_type}
        body = urlencode({name: value for name, value in fields.items() if value}).encode()
        return raw_event(read_form(body), body, message.sid)

    async def _media_of(self, account: Account, message: Any) -> list[tuple[str, str]]:
        """The URLs and types of a listed message's files."""
        if str(message.num_media or "0") == "0":
            return []
        found = self._client(account).messages(message.sid).media
        listed = await self._api.call(found.list_async(limit=MOST_MEDIA))
        return [(API_URL + item.uri.removesuffix(".json"), item.content_type or "") for item in listed]


def _to(message: OutboundMessage) -> str:
    """By their number where it is known; a business-scoped user id serves as well."""
    return PREFIX + (message.phone or message.to)


def _template(account: Account, message: OutboundMessage) -> dict[str, Any]:
    template = message.template
    sid = template and template_id(account, template.name, template.language)
    if template is None or sid is None:
        name = template.name if template else ""
        raise TemplateRefused(
            f"there is no Content SID of an approved template {name}",
            remedy="make it with `recado templates create`, or name it under `templates` of this channel",
        )
    values = {str(n): value for n, value in enumerate(template.variables.values(), 1)}
    return {"content_sid": sid, "content_variables": json.dumps(values, ensure_ascii=False)}


def _free(message: OutboundMessage) -> dict[str, Any]:
    content: dict[str, Any] = {"media_url": [message.media.url]} if message.media else {}
    return content | ({"body": message.text} if message.text else {})


def _is_ours(account: Account, found: Any) -> bool:
    """Whether it went out from this account's number; one of a Messaging Service may not say yet from which."""
    service = account.credentials.get("messaging_service_sid")
    return found.from_ == PREFIX + account.address or (bool(service) and found.messaging_service_sid == service)


def _is_like(found: Any, message: OutboundMessage) -> bool:
    if message.template is not None:
        return True
    if message.media is not None and str(found.num_media or "0") == "0":
        return False
    body, text = (found.body or "").strip(), (message.text or "").strip()
    return body == text or (bool(message.buttons) and body.startswith(text))
