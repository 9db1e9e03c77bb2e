"""Texts that come from outside, made safe to store and to log."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable

MAX_MESSAGE_CHARACTERS = 20_000
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that show nothing by themselves (Unicode's default ignorable ones, and blanks that are no white space)."""
_PHONE = re.compile(
    r"[A-Z]{0,2}[0-9a-f]{32}"  # an id: shown as it is
    r"|((?:\+|%2[Bb])\d(?:[ ().\-\u00a0]{0,2}\d){6,14}"
    r"|(?:(?<!\d)(?<!\d\.)|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))\d{10,15}(?!\d)(?!\.\d))"
)
_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"(?<=[.!?…。？！؟])\s+|\n+")


def clean_text(text: str) -> str:
    """`text` without what a database or a screen cannot hold: control characters (but newline and tab), NUL and
    lone surrogates; in composed form, at most `MAX_MESSAGE_CHARACTERS` long.

    Emoji, right-to-left text and its marks stay as they were.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    return unicodedata.normalize("NFC", "".join(kept))[:MAX_MESSAGE_CHARACTERS]


def is_blank(text: str) -> bool:
    """Whether nothing of `text` can be seen: spaces, control characters, joiners, marks without a letter."""
    return not any(
        unicodedata.category(c)[0] not in "ZM" and unicodedata.category(c) not in {"Cc", "Cf", "Cs"}
        for c in UNSEEN.sub("", text)
    )


def shorten(text: str, limit: int) -> str:
    """`text`, cut to `limit` characters with an ellipsis where it was longer."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def fold(text: str) -> str:
    """`text` for comparing: without case and accents."""
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def words(text: str) -> list[str]:
    """The words of `text`, letters and digits only, without case and accents."""
    return _WORD.findall(fold(text))


def searchable(*texts: str) -> str:
    """`texts` as the database searches them: their words, with one space between any two."""
    return " ".join(words("\n".join(texts)))


def comparable(text: str) -> str:
    """`text` for telling whether two are the same: without case, accents and extra spaces."""
    return " ".join(fold(text).split())


def mask_phone(phone: str | None) -> str:
    """A phone number or channel user id as logs may show it: its ends only."""
    if not phone:
        return "-"
    return f"{phone[:3]}…{phone[-2:]}" if len(phone) > 6 else "…"


def mask_phones(text: str) -> str:
    """`text`, with the phone numbers in it as logs may show them: after a plus, or ten digits and more."""
    return _PHONE.sub(lambda found: mask_phone(found[1]) if found[1] else found[0], text)


def split_text(text: str, limit: int, size: Callable[[str], int] = len) -> list[str]:
    """`text` in parts of at most `limit` by `size` (characters), cut at a sentence end where there is one, else at a
    space.

    Nothing is lost: the parts joined hold every word of `text`, in order.
    """
    parts = []
    rest = text.strip()
    while size(rest) > limit:
        cut = _last_end(rest, _longest(rest, limit, size))
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*parts, rest] if rest else parts


def _longest(text: str, limit: int, size: Callable[[str], int]) -> int:
    """How many of the first characters of `text` are within `limit`; at least one."""
    if size is len:
        return limit
    # No character is smaller than one, so the longest start that fits is found by halving.
    return max(1, bisect_right(range(limit + 1), limit, key=lambda end: size(text[:end])) - 1)


def _last_end(text: str, limit: int) -> int:
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, limit + 1) if match.start() <= limit]
    if ends and ends[-1] > limit // 4:
        return min(ends[-1], limit)
    space = text.rfind(" ", limit // 4, limit + 1)
    return space if space > 0 else limit
