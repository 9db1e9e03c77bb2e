"""All SQL about the inbox and turns. The inbox is read before a merchant is known; turns are scoped by merchant."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import (
    PENDING_MESSAGE,
    RECEIVED_EVENT,
    ROUTING_EVENT,
    RUNNING_TURN,
    ChannelAccount,
    Contact,
    Conversation,
    Delivery,
    InboxEvent,
    Message,
    Turn,
)
from recado.merchants.account import Account
from recado.merchants.repository import to_account

INBOX_LOCK = 0x7265_6361_646F
"""The PostgreSQL advisory lock under which the inbox is read: "recado" in ASCII."""


async def lock_inbox(session: AsyncSession, is_sqlite: bool) -> None:
    """Let no other transaction read the inbox until this one ends. On SQLite, writing does that."""
    if not is_sqlite:
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": INBOX_LOCK})


async def received_events(session: AsyncSession, limit: int) -> list[InboxEvent]:
    """Events that wait, in the order of their arrival."""
    query = select(InboxEvent).where(RECEIVED_EVENT).order_by(InboxEvent.id).limit(limit)
    return list(await session.scalars(query))


async def count_received(session: AsyncSession) -> int:
    """How many events wait."""
    query = select(func.count()).select_from(InboxEvent).where(RECEIVED_EVENT)
    return (await session.execute(query)).scalar_one()


@dataclass(frozen=True, slots=True)
class Attached:
    """A message that a turn has taken: when it arrived, and in which trace."""

    message_id: int
    received_at: datetime
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Sender:
    """A person who wrote to an address that merchants share."""

    channel: str
    address: str
    channel_user_id: str

    @property
    def key(self) -> str:
        """A name for them that may be seen."""
        return hashlib.sha256("\n".join((self.channel, self.address, self.channel_user_id)).encode()).hexdigest()[:24]


async def senders_to_route(session: AsyncSession, now: datetime, limit: int) -> list[tuple[int, Sender]]:
    """Whose events wait for their merchant and are due, each with the id of one, for the sweep.

    `limit` is of events. All of a person's become due later once they are looked at, so nobody's are in front for ever.
    """
    query = (
        select(InboxEvent.id, InboxEvent.channel, InboxEvent.address, InboxEvent.channel_user_id)
        .where(ROUTING_EVENT, InboxEvent.due_at <= now)
        .order_by(InboxEvent.due_at, InboxEvent.id)
        .limit(limit)
    )
    found: dict[Sender, int] = {}
    for row in await session.execute(query):
        found.setdefault(Sender(row[1], row[2], str(row[3])), row[0])
    return [(event_id, sender) for sender, event_id in found.items()]


async def sender_of(session: AsyncSession, event_id: int) -> Sender:
    """Who sent an event that was put aside for routing."""
    query = select(InboxEvent.channel, InboxEvent.address, InboxEvent.channel_user_id).where(InboxEvent.id == event_id)
    row = (await session.execute(query)).one()
    return Sender(row[0], row[1], str(row[2]))


async def routing_events(session: AsyncSession, sender: Sender, *, to_change: bool = False) -> list[InboxEvent]:
    """What this person sent that waits for its merchant, in the order of its arrival."""
    query = select(InboxEvent).where(
        ROUTING_EVENT,
        InboxEvent.channel == sender.channel,
        InboxEvent.address == sender.address,
        InboxEvent.channel_user_id == sender.channel_user_id,
    )
    if to_change:
        query = query.with_for_update()
    return list(await session.scalars(query.order_by(InboxEvent.id)))


async def merchant_of_delivery(
    session: AsyncSession, account_ids: Sequence[int], provider_message_id: str, delivery_id: int | None = None
) -> int | None:
    """Whose delivery this is, of those that these accounts sent: by our own id, where that is known."""
    if delivery_id is not None:
        mine = Delivery.id == delivery_id
    else:
        mine = Delivery.provider_message_id == provider_message_id
    query = select(Delivery.merchant_id).where(mine, Delivery.channel_account_id.in_(account_ids))
    return await session.scalar(query.order_by(Delivery.id.desc()).limit(1))


async def last_merchant(
    session: AsyncSession, account_ids: Sequence[int], merchant_ids: Sequence[int], sender: Sender
) -> int | None:
    """With which of these merchants, at these accounts, the person spoke last."""
    newest = (
        select(func.max(Message.id))
        .where(Message.conversation_id == Conversation.id, Message.role != "assistant")
        .correlate(Conversation)
        .scalar_subquery()
    )
    query = (
        select(Conversation.merchant_id)
        .join(Contact, Contact.id == Conversation.contact_id)
        .where(
            Contact.merchant_id.in_(merchant_ids),
            Contact.channel == sender.channel,
            Contact.channel_user_id == sender.channel_user_id,
            Conversation.channel_account_id.in_(account_ids),
            newest.is_not(None),
        )
        .order_by(newest.desc())
        .limit(1)
    )
    return await session.scalar(query)


async def conversations_with_work(session: AsyncSession, limit: int) -> list[tuple[int, int]]:
    """(conversation id, merchant id) of those with messages to answer or a turn to go on with, for the sweep."""
    pending = select(Message.conversation_id, Message.merchant_id).where(PENDING_MESSAGE)
    running = select(Turn.conversation_id, Turn.merchant_id).where(RUNNING_TURN)
    found = await session.execute(pending.union(running).limit(limit))
    return [(row[0], row[1]) for row in found]


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message that waits, who sent it, and to which account."""

    message: Message
    contact: Contact
    account: Account


