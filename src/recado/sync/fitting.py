"""What the conversation API takes of what it is given: phone numbers in its form, and contexts of its size."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import structlog

from recado.errors import SyncRejected
from recado.merchants.schemas import e164
from recado.sync.documents import PREVIOUS_MESSAGES
from recado.text import mask_phone, shorten

_CONTEXT_KEY = re.compile(r"\bcontext\.(\w+)")

log = structlog.get_logger()


def normal_phone(phone: str, operation: str) -> str | None:
    """`phone` in E.164 form, from what channels give: with their scheme in front, with 00 or nothing for the plus."""
    bare = phone.strip().removeprefix("whatsapp:").strip()
    number = bare if bare.startswith("+") else f"+{bare.removeprefix('00')}"
    try:
        return e164(number)
    except ValueError:
        log.warning(
            "conversation sync error: not a phone number in E.164 form", operation=operation, phone=mask_phone(phone)
        )
        return None


def smaller_and_smaller(context: Mapping[str, Any] | None) -> Iterator[dict[str, Any] | None]:
    """`context` with at most the API's number of messages, then with less and less of them."""
    if context is None or not isinstance(context.get("previousMessages"), list):
        yield None if context is None else dict(context)
        return
    messages = context["previousMessages"]
    rest = {name: value for name, value in context.items() if name != "previousMessages"}
    for count, characters in ((PREVIOUS_MESSAGES, None), (8, None), (8, 500), (2, 200)):
        yield {**rest, "previousMessages": [_shortened(message, characters) for message in messages[-count:]]}
    yield rest


def _shortened(message: Any, characters: int | None) -> Any:
    if characters is None or not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
        return message
    return {**message, "content": shorten(message["content"], characters)}


def without_refused(context: Mapping[str, Any] | None, error: SyncRejected) -> dict[str, Any] | None:
    """`context` without the keys whose values the API finds invalid: it saves all of it or nothing. None: it names
    none of them."""
    named = _CONTEXT_KEY.findall(str(error)) if error.reason == "validation" else []
    refused = sorted({name for name in named if name in (context or {})})
    if context is None or not refused:
        return None
    log.warning("conversation sync error: the API takes the state only without these", keys=refused)
    return {name: value for name, value in context.items() if name not in refused}
