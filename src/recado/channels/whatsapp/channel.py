"""WhatsApp through Meta's Cloud API: webhooks in, Graph calls out.

Facts of the wire are Meta's: developers.facebook.com/documentation/business-messaging/whatsapp (messages, templates,
media, business-scoped user ids); the calls are pywa's.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from recado.channels.base import (
    Attachment,
    Event,
    InboundMessage,
    OutboundMedia,
    OutboundMessage,
    Template,
    template_id,
)
from recado.channels.download import fetch_file, file_client
from recado.channels.management import provider_language
from recado.channels.meta.http import trusted
from recado.channels.whatsapp.client import WhatsAppClients, calling
from recado.channels.whatsapp.payloads import OPAQUE, parse_payload
from recado.clock import Clock
from recado.errors import MediaRefused, Permanent, Retryable, TemplateRefused
from recado.merchants.account import Account
from recado.text import shorten

TOKEN_HOSTS = frozenset({"graph.facebook.com", "lookaside.fbsbx.com"})
"""Which of Meta's hosts ask for the token before they give a file."""

POSITIONAL = "positional:"
"""Before the name of a template whose variables Meta knows by number."""

BODY_LIMIT = 1_024
"""The longest text with buttons, and the longest caption."""
MOST_BUTTONS, MOST_ROWS = 3, 10
BUTTON_TITLE, ROW_TITLE, ROW_DESCRIPTION = 20, 24, 72
LONGEST_BUTTON_ID = 256

LIST_LABELS: Mapping[str, str] = {"es": "Ver opciones", "en": "See options", "pt": "Ver opções", "fr": "Voir les choix"}
"""What opens a list, by language."""

Content = tuple[str, dict[str, Any]]
"""A message's type, and what is in it, as Meta takes them."""


class WhatsAppChannel:
    """The adapter. `reconcile_seconds`: how long after a send its status may still tell that Meta took it."""

    kind = "whatsapp"

    def __init__(
        self,
        graph_base_url: str,
        api_version: str,
        timeout_seconds: float,
        reconcile_seconds: float,
        clock: Clock,
    ) -> None:
        self._clients = WhatsAppClients(graph_base_url, api_version, timeout_seconds)
        self._files = trusted(graph_base_url)
        self._timeout_seconds = timeout_seconds
        self._reconcile = timedelta(seconds=reconcile_seconds)
        self._clock = clock

    def parse(self, payload: bytes) -> Event:
        """Read a stored part of a webhook's post. Raises MalformedEvent."""
        return parse_payload(payload)

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Mark as read and show typing, in Meta's one call for both. Raises SendError."""
        async with calling():
            api = self._clients.of(account).api
            await api.set_indicator(account.address, message.provider_message_id, "text")

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Send, and return the message's id. Raises SendError."""
        kind, content = _content(account, message)
        async with calling():
            answer = await self._clients.of(account).api.send_message(
                sender=account.address,
                **_recipient(message),
                recipient_type="individual",
                typ=kind,
                msg=content,
                biz_opaque_callback_data=f"{OPAQUE}{message.delivery_id}",
            )
            sent = answer["messages"][0]["id"]
            if not isinstance(sent, str) or not sent:
                raise TypeError("the message that was taken has no id")
        return sent

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        """Nothing, once the time for statuses has passed: Meta has no lookup, but its statuses name our delivery.

        Raises Retryable until then.
        """
        left = since + self._reconcile - self._clock.now()
        if left > timedelta(0):
            raise Retryable("a status may still tell whether WhatsApp took it", retry_after=left.total_seconds())
        return []

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        """Write a file that a person sent into `file`: its id leads to an address, which serves for five minutes.

        Raises MediaRefused and SendError.
        """
        async with calling():
            found = await self._clients.of(account).api.get_media_url(attachment.source)
            url, size, told = str(found["url"]), found.get("file_size"), found.get("mime_type")
        if isinstance(size, int) and size > limit:
            raise MediaRefused(f"larger than {limit} bytes")
        headers = {"Authorization": f"Bearer {account.credentials['access_token']}"}
        async with file_client(self._timeout_seconds) as client:
            content_type = await fetch_file(
                client,
                url,
                trusted=self._files,
                file=file,
                limit=limit,
                headers=headers,
                auth_hosts=TOKEN_HOSTS,
            )
        return content_type or (told if isinstance(told, str) else None)

    async def close(self) -> None:
        """Close the connections to Meta."""
        await self._clients.close()


