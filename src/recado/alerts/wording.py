"""What every channel says of an alert, in plain text; each then writes it in its own format."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recado.alerts.conditions import SeverityLevel
from recado.alerts.notice import Notice

EMOJI: Mapping[SeverityLevel, str] = MappingProxyType(
    {SeverityLevel.ERROR: "🚨", SeverityLevel.WARNING: "⚠️", SeverityLevel.INFO: "ℹ️"}
)
COLOURS: Mapping[SeverityLevel, int] = MappingProxyType(
    {SeverityLevel.ERROR: 0xE53935, SeverityLevel.WARNING: 0xFB8C00, SeverityLevel.INFO: 0x1E88E5}
)
"""Red, orange and blue, as 0xRRGGBB."""


def zone_of(name: str) -> ZoneInfo:
    """The timezone of this name. UTC where there is none: `problems_of` tells of that."""
    return find_zone(name) or ZoneInfo("UTC")


def find_zone(name: str) -> ZoneInfo | None:
    """The timezone of this name. None: there is none."""
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the timezone database is no timezone
        return None


def aware(moment: datetime) -> datetime | None:
    """`moment` in UTC; a naive one is taken for that. None: it is too near the calendar's ends to be told anywhere."""
    try:
        known = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return known if 1 < known.year < 9999 else None


def local_time(moment: datetime, zone: ZoneInfo) -> str:
    """`moment`, which is aware, as a clock on the team's wall shows it."""
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def title_of(notice: Notice) -> str:
    """The title, after what kind of notice it is."""
    if notice.kind == "ongoing":
        return f"Still happening: {notice.title}"
    if notice.kind == "summary":
        return f"Over: {notice.title}"
    return notice.title


def times_of(notice: Notice, zone: ZoneInfo) -> str | None:
    """How often it happened, and when. None: once, and the team hears of it for the first time."""
    first, last = notice.at.astimezone(zone), notice.last_at.astimezone(zone)
    form = "%H:%M" if first.date() == last.date() else "%Y-%m-%d %H:%M"
    times = "once" if notice.count == 1 else f"{notice.count:,} times"
    if notice.kind == "ongoing":
        return f"still happening: {times} so far, since {first:{form}}"
    if notice.kind == "summary":
        return f"over: {times} between {first:{form}} and {last:{form}}"
    return None if notice.count == 1 else f"{times} since {first:{form}}"


def spread_of(notice: Notice) -> str | None:
    """How many it hit. None: no more than one."""
    if notice.spread is None:
        return None
    conversations, merchants = notice.spread
    return f"{_number(conversations, 'conversation')}, {_number(merchants, 'merchant')}"


def facts_of(notice: Notice, zone: ZoneInfo) -> dict[str, str]:
    """How often, how widely, and the ids: by name, in the order in which they are shown."""
    known = {"Times": times_of(notice, zone), "Seen in": spread_of(notice)}
    ids = ", ".join(f"{name} {value}" for name, value in notice.ids.items() if value is not None)
    return {name: value for name, value in (known | {"Ids": ids}).items() if value}


def people_of(notice: Notice) -> dict[str, str]:
    """Whom it is about: by name, in the order in which they are shown."""
    customer = notice.customer
    orders = None if customer.orders_count is None else str(customer.orders_count)
    known = {"Store": notice.store_name, "Customer": customer.name, "Phone": customer.phone, "Orders": orders}
    return {name: value for name, value in known.items() if value}


def links_of(notice: Notice) -> Iterator[tuple[str, str]]:
    """Where it leads: (what, address)."""
    issue = f"Issue {notice.linear_identifier}" if notice.linear_identifier else "Issue"
    known = {
        "Conversation": notice.conversation_url,
        "Trace": notice.trace_url,
        "Logs": notice.logs_url,
        issue: notice.linear_url,
    }
    return ((what, address) for what, address in known.items() if address)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
