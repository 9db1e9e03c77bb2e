"""What a log line must not show: secrets never; phone numbers and people's words unless that is asked for."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, Literal
from urllib.parse import quote, quote_plus

from structlog.typing import EventDict

from recado.text import mask_phones

SECRET = "[secret]"  # noqa: S105 - it stands where one was
SHORTEST_SECRET = 6
"""What is shorter cannot be told from an ordinary word."""
DEEPEST = 8
"""How far into nested values it looks; what is deeper is shown as text."""

_WORDS = (
    "agent_response_to_customer answer answer_json answers arguments body buttons caption completion "
    "content contents customer_response_text document draft_text first_name greeting history input "
    "last_name lead_name message message_to_customer message_to_staff messages name other_data output "
    "payload profile_name prompt question questions quote quoted replies reply resolution_notes subject "
    "summary support_request_reason text texts transcript variables words"
)
WORDS = frozenset(_WORDS.split())
"""Keys whose values are people's words, or written for them."""
WORD_ENDS = ("_text", "_body", "_content", "_transcript", "_question", "_answer")

SECRETS = frozenset(
    ["api_key", "apikey", "authorization", "cookie", "credentials", "password", "private_key", "secret", "secret_key"]
)
SECRET_ENDS = ("token", "_secret", "_password", "_api_key", "_apikey", "signature", "_cookie", "_credentials")

IDS = frozenset(("trace_id", "trace", "fingerprint"))
"""Keys of ids of ours that look like a provider's token, or of addresses that have one in them."""

_PLAIN_KEY = re.compile(r"[a-z_]+")
_HEX_32 = re.compile(r"[0-9a-f]{32}")
# A token begins after anything but a letter or digit; what looks like one there may be the end of an escape.
_START = r"(?:(?<![0-9A-Za-z])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))"
_NAMED = (
    r"(?:access_?token|auth_?token|api_?key|app_?secret|client_?secret|secret_?key|verify_?token|signature|\bsig|passw(?:or)?d"
    r"|\bpwd|secret|token|authorization|x-[a-z-]*(?:signature|key|token)(?:-256)?)"
)
_QUOTE = r"(?:\\*[\"'])"
_TOKENS = (
    re.compile(r"((?:bearer|basic)(?:[ \t:=]|%20)+)[\w.~+/=%-]{8,}", re.IGNORECASE),
    re.compile(_START + r"()(?:sk-|xox[a-z]-)[\w-]{8,}|(?:EAA|IGAA|IGQ|lin_api_|lin_oauth_|rcd_)[\w-]{8,}"),
    re.compile(r"((?:/webhooks/\d+/)|(?:hooks\.slack\.com/[a-z]+/))[\w./-]+"),
    re.compile(r"(://[^\s/:@]*:)[^\s/]+(?=@)"),
    re.compile(
        rf"({_NAMED}(?:{_QUOTE}?\s*(?:=|%3D)\s*{_QUOTE}?|{_QUOTE}\s*:\s*{_QUOTE}?))(?!\[secret)[^\s\"'&,;)}}\]]+",
        re.IGNORECASE,
    ),
    # Without quotes, what follows a colon is a token only when it is too long for a word of ours.
    re.compile(rf"({_NAMED}:\s*)[\w.~+/=%-]{{16,}}", re.IGNORECASE),
)
"""Each shows what its first group holds, and hides the rest."""
_AUTH_TOKEN = re.compile(_START + r"[0-9a-fA-F]{32}(?![0-9A-Za-z])")
"""Twilio's; and our own trace ids look the same."""

_GIVEN = re.compile(r"(?<=input_value=).*?(?=, input_type=)|(?<=from completion ).*?(?=\. Got:)", re.DOTALL)
"""What pydantic and LangChain say that they were given: a model's words, or a person's."""
_NEEDLE_WORDS = (
    "token secret sig key auth passw pwd bearer basic webhooks slack completion sk- xox eaa iga igq lin_ rcd_"
)
_NEEDLES = ("=", "://", "%2", *_NEEDLE_WORDS.split())
_DIGITS = re.compile(r"\d{7}|\+\d|[0-9a-fA-F]{32}")
"""A text without any of these holds nothing to hide: most have none."""


