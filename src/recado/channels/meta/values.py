"""Values of Meta's JSON, taken with care: it comes from outside, and a database and an index have to hold it."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from recado.errors import MalformedEvent
from recado.text import clean_text

LONGEST_VALUE = 1_024
MOST_ITEMS = 100
DEEPEST = 8
USER_ID = re.compile(r"[!-~]{1,140}")
_ID = re.compile(r"[!-~]{1,512}")
_DIGITS = re.compile(r"\+?([0-9]{4,20})")
_SECONDS = re.compile(r"[0-9]{1,11}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,40}")

Json = Mapping[str, Any]


def object_of(parent: Json, name: str) -> Json:
    """The object of this name; an empty one where there is none."""
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[Json]:
    """The objects of a list, the first of them."""
    return [item for item in value[:MOST_ITEMS] if isinstance(item, dict)] if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """A text that may be stored; empty where it is none."""
    return clean_text(value) if isinstance(value, str) else ""


def strings_of(source: Json, *same: str, **named: str) -> dict[str, Any]:
    """Those texts that `source` has, under their names with us."""
    names = {**dict(zip(same, same, strict=True)), **named}
    return {ours: text for ours, theirs in names.items() if (text := text_of(source.get(theirs))[:LONGEST_VALUE])}


def numbers_of(source: Json, **named: str) -> dict[str, Any]:
    """Those numbers that `source` has, under their names with us."""
    return {ours: source[theirs] for ours, theirs in named.items() if is_number(source.get(theirs))}


def is_number(value: Any) -> bool:
    """Whether it is a number of a sensible size."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def word_of(value: Any) -> str:
    """One of the provider's words, or `unknown`."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "unknown"


def id_of(value: Any) -> str:
    """The id of a message. Raises MalformedEvent."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise MalformedEvent("a message has no id, or one that cannot be")
    return value


def quoted_id(value: Any) -> str | None:
    """The id of the message that another is about in passing; None where there is none that can be."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def phone_of(value: Any) -> str | None:
    """The number with its `+`, None where there are no digits."""
    found = _DIGITS.fullmatch(value) if isinstance(value, str) else None
    return f"+{found[1]}" if found else None


def moment_of(value: Any) -> datetime | None:
    """A moment given in seconds."""
    seconds = str(value) if isinstance(value, (str, int)) else ""
    return datetime.fromtimestamp(int(seconds), UTC) if _SECONDS.fullmatch(seconds) else None


def anything_of(value: Any, depth: int = DEEPEST) -> Any:
    """JSON of whatever shape, of which everything may be stored: cleaned, and cut where it is too deep or too long."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict) and depth:
        return {clean_text(name): anything_of(value[name], depth - 1) for name in list(value)[:MOST_ITEMS]}
    if isinstance(value, list) and depth:
        return [anything_of(item, depth - 1) for item in value[:MOST_ITEMS]]
    return value if isinstance(value, bool) or (is_number(value) and math.isfinite(value)) else None
