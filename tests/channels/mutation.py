"""What may become of a provider's payload on its way: values of other types, parts missing, doubled, huge, or torn."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1e308,
    2**63,
    10**400,
    "",
    " ",
    "\0",
    "\ud800",
    "x" * 5_000,
    "²",
    "٣",
    "1e3",
    "NaN",
    "../../etc/passwd",
    "2026-13-45",
    "whatsapp:",
    "🤷🏽‍♀️",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"id": {"id": []}},
)
Place = tuple[Any, Any]
"""A list or dict, and the index or key of one of its values."""


def places(node: Any) -> list[Place]:
    """Every value of a JSON document, by where it is."""
    found: list[Place] = []
    waiting = [node]
    while waiting:
        at = waiting.pop()
        keys = list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        for key in keys:
            found.append((at, key))
            waiting.append(at[key])
    return found


def mutate(document: Any, chance: random.Random) -> Any:
    """A copy of a JSON document with one to three changes."""
    copy = json.loads(json.dumps(document))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        found = places(copy)
        if not found:
            return copy
        chance.choice(CHANGES)(*chance.choice(found), found, chance)
    return copy


def _replace(at: Any, key: Any, _found: list[Place], chance: random.Random) -> None:
    at[key] = deepcopy(chance.choice(ODD))  # it may be changed itself


def _remove(at: Any, key: Any, _found: list[Place], _chance: random.Random) -> None:
    del at[key]


def _swap(at: Any, key: Any, found: list[Place], chance: random.Random) -> None:
    other, name = chance.choice(found)
    at[key] = json.loads(json.dumps(other[name]))


def _wrap(at: Any, key: Any, _found: list[Place], chance: random.Random) -> None:
    at[key] = chance.choice(([at[key]], {"value": at[key]}, [at[key], at[key]], str(at[key])))


def _rename(at: Any, key: Any, _found: list[Place], chance: random.Random) -> None:
    value = at.pop(key)
    if isinstance(at, dict):
        at[chance.choice(("x", "", key.upper(), "errors", "type"))] = value


CHANGES: tuple[Callable[[Any, Any, list[Place], random.Random], None], ...] = (
    _replace,
    _replace,
    _remove,
    _swap,
    _wrap,
    _rename,
)


def tear(payload: bytes, chance: random.Random) -> bytes:
    """The payload with bytes cut off, changed, or put in between."""
    at = chance.randrange(len(payload) + 1)
    match chance.randrange(4):
        case 0:
            return payload[:at]
        case 1:
            return payload[at:]
        case 2:
            return payload[:at] + chance.randbytes(chance.randrange(1, 5)) + payload[at:]
        case _:
            return payload[:at] + bytes([chance.randrange(256)]) + payload[at + 1 :]
