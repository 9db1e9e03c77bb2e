"""What the rows say of work that is left, over all merchants. Partial indexes have these rows and no others."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, TextClause, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from recado.db.models import (
    HELD_DELIVERY,
    OPEN_NOTIFICATION,
    PENDING_MESSAGE,
    RECEIVED_EVENT,
    ROUTING_EVENT,
    RUNNING_TURN,
    UNCOUNTED,
    UNFINISHED_NOTIFICATION,
    UNSENT_DELIVERY,
    UNSENT_POST,
    AlertOccurrence,
    AlertPost,
    Delivery,
    InboxEvent,
    Merchant,
    Message,
    Notification,
    Turn,
)

Column = InstrumentedAttribute[datetime]
Oldest = Select[int, datetime]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many wait, and since when the oldest does. None: none does."""

    count: int
    since: datetime | None


def _by_id(model: Any, condition: TextClause, moment: Column) -> Oldest:
    """Where the oldest is the one with the lowest id, only that one row is read."""
    waiting = select(func.count().label("count"), func.min(model.id).label("first")).select_from(model).where(condition)
    found = waiting.subquery()
    return select(found.c.count, moment).select_from(found).outerjoin(model, model.id == found.c.first)


def _by_time(model: Any, condition: TextClause, moment: Column) -> Oldest:
    return select(func.count(), func.min(moment)).select_from(model).where(condition)


# Built once: to build one takes as long as to run it.

_WAITING: Mapping[str, Mapping[str, Oldest]] = {
    "inbox": {
        "events": _by_id(InboxEvent, RECEIVED_EVENT, InboxEvent.received_at),
        "events_routing": _by_id(InboxEvent, ROUTING_EVENT, InboxEvent.received_at),
    },
    "turns": {
        "messages": _by_id(Message, PENDING_MESSAGE, Message.created_at),
        "turns": _by_id(Turn, RUNNING_TURN, Turn.started_at),
    },
    "deliveries": {
        "deliveries": _by_time(Delivery, UNSENT_DELIVERY, Delivery.due_at),
        "deliveries_held": _by_time(Delivery, HELD_DELIVERY, Delivery.due_at),
    },
    "notifications": {
        "notifications": _by_time(Notification, UNFINISHED_NOTIFICATION, Notification.updated_at),
    },
    "alerts": {
        "alerts": _by_id(AlertOccurrence, UNCOUNTED, AlertOccurrence.at),
        "alert_posts": _by_id(AlertPost, UNSENT_POST, AlertPost.created_at),
    },
}
"""By the part of the database that they read, and by what they count."""

PARTS = tuple(_WAITING)
COUNTED = tuple(of for queries in _WAITING.values() for of in queries)

_OPEN = (
    select(Notification.merchant_id, func.count(), func.min(Notification.created_at))
    .where(OPEN_NOTIFICATION)
    .group_by(Notification.merchant_id)
)
_MERCHANTS = select(Merchant.id, Merchant.sub_domain).order_by(Merchant.id)


async def waiting(session: AsyncSession, part: str) -> dict[str, Waiting]:
    """What waits in one of `PARTS`, by what it is. The deliveries' time is when they were due, so it may be to come."""
    found = {}
    for of, query in _WAITING[part].items():
        count, since = (await session.execute(query)).one()
        found[of] = Waiting(count, since)
    return found


async def open_notifications(session: AsyncSession) -> dict[int, Waiting]:
    """Notifications that nobody has answered, by merchant id."""
    return {row[0]: Waiting(row[1], row[2]) for row in await session.execute(_OPEN)}


async def merchants(session: AsyncSession) -> list[tuple[int, str]]:
    """(id, sub_domain) of all merchants."""
    return [(row[0], row[1]) for row in await session.execute(_MERCHANTS)]