class TurnRepository:
    """One merchant's turns."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def running(self, conversation_id: int) -> Turn | None:
        """The conversation's turn that has not ended."""
        return await self._session.scalar(
            select(Turn)
            .where(
                Turn.merchant_id == self._merchant_id,
                Turn.conversation_id == conversation_id,
                RUNNING_TURN,
            )
            .with_for_update()
        )

    async def get(self, turn_id: int) -> Turn:
        """One turn."""
        query = select(Turn).where(Turn.merchant_id == self._merchant_id, Turn.id == turn_id)
        return (await self._session.scalars(query.with_for_update())).one()

    async def latest_pending(self, conversation_id: int) -> PendingMessage | None:
        """The newest message that no turn has taken, with its person and account."""
        newest = (
            select(func.max(Message.id))
            .where(
                Message.merchant_id == self._merchant_id, Message.conversation_id == conversation_id, PENDING_MESSAGE
            )
            .scalar_subquery()
        )
        row = (
            await self._session.execute(
                select(Message, Contact, ChannelAccount)
                .join(Conversation, Conversation.id == Message.conversation_id)
                .join(Contact, Contact.id == Conversation.contact_id)
                .join(ChannelAccount, ChannelAccount.id == Conversation.channel_account_id)
                .where(Message.merchant_id == self._merchant_id, Message.id == newest)
            )
        ).one_or_none()
        return PendingMessage(row[0], row[1], to_account(row[2])) if row else None

    async def change(self, turn_id: int, **values: Any) -> bool:
        """Change a turn if it is still running. Whether it was: if not, another process has ended it."""
        done = await self._session.execute(
            update(Turn)
            .where(Turn.merchant_id == self._merchant_id, Turn.id == turn_id, RUNNING_TURN)
            .values(**values)
            .returning(Turn.id)
        )
        return done.scalar() is not None

    async def attach_pending(self, turn: Turn) -> list[Attached]:
        """Give the turn all messages that no turn has taken. They are returned, oldest first."""
        taken = await self._session.execute(
            update(Message)
            .where(
                Message.merchant_id == self._merchant_id,
                Message.conversation_id == turn.conversation_id,
                PENDING_MESSAGE,
            )
            .values(turn_id=turn.id)
            .returning(Message.id, Message.created_at, Message.trace_id)
        )
        return sorted((Attached(*row) for row in taken), key=lambda one: one.message_id)

    async def attached(self, turn_id: int) -> list[Attached]:
        """What a turn has taken before, oldest first."""
        return [Attached(one.id, one.created_at, one.trace_id) for one in await self.messages(turn_id)]

    async def messages(self, turn_id: int) -> list[Message]:
        """What the turn answers, in order."""
        query = select(Message).where(
            Message.merchant_id == self._merchant_id, Message.turn_id == turn_id, Message.role == "user"
        )
        return list(await self._session.scalars(query.order_by(Message.id)))

    def start(self, conversation_id: int, process_id: str, now: datetime, until: datetime) -> Turn:
        """A new turn, claimed by this process."""
        turn = Turn(
            merchant_id=self._merchant_id,
            conversation_id=conversation_id,
            state="running",
            draft=1,
            failures=0,
            claimed_by=process_id,
            claimed_until=until,
            started_at=now,
        )
        self._session.add(turn)
        return turn
