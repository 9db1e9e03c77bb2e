"""The form of a reply to a customer: what they read, and where they stand with that.

A model that is asked for the form may ignore it, or half obey. Whatever it gives, the message is found in it, and a
customer never reads JSON.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from recado.intents import INTENTS, Intent
from recado.text import clean_text, words

LONGEST_STEP = 40
DEEPEST = 20
"""How often JSON may hold JSON as its text. No model means that; what is below says nothing."""


class CustomerReply(BaseModel):
    """The reply to the customer, and where they stand now."""

    model_config = ConfigDict(extra="forbid")

    message: str = Field(description="What the customer reads")
    intent: Intent = Field(description="What the customer is about now")
    step: str = Field(description="How far they have come with it: one short word in snake_case")


RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": CustomerReply.__name__, "strict": True, "schema": CustomerReply.model_json_schema()},
}
"""The form as OpenAI's `response_format` has it: a strict schema."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said. `intent` and `step` are None where it named none that can be used."""

    message: str
    intent: Intent | None = None
    step: str | None = None


_DECODER = json.JSONDecoder(strict=False)
_START = re.compile(r"""\{\s*["'}]|\[\s*["'\[{\]]""")
_FENCE = re.compile(r"```\w*")
_MESSAGES = ("message", "reply", "response", "answer", "text", "content")
"""What models that have not been told otherwise call the text of a reply, the likeliest first."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def read_reply(text: str) -> Said:
    """What the model said, in the form or not. An empty message: it said nothing that a person could read."""
    return _read(text, DEEPEST)


def _read(text: str, left: int) -> Said:
    text = text.strip() if left else ""
    if fence := _FENCE.match(text):
        text = text[fence.end() :].removesuffix("```").strip()
    whole = _json(text)
    if isinstance(whole, dict | list | str) or text == "null":
        return _from_json(whole, left - 1)
    cleaned = clean_text(text).strip()
    return _read(cleaned, left - 1) if cleaned != text else _from_mixed(text, left - 1)


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        return []  # it is JSON, and no words of anybody
    except ValueError:
        return None


def _from_mixed(text: str, left: int) -> Said:
    """A text with JSON in it, or after it. What looks like JSON and cannot be read ends the text."""
    found: list[Any] = []
    around: list[str] = []
    place = 0
    while start := _START.search(text, place):
        around.append(text[place : start.start()])
        try:
            value, place = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            place = len(text)
        else:
            found.append(value)
    around.append(text[place:])
    if place == 0:
        return Said(text)
    said = _from_json(found, left, only_named=True)
    # What is left once the JSON is gone may be JSON itself, such as the quotes that were around it.
    return said if said.message else replace(said, message=_read(_FENCE.sub("", "".join(around)), left).message)


def _from_json(value: Any, left: int, *, only_named: bool = False) -> Said:
    """The message within JSON: under one of its names, or else the only text there is. It may be JSON once more."""
    objects, texts = _walk(value)
    named = (found[name] for name in _MESSAGES for found in objects if isinstance(found.get(name), str))
    only = texts[0] if len(texts) == 1 and not only_named else ""
    message = next((text for text in named if text.strip()), only)
    inner = _read(message, left)
    intents = [intent for found in objects if (intent := _intent(found.get("intent")))]
    steps = [step for found in objects if (step := _step(found.get("step")))]
    return Said(inner.message, [*intents, inner.intent][0], [*steps, inner.step][0])


def _walk(value: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """All objects within JSON, the outermost first and their keys in lower case, and all texts but intents."""
    objects: list[dict[str, Any]] = []
    texts: list[str] = []
    waiting = [value]
    for found in waiting:  # it grows meanwhile
        if isinstance(found, dict):
            lowered = {str(name).lower(): inner for name, inner in found.items()}
            objects.append(lowered)
            waiting.extend(inner for name, inner in lowered.items() if name not in {"intent", "step"})
        elif isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, str) and found.strip():
            texts.append(found)
    return objects, texts


def _intent(named: Any) -> Intent | None:
    wanted = named.strip().lower() if isinstance(named, str) else None
    return next((intent for intent in INTENTS if intent == wanted), None)


def _step(named: Any) -> str | None:
    """A step in snake_case; None where it cannot be one."""
    if not isinstance(named, str) or len(named) > 4 * LONGEST_STEP:
        return None
    step = "_".join(words(_HUMP.sub("_", named)))
    return step if step and step.isascii() and len(step) <= LONGEST_STEP else None
