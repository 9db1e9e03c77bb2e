"""All SQL about the inbox and turns. The inbox is read before a merchant is known; turns are scoped by merchant."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import (
    PENDING_MESSAGE,
    RECEIVED_EVENT,
    RUNNING_TURN,
    ChannelAccount,
    Contact,
    Conversation,
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

    async def attach_pending(self, turn: Turn) -> int:
        """Give the turn all messages that no turn has taken. How many there were."""
        taken = await self._session.execute(
            update(Message)
            .where(
                Message.merchant_id == self._merchant_id,
                Message.conversation_id == turn.conversation_id,
                PENDING_MESSAGE,
            )
            .values(turn_id=turn.id)
            .returning(Message.id)
        )
        return len(taken.all())

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
