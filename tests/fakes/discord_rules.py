"""What Discord refuses in a webhook's message, worded as its errors are.

Limits: https://docs.discord.com/developers/resources/message#embed-object-embed-limits. Lengths are counted in code
points and in UTF-16 code units, and the greater one counts: stricter than Discord is said to be.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.recorder import JsonObject

Mistake = tuple[str, str]
"""(path, code)."""

LIMITS = {"title": 256, "description": 4096, "fields": 25, "name": 256, "value": 1024, "footer": 2048, "author": 256}
WHOLE = 6000


def mistakes_in(body: Any) -> JsonObject:
    """As the `errors` of Discord's answer: {"embeds": {"0": {"title": {"_errors": [{"code", "message"}]}}}}."""
    errors: JsonObject = {}
    for path, code in _found(body):
        place = errors
        for name in path.split("."):
            place = place.setdefault(name, {})
        place.setdefault("_errors", []).append({"code": code, "message": code.lower()})
    return errors


def length(text: str) -> int:
    return max(len(text), len(text.encode("utf-16-le")) // 2)


def _found(body: Any) -> Iterator[Mistake]:
    if not isinstance(body, dict):
        yield "body", "MODEL_TYPE_CONVERT"
        return
    embeds = body.get("embeds", [])
    if not embeds and not body.get("content", "").strip():
        yield "body", "EMPTY_MESSAGE"
    if length(body.get("content", "")) > 2000:
        yield "content", "BASE_TYPE_MAX_LENGTH"
    if len(embeds) > 10:
        yield "embeds", "BASE_TYPE_MAX_LENGTH"
    mentions = body.get("allowed_mentions", {})
    if set(mentions) - {"parse", "roles", "users", "replied_user"} or set(mentions.get("parse", [])) - {"users"}:
        yield "allowed_mentions", "ENUM_TYPE_COERCE"
    for number, embed in enumerate(embeds):
        yield from ((f"embeds.{number}.{path}", code) for path, code in _in_embed(embed))
    if sum(map(_whole, embeds)) > WHOLE:
        yield "embeds", "MAX_EMBED_SIZE_EXCEEDED"


def _in_embed(embed: JsonObject) -> Iterator[Mistake]:
    checks: dict[str, Callable[[Any], str | None]] = {
        "title": lambda text: _text(text, LIMITS["title"]),
        "description": lambda text: _text(text, LIMITS["description"]),
        "url": _url,
        "color": lambda color: None if type(color) is int and 0 <= color <= 0xFFFFFF else "INT_TYPE_RANGE",
        "timestamp": _timestamp,
        "footer": lambda footer: _text(footer["text"], LIMITS["footer"]),
        "author": lambda author: _text(author["name"], LIMITS["author"]),
        "fields": lambda fields: None if len(fields) <= LIMITS["fields"] else "BASE_TYPE_MAX_LENGTH",
    }
    for name, value in embed.items():
        code = checks[name](value) if name in checks else "UNKNOWN_FIELD"
        if code:
            yield name, code
    for number, field in enumerate(embed.get("fields", [])):
        for name in ("name", "value"):
            code = _text(field.get(name, ""), LIMITS[name])
            if code:
                yield f"fields.{number}.{name}", code


def _text(text: Any, limit: int) -> str | None:
    if not isinstance(text, str) or not text.strip():
        return "BASE_TYPE_REQUIRED"
    return "BASE_TYPE_MAX_LENGTH" if length(text) > limit else None


def _url(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return "URL_TYPE_INVALID_SCHEME"
    is_public = parts.hostname is not None and "." in parts.hostname.strip(".") and " " not in url
    return None if is_public and length(url) <= 2048 else "URL_TYPE_INVALID_URL"


def _timestamp(text: str) -> str | None:
    try:
        return None if datetime.fromisoformat(text).tzinfo else "DATE_TIME_TYPE_PARSE"
    except ValueError:
        return "DATE_TIME_TYPE_PARSE"


def _whole(embed: JsonObject) -> int:
    texts = [embed.get("title", ""), embed.get("description", "")]
    texts += [embed.get("footer", {}).get("text", ""), embed.get("author", {}).get("name", "")]
    texts += [field[name] for field in embed.get("fields", []) for name in ("name", "value")]
    return sum(map(length, texts))
