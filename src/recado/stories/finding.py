"""Finding what an operator names: our number of a message, or the id that a provider has for it. All merchants' are
looked at, so this is for operators alone."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import ColumnElement, String, cast, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import AlertOccurrence, ChannelAccount, Delivery, InboxEvent, Merchant, Message

LARGEST = 2**31 - 1
MOST = 20
MOST_OCCURRENCES = 1_000
EVENT_CONDITIONS = ("event_dead", "event_unrouted")


@dataclass(frozen=True, slots=True)
class Found:
    """A message, and whose it is."""

    message_id: int
    merchant_id: int
    sub_domain: str


class StoredEvent(BaseModel):
    """An event that is stored, and of which no message tells. `state`, `error`: see `InboxEvent`."""

    event_id: int
    channel: str
    address: str
    provider_event_id: str
    state: str
    error: str | None
    received_at: datetime
    due_at: datetime | None
    alerts: list[str]
    """What the team was alerted of for it."""


async def find_messages(session: AsyncSession, named: str, sub_domain: str | None) -> list[Found]:
    """Messages with this number, or else those that a provider calls so: what a person sent, or what we did."""
    found: list[Found] = []
    if named.isascii() and named.isdigit() and int(named) <= LARGEST:
        found = await _found(session, Message.id == int(named), sub_domain)
    if found:
        return found
    # The very key that an inbound message is written under, so that its index serves.
    key = (
        literal("in:") + ChannelAccount.channel + literal(":") + cast(ChannelAccount.id, String) + literal(f":{named}")
    )
    inbound = (
        select(Message.id)
        .join(ChannelAccount, ChannelAccount.merchant_id == Message.merchant_id)
        .where(Message.key == key)
    )
    sent = select(Delivery.message_id).where(Delivery.provider_message_id == named)
    return await _found(session, or_(Message.id.in_(inbound), Message.id.in_(sent)), sub_domain)


async def find_events(session: AsyncSession, named: str) -> list[StoredEvent]:
    """Events that a provider calls so, or that tell of what it calls so, and of which no message tells. Looks at all of
    them: no index knows this."""
    ours = or_(
        InboxEvent.provider_event_id == named, InboxEvent.provider_event_id.startswith(f"{named}:", autoescape=True)
    )
    untold = (InboxEvent.message_id.is_(None), InboxEvent.delivery_id.is_(None))
    events = list(await session.scalars(select(InboxEvent).where(ours, *untold).order_by(InboxEvent.id).limit(MOST)))
    if not events:
        return []
    about = select(AlertOccurrence).where(
        AlertOccurrence.condition.in_(EVENT_CONDITIONS), AlertOccurrence.at >= events[0].received_at
    )
    raised = list(await session.scalars(about.order_by(AlertOccurrence.id).limit(MOST_OCCURRENCES)))
    return [_stored(event, raised) for event in events]


async def _found(session: AsyncSession, which: ColumnElement[bool], sub_domain: str | None) -> list[Found]:
    query = (
        select(Message.id, Message.merchant_id, Merchant.sub_domain)
        .join(Merchant, Merchant.id == Message.merchant_id)
        .where(which)
        .order_by(Message.id)
        .limit(MOST)
    )
    if sub_domain is not None:
        query = query.where(Merchant.sub_domain == sub_domain)
    return [Found(*row) for row in await session.execute(query)]


def _stored(event: InboxEvent, raised: list[AlertOccurrence]) -> StoredEvent:
    return StoredEvent(
        event_id=event.id,
        channel=event.channel,
        address=event.address,
        provider_event_id=event.provider_event_id,
        state=event.state,
        error=event.error,
        received_at=event.received_at,
        due_at=event.due_at,
        alerts=[
            f"{one.condition} at {one.at:%H:%M:%S} UTC" for one in raised if one.context.get("event_id") == event.id
        ],
    )
