"""Texts that come from outside, made safe to store and to log."""

import re
import unicodedata

MAX_MESSAGE_CHARACTERS = 20_000
_SENTENCE_END = re.compile(r"(?<=[.!?…。？！؟])\s+|\n+")


def clean_text(text: str) -> str:
    """`text` without what a database or a screen cannot hold: control characters (but newline and tab), NUL and
    lone surrogates; in composed form, at most `MAX_MESSAGE_CHARACTERS` long.

    Emoji, right-to-left text and its marks stay as they were.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    return unicodedata.normalize("NFC", "".join(kept))[:MAX_MESSAGE_CHARACTERS]


def shorten(text: str, limit: int) -> str:
    """`text`, cut to `limit` characters with an ellipsis where it was longer."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def fold(text: str) -> str:
    """`text` for comparing: without case and accents."""
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def mask_phone(phone: str | None) -> str:
    """A phone number or channel user id as logs may show it: its ends only."""
    if not phone:
        return "-"
    return f"{phone[:3]}…{phone[-2:]}" if len(phone) > 6 else "…"


def split_text(text: str, limit: int) -> list[str]:
    """`text` in parts of at most `limit` characters, cut at a sentence end where there is one, else at a space.

    Nothing is lost: the parts joined hold every word of `text`, in order.
    """
    parts = []
    rest = text.strip()
    while len(rest) > limit:
        cut = _last_end(rest, limit)
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*parts, rest] if rest else parts


def _last_end(text: str, limit: int) -> int:
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, limit + 1) if match.start() <= limit]
    if ends and ends[-1] > limit // 4:
        return min(ends[-1], limit)
    space = text.rfind(" ", limit // 4, limit + 1)
    return space if space > 0 else limit