class Masking:
    """A structlog processor. `secrets`: hidden wherever they stand. `masked`: hide phone numbers and words as well."""

    def __init__(self, secrets: Iterable[str] = (), *, masked: bool = True) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        self._known = sorted(forms, key=len, reverse=True)
        self._masked = masked

    def __call__(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        trace_id = entry.get("trace_id")
        seen = trace_id if isinstance(trace_id, str) else ""
        return {self._key(key): self._field(key, value, seen, 0) for key, value in entry.items()}

    def text(self, text: str, trace_id: str = "") -> str:
        """`text` as a log may show it. `trace_id` may stand in it."""
        for secret in self._known_in(text):
            text = text.replace(secret, SECRET)
        low = text.lower()
        if not any(needle in low for needle in _NEEDLES) and not _DIGITS.search(text):
            return text
        for pattern in _TOKENS:
            text = pattern.sub(_hide, text)
        text = _AUTH_TOKEN.sub(partial(_hide_unless, trace_id), text)
        if self._masked:
            text = mask_phones(_GIVEN.sub("[hidden]", text))
        return text

    def _field(self, key: str, value: Any, trace_id: str, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        holds = _held_under(key)
        if holds == "secret":
            return SECRET
        if holds == "id" and isinstance(value, str) and (found := _HEX_32.search(value)):
            return self.text(value, found[0])
        if holds == "words" and self._masked and not isinstance(value, int | float):
            return _length(value)
        return self._value(value, trace_id, depth)

    def _key(self, key: str) -> str:
        return key if _PLAIN_KEY.fullmatch(key) and not self._known_in(key) else self.text(key)

    def _value(self, value: Any, trace_id: str, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value, trace_id)
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if -(10**9) < value < 10**9 else self._number(value)
        if depth < DEEPEST and isinstance(value, Mapping):
            return {
                self._key(_shown(key)): self._field(_shown(key), each, trace_id, depth + 1)
                for key, each in value.items()
            }
        if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
            return [self._value(each, trace_id, depth + 1) for each in value]
        return self.text(_shown(value), trace_id)

    def _known_in(self, text: str) -> list[str]:
        return [secret for secret in self._known if secret in text]

    def _number(self, value: int) -> int | str:
        text = str(value)
        shown = self.text(text)
        return value if shown == text else shown


def _forms(secret: str) -> set[str]:
    """A secret as it may stand in a text: as it is, in a URL, in JSON, in a Python literal."""
    return {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}


@lru_cache(maxsize=1_000)
def _held_under(key: str) -> Literal["secret", "words", "id", "other"]:
    """What values under this key are."""
    plain = key.lower().replace("-", "_")
    if plain in SECRETS or plain.endswith(SECRET_ENDS):
        return "secret"
    if plain in WORDS or plain.endswith(WORD_ENDS):
        return "words"
    return "id" if plain in IDS else "other"


def _hide(found: re.Match[str]) -> str:
    return (found[1] or "") + SECRET


def _hide_unless(trace_id: str, found: re.Match[str]) -> str:
    return found[0] if found[0] == trace_id else SECRET


def _length(value: Any) -> str:
    if isinstance(value, str):
        return f"[{len(value)} characters]"
    if isinstance(value, bytes | bytearray):
        return f"[{len(value)} bytes]"
    return f"[{len(value)} entries]" if isinstance(value, Mapping | list | tuple | set | frozenset) else "[hidden]"


def _shown(value: object) -> str:
    """A value as text. Never raises: a log line must not end the work that it is about."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - whatever an object's own `repr` does
        return f"<{type(value).__name__}>"
