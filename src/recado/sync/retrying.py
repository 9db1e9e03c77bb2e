"""Which failed calls are made again, and when."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from recado.errors import SyncUnavailable

LONGEST_WAIT = 10.0
"""Seconds. Whoever asks for a longer pause is not asked again within the same call."""
_PASSING = frozenset({"refused", "timeout", "cut", "http_5xx", "rate_limited"})
_UNSENT = frozenset({"refused", "timeout", "cut"})

T = TypeVar("T")
Rule = Callable[[Exception], bool | float]
"""Whether a call that failed so is made again, or after how many seconds."""


async def again(once: Callable[[], Awaitable[T]], retries: int, rule: Rule) -> T:
    """The result of `once`, which is called up to `retries` times more."""
    if not retries:
        return await once()
    async for attempt in stamina.retry_context(on=rule, attempts=retries + 1, timeout=None):
        with attempt:
            return await once()
    raise AssertionError("stamina raises what the last attempt raised")


def if_passing(error: Exception) -> bool | float:
    """For calls that may be made twice."""
    if not isinstance(error, SyncUnavailable) or error.reason not in _PASSING:
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= LONGEST_WAIT else False


def if_unsent(error: Exception) -> bool:
    """For calls that must not be made twice: only what certainly has not reached the server."""
    return isinstance(error, SyncUnavailable) and error.reason in _UNSENT and not error.ambiguous
