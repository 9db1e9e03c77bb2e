"""What the work in hand is about: ids that every log line, alert, span and written message carries from here on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from structlog.contextvars import bound_contextvars, get_contextvars

IDS = (
    "merchant_id",
    "conversation_id",
    "turn_id",
    "message_id",
    "delivery_id",
    "notification_id",
    "event_id",
    "trace_id",
)
"""The names that ids have wherever they appear."""


_KEPT = "recado_ids"


@contextmanager
def about(**ids: Any) -> Iterator[None]:
    """Within this block, and in the tasks that it starts, all that is told is about these. None is left out."""
    with bound_contextvars(**{name: value for name, value in ids.items() if value is not None}):
        try:
            yield
        except Exception as error:
            if not ids_of(error):
                error.__dict__[_KEPT] = known_ids()
            raise


def ids_of(error: Exception) -> dict[str, Any]:
    """What the work was about in which this was raised, for who catches it where that is over."""
    found: dict[str, Any] = error.__dict__.get(_KEPT, {})
    return found


def known_ids() -> dict[str, Any]:
    """The ids of what the work in hand is about."""
    bound = get_contextvars()
    return {name: bound[name] for name in IDS if name in bound}