def _recipient(message: OutboundMessage) -> dict[str, str | None]:
    """By number where it is known: not every kind of message goes to a user id."""
    phone = message.phone or (message.to if message.to.startswith("+") else None)
    if phone is not None:
        return {"to": phone.removeprefix("+"), "recipient": None}
    return {"to": None, "recipient": message.to}


def _content(account: Account, message: OutboundMessage) -> Content:
    if message.template is not None:
        return "template", _template(account, message.template)
    text = message.text or ""
    if message.media is not None:
        return _media(message.media, text)
    return _interactive(message, text) or ("text", {"body": text, "preview_url": False})


def _template(account: Account, template: Template) -> dict[str, Any]:
    entry = template_id(account, template.name, template.language)
    if not entry:
        raise TemplateRefused(
            f"WhatsApp has approved no template {template.name} in {template.language} for this account",
            remedy="create it with `recado templates create`",
        )
    is_named = not entry.startswith(POSITIONAL)
    values = [
        {"type": "text", **({"parameter_name": name} if is_named else {}), "text": value}
        for name, value in template.variables.items()
    ]
    buttons = [
        {
            "type": "button",
            "sub_type": "quick_reply",
            "index": str(index),
            "parameters": [{"type": "payload", "payload": button["id"]}],
        }
        for index, button in enumerate(template.buttons)
    ]
    return {
        "name": entry.removeprefix(POSITIONAL),
        "language": {"code": provider_language(template.language)},
        "components": [*([{"type": "body", "parameters": values}] if values else []), *buttons],
    }


def _media(media: OutboundMedia, text: str) -> Content:
    if len(text) > BODY_LIMIT:
        raise Permanent(f"a file's text has more than {BODY_LIMIT} characters", remedy="send the text by itself")
    # Sound has no caption, but any file can go as a document.
    kind = "document" if media.kind == "audio" and text else media.kind
    content = {"link": media.url}
    if text:
        content["caption"] = text
    if kind == "document" and media.filename:
        content["filename"] = media.filename
    return kind, content


def _interactive(message: OutboundMessage, text: str) -> Content | None:
    """The text with its buttons, or with its list; None where it has none, or WhatsApp would not take them."""
    buttons = message.buttons[:MOST_ROWS]
    if not buttons or not 0 < len(text) <= BODY_LIMIT:
        return None
    if any(not 0 < len(button["id"]) <= LONGEST_BUTTON_ID or not button["title"].strip() for button in buttons):
        return None
    if len(buttons) <= MOST_BUTTONS:
        replies = [{"type": "reply", "reply": _button(button)} for button in buttons]
        return "interactive", {"type": "button", "body": {"text": text}, "action": {"buttons": replies}}
    label = LIST_LABELS.get(message.language or "", LIST_LABELS["en"])
    action = {"button": label, "sections": [{"rows": [_row(button) for button in buttons]}]}
    return "interactive", {"type": "list", "body": {"text": text}, "action": action}


def _button(button: Mapping[str, str]) -> dict[str, str]:
    return {"id": button["id"], "title": shorten(button["title"], BUTTON_TITLE)}


def _row(button: Mapping[str, str]) -> dict[str, str]:
    row = {"id": button["id"], "title": shorten(button["title"], ROW_TITLE)}
    description = button.get("description", "").strip()
    return row | ({"description": shorten(description, ROW_DESCRIPTION)} if description else {})
