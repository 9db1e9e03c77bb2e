"""Buttons and lists through Twilio: Contents, which are made once and filled in with each send.

In WhatsApp's window such a content needs no approval. Limits and which parts may be variables:
https://www.twilio.com/docs/content/twilio-quick-reply and …/twiliolist-picker.
"""

import asyncio
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import structlog

from recado.channels.base import OutboundMessage, template_id
from recado.channels.twilio.http import TwilioApi
from recado.errors import AccountRefused, SendError
from recado.merchants.account import Account
from recado.text import shorten

log = structlog.get_logger(__name__)

CONTENT_URL = "https://content.twilio.com/v1/Content"
SEARCH_URL = "https://content.twilio.com/v2/Content"
"""Only the second version of the API searches, by a regular expression for the name."""

BODY_LIMIT = 1_024
"""The longest text of a content with buttons, in characters."""
MOST_BUTTONS = 3
"""Within the window, without approval."""
MOST_ROWS = 10
LONGEST_ID = 200
LONGEST_BUTTON_TITLE = 20
LONGEST_ROW_TITLE = 24
LONGEST_DESCRIPTION = 72
CHOOSE: Mapping[str, str] = {"es": "Ver opciones", "en": "See options", "pt": "Ver opções", "fr": "Voir les choix"}
"""The label of what opens a list, by language; at most 20 characters."""

_NO_VALUE = re.compile(r"[\n\r\t]|\s{5}")
"""What Twilio takes in no variable of a content (63013)."""

Filled = Mapping[str, str]
"""A content as a send names it: `content_sid` and `content_variables`."""


class Contents:
    """The contents of all accounts, by their shapes: how many buttons or rows. Everything else is a variable."""

    def __init__(self, api: TwilioApi) -> None:
        self._api = api
        self._sids: dict[tuple[str, str], str] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def fill(self, account: Account, message: OutboundMessage) -> Filled | None:
        """The content that carries this text with its buttons; None where it must go as plain text.

        A content that the operator has named for a button (`answer_button`) goes before our own. Raises AccountRefused.
        """
        text, buttons = message.text, message.buttons
        if not buttons or not text or len(text) > BODY_LIMIT or _NO_VALUE.search(text):
            return None
        if len(buttons) == 1:
            named = template_id(account, f"{buttons[0]['id']}_button", message.language or "")
            if named is not None:
                return _filled(named, [text])
        if len(buttons) > MOST_ROWS or any(len(button["id"]) > LONGEST_ID for button in buttons):
            return None
        shape, values = _quick_reply(text, buttons) if len(buttons) <= MOST_BUTTONS else _list(message)
        try:
            sid = await self._sid(account, shape)
        except AccountRefused:
            raise
        except SendError as error:
            # The text is what matters, and nothing of it was sent yet.
            log.warning("no content for buttons, the text goes without", account_id=account.id, error=str(error))
            return None
        return _filled(sid, values)

    def forget(self, account: Account, sid: str) -> None:
        """Twilio does not know (or take) this content any more."""
        key = next((key for key, known in self._sids.items() if known == sid and key[0] == _owner(account)), None)
        if key is not None:
            del self._sids[key]

    async def _sid(self, account: Account, shape: Mapping[str, Any]) -> str:
        """The SID of the content of this shape: known, found by its name, or made. Raises SendError."""
        name = f"recado_{hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]}"
        key = (_owner(account), name)
        async with self._locks[key]:
            if key not in self._sids:
                self._sids[key] = await self._find(account, name) or await self._make(account, name, shape)
            return self._sids[key]

    async def _find(self, account: Account, name: str) -> str | None:
        url = f"{SEARCH_URL}?PageSize=50&ContentName={quote(name)}"
        answer = await self._api.json_call(account.credentials, "GET", url)
        listed = answer.get("contents")
        for content in listed if isinstance(listed, list) else []:
            if isinstance(content, dict) and content.get("friendly_name") == name and content.get("sid"):
                return str(content["sid"])
        return None

    async def _make(self, account: Account, name: str, shape: Mapping[str, Any]) -> str:
        body = {"friendly_name": name, "language": "en", **shape}
        made = await self._api.json_call(account.credentials, "POST", CONTENT_URL, body)
        log.info("made a content for buttons", account_id=account.id, content=name)
        return str(made.get("sid"))


def _owner(account: Account) -> str:
    return str(account.credentials["account_sid"])


def _filled(sid: str, values: Sequence[str]) -> Filled:
    variables = {str(number): value for number, value in enumerate(values, 1)}
    return {"content_sid": sid, "content_variables": json.dumps(variables, ensure_ascii=False)}


def _quick_reply(text: str, buttons: Sequence[Mapping[str, str]]) -> tuple[dict[str, Any], list[str]]:
    actions, values = [], [text]
    for button in buttons:
        actions.append({"type": "QUICK_REPLY", "title": _next(values, 1), "id": _next(values, 2)})
        values += [_line(button["title"], LONGEST_BUTTON_TITLE), button["id"]]
    return _shape("twilio/quick-reply", {"body": "{{1}}", "actions": actions}, len(values)), values


def _list(message: OutboundMessage) -> tuple[dict[str, Any], list[str]]:
    items, values = [], [message.text or "", CHOOSE.get(message.language or "", CHOOSE["en"])]
    for button in message.buttons:
        items.append({"item": _next(values, 1), "id": _next(values, 2), "description": _next(values, 3)})
        described = button.get("description") or button["title"]  # Twilio wants one, and no variable may be empty
        values += [_line(button["title"], LONGEST_ROW_TITLE), button["id"], _line(described, LONGEST_DESCRIPTION)]
    return _shape("twilio/list-picker", {"body": "{{1}}", "button": "{{2}}", "items": items}, len(values)), values


def _shape(kind: str, content: dict[str, Any], count: int) -> dict[str, Any]:
    # Each variable needs an example.
    return {"variables": {str(number): f"v{number}" for number in range(1, count + 1)}, "types": {kind: content}}


def _next(values: Sequence[str], offset: int) -> str:
    return f"{{{{{len(values) + offset}}}}}"


def _line(text: str, limit: int) -> str:
    return shorten(" ".join(text.split()), limit)
