"""Values of any kind as the plain JSON that the conversation API takes. None: there is nothing that it would take."""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

DEEPEST = 20
"""Objects within objects below this level are left out: MongoDB takes 100, and a cycle has no end."""
LARGEST_INTEGER = 2**53
"""JavaScript holds no whole number above it."""


def as_moment(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, as JavaScript writes it."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_timestamp(value: Any) -> str | None:
    """A moment, or the ISO 8601 text of one."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return as_moment(moment) if isinstance(moment, datetime) else None
    except (ValueError, OverflowError):
        return None


def as_text(value: Any) -> str | None:
    """A text that says something; an id may be a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) <= LARGEST_INTEGER else None
    return value.strip() or None if isinstance(value, str) else None


def as_number(value: Any) -> int | float | None:
    """A finite number, or the text of one."""
    if isinstance(value, str):
        try:
            exact = Decimal(value.strip())
        except InvalidOperation:
            return None
        whole = exact.is_finite() and abs(exact) <= LARGEST_INTEGER and exact == int(exact)
        value = int(exact) if whole else exact
    found = as_plain(value)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def as_plain(value: Any, depth: int = 0) -> Any:
    """Anything as JSON."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_INTEGER else None
    if isinstance(value, float | Decimal):
        # float() of a signalling NaN raises.
        return float(value) if math.isfinite(value) and math.isfinite(float(value)) else None
    if isinstance(value, date):
        return as_moment(value) if isinstance(value, datetime) else value.isoformat()
    return _within(value, depth + 1) if depth < DEEPEST else None


def _within(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {str(name): as_plain(inner, depth) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(inner, depth) for inner in value]
    return str(value)


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
