"""Making texts fit: of the right size, without what would make them look like something else."""

import re
from bisect import bisect_right
from collections.abc import Callable

import httpx

from recado.text import clean_text, is_blank

LONGEST_URL = 2_048
_HOST = re.compile(rb"[A-Za-z0-9_.:-]+")
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the direction of what follows: a name with one of them rearranges the line around it."""
_MARKDOWN = re.compile(
    r"(?P<mark>[\\`*_~|<>\[\]()#@]|:(?=//)|^[ \t]*-)|(?P<number>^[ \t]*\d+)(?P<dot>[.)])", re.MULTILINE
)


def plain(text: str) -> str:
    """`text` as it may be shown next to ours. Empty when nothing of it can be seen."""
    kept = _TURNING.sub("", clean_text(text[:100_000])).strip()
    return "" if is_blank(kept) else kept


def one_line(text: str) -> str:
    """The same, without line ends."""
    return " ".join(plain(text).split())


def size(text: str) -> int:
    """How long a text is for whoever counts most: in UTF-16 code units, which are never fewer than characters."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def same(text: str) -> str:
    """`text` as it is."""
    return text


def fit(text: str, limit: int, write: Callable[[str], str] = same) -> str:
    """`text`, written by `write`, within `limit` by `size`; cut at a character of `text`, with an ellipsis then."""
    whole = write(text)
    if size(whole) <= limit:
        return whole
    most = min(len(text), limit)
    end = bisect_right(range(most + 1), limit - 1, key=lambda length: size(write(text[:length]))) - 1
    return write(text[: max(0, end)].rstrip()) + "…" if limit > 0 else ""


def escaped(text: str) -> str:
    """`text` as Discord's Markdown shows it: letter by letter, no link, no mention, no list. Addresses in it cannot be
    clicked, so that nobody sends the team anywhere."""
    return _MARKDOWN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    if found["number"]:
        dot = found["dot"]
        return f"{found['number']}\\{dot}"
    mark = found["mark"]
    return f"{mark[:-1]}\\{mark[-1]}"


def web_url(value: str | None) -> str | None:
    """`value`, where it is an http(s) address that shows where it leads; encoded so that it can stand in Markdown."""
    if not value or len(value) > LONGEST_URL:
        return None
    try:
        url = httpx.URL(value.strip())
    except (httpx.InvalidURL, UnicodeError):
        return None
    is_web = url.scheme in ("http", "https") and not url.userinfo and (url.port or 0) < 65_536
    if not is_web or not _HOST.fullmatch(url.raw_host):
        return None
    found = str(url)
    for mark, code in (("(", "%28"), (")", "%29"), ("<", "%3C"), (">", "%3E"), ("|", "%7C"), (" ", "%20")):
        found = found.replace(mark, code)
    return found if len(found) <= LONGEST_URL and found.isascii() and found.isprintable() else None
