"""Reading the conversation API's answers: `{"type": "1" | "3", "message": str, "data": object | null}`, or none of it.

https://expressjs.com answers a wrong route with a 404 and HTML; proxies answer with pages of their own. None of that is
the API's word, so nothing follows from it but that the API could not be asked.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import httpx

from recado.errors import ConversationGone, SyncRejected, SyncUnavailable, WrongPrefix
from recado.text import mask_phone, shorten

LONGEST_MESSAGE = 300
LONGEST_PAUSE = 3600.0
"""Seconds. A server that asks for more is mistaken."""
_TYPES = ("1", "2", "3")
_FAILED = "3"
_INVALID = re.compile(r"validation failed|cast to", re.IGNORECASE)
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|\xed[\xa0-\xbf]")
_PHONE = re.compile(r"(?:\+|%2B)?\d{7,15}", re.IGNORECASE)
_VALUE = re.compile(r'(?<=value )".*"(?= \(type)|`[^`]*`(?= is not a valid)', re.DOTALL)

Clean = Callable[[str], str]
"""Takes secrets out of a text."""


def read_answer(response: httpx.Response, shown: str, clean: Clean) -> Any:
    """The `data` of a success. `shown` is the request's path as people may see it.

    Raises SyncUnavailable (WrongPrefix), SyncRejected or ConversationGone.
    """
    status = response.status_code
    if status in (401, 403):
        raise SyncUnavailable(
            f"the conversation API does not accept the key (HTTP {status}): check CARTAAI_API_KEY", "unauthorised"
        )
    if 300 <= status < 400:
        target = _place(clean(response.headers.get("location", "")))
        raise SyncUnavailable(
            f"the conversation API redirects to {target} (HTTP {status}): check CARTAAI_API_BASE_URL", "redirect"
        )
    if status == 429:
        wait = _retry_after(response.headers.get("retry-after", ""))
        raise SyncUnavailable("the conversation API asks for fewer requests", "rate_limited", retry_after=wait)
    envelope = _envelope(response.content)
    if envelope is None:
        _no_envelope(response, shown)
    if status < 300 and str(envelope["type"]) != _FAILED:
        return envelope.get("data")
    _refused(status, _said(envelope, clean))


def _envelope(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
        if _ESCAPED.search(body):
            found = _storable(found)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and str(found.get("type")) in _TYPES else None


def _storable(value: Any) -> Any:
    """`value` without what no database, and no other server, takes in a text: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    return value


def _no_envelope(response: httpx.Response, shown: str) -> NoReturn:
    status = response.status_code
    if status == 404:
        raise WrongPrefix(
            f"the conversation API has no route {shown} (HTTP 404): check CONVERSATION_API_PREFIX, "
            "or whether this server has that route",
            "wrong_prefix",
        )
    if status >= 500:
        raise _server_error(status, "")
    if status >= 400:
        raise SyncRejected(f"the conversation API refused the request (HTTP {status})", f"http_{status}", status)
    kind = response.headers.get("content-type", "no content type").partition(";")[0]
    raise SyncUnavailable(
        f"the conversation API's answer is not its JSON but {shorten(kind, 60)}: check CARTAAI_API_BASE_URL",
        "not_json",
        ambiguous=True,
    )


def _refused(status: int, message: str) -> NoReturn:
    if status == 404:
        raise ConversationGone(f"the conversation API has no such conversation: {message}", "gone")
    if _INVALID.search(message):
        raise SyncRejected(f"the conversation API finds the request invalid: {message}", "validation", status)
    if status >= 500 or status < 300:  # an error that calls itself a success says too little to give up for
        raise _server_error(status, message)
    raise SyncRejected(f"the conversation API refused the request (HTTP {status}): {message}", f"http_{status}", status)


def _server_error(status: int, message: str) -> SyncUnavailable:
    text = f"the conversation API failed (HTTP {status}){': ' + message if message else ''}"
    return SyncUnavailable(text, "http_5xx", ambiguous=status != 503)


def _said(envelope: dict[str, Any], clean: Clean) -> str:
    said = [text for text in (envelope.get("message"), envelope.get("error")) if isinstance(text, str)]
    return _without_people(clean(" ".join(said)))


def _without_people(text: str) -> str:
    """`text` without what a customer wrote, without phone numbers, and of bounded length."""
    hidden = _VALUE.sub("…", text)
    return shorten(_PHONE.sub(lambda found: mask_phone(found[0]), hidden), LONGEST_MESSAGE)


def _place(location: str) -> str:
    """An address without its query and user: only where it is."""
    if not location:
        return "nowhere"
    try:
        url = httpx.URL(location)
    except httpx.InvalidURL:
        return "an address that is none"
    return _without_people(f"{url.scheme}://{url.host}{url.path}" if url.host else url.path)


def _retry_after(value: str) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, section 10.2.3)."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_PAUSE)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_PAUSE)
