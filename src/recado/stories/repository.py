"""All SQL about stories. Each method is one query, so a story costs the same number of them however long it is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import (
    Alert,
    AlertIssue,
    AlertOccurrence,
    AlertPost,
    Contact,
    Conversation,
    Delivery,
    InboxEvent,
    MediaFile,
    Merchant,
    MerchantUser,
    Message,
    Notification,
    StaffLink,
    SyncEntry,
    Turn,
)
from recado.errors import NotFound

Row = TypeVar("Row", Delivery, MediaFile, SyncEntry)

MOST_MESSAGES = 300
"""Of one story: a question may go to a large staff."""
MOST_OCCURRENCES = 500


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody of the staff, with an account that they have linked."""

    id: int
    name: str
    phone: str
    channel: str | None
    channel_user_id: str | None


@dataclass(frozen=True, slots=True)
class Raised:
    """An error that happened, what it is counted in, and the issue for it."""

    occurrence: AlertOccurrence
    alert: Alert | None
    issue: AlertIssue | None


class StoryRepository:
    """What one merchant's rows say of its messages."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def message(self, message_id: int) -> tuple[Message, Merchant]:
        """A message, and its merchant. Raises NotFound."""
        query = (
            select(Message, Merchant)
            .join(Merchant, Merchant.id == Message.merchant_id)
            .where(Message.id == message_id, Message.merchant_id == self._merchant_id)
        )
        row = (await self._session.execute(query)).one_or_none()
        if row is None:
            raise NotFound(f"Message {message_id} not found")
        return row[0], row[1]

    async def handled(self, conversation_id: int, message_id: int, handled: str) -> Message | None:
        """The message that was dealt with so when it arrived."""
        query = select(Message).where(
            Message.merchant_id == self._merchant_id,
            Message.conversation_id == conversation_id,
            Message.id == message_id,
        )
        found = await self._session.scalar(query)
        return found if found is not None and found.other_data.get("handled") == handled else None

    async def of_turn(self, turn_id: int) -> list[Message]:
        """What a turn answers and what it said."""
        query = select(Message).where(Message.merchant_id == self._merchant_id, Message.turn_id == turn_id)
        return list(await self._session.scalars(query.order_by(Message.id)))

    async def notifications(
        self, ids: Collection[int], turn_id: int | None, conversation_id: int
    ) -> list[Notification]:
        """Those with these ids, and those that a turn of this conversation has asked or answered."""
        which: list[ColumnElement[bool]] = [Notification.id.in_(ids)]
        if turn_id is not None:
            by_turn = f"turn:{turn_id}:"
            asked = Notification.request_key.startswith(by_turn, autoescape=True)
            answered = Notification.answer_key.startswith(by_turn, autoescape=True)
            which.append(and_(Notification.conversation_id == conversation_id, asked))
            # An answer that was taken to several is every one's, and only the one that was shown is told here.
            which.append(and_(Notification.status == "answered", answered, Notification.joined_to_id.is_(None)))
        query = select(Notification).where(Notification.merchant_id == self._merchant_id, or_(*which))
        return list(await self._session.scalars(query.order_by(Notification.id)))

    async def joined(self, ids: Collection[int], roots: Collection[int]) -> list[Notification]:
        """Those that have joined one of `ids`, and the `roots`."""
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id,
            or_(Notification.joined_to_id.in_(ids), Notification.id.in_(roots)),
        )
        return list(await self._session.scalars(query.order_by(Notification.id)))

    async def turns(self, ids: Collection[int]) -> list[Turn]:
        """These turns."""
        query = select(Turn).where(Turn.merchant_id == self._merchant_id, Turn.id.in_(ids))
        return list(await self._session.scalars(query.order_by(Turn.id)))

    async def people(
        self, conversation_ids: Collection[int], contact_ids: Collection[int], turn_ids: Collection[int]
    ) -> list[tuple[Conversation, Contact]]:
        """These conversations, those of these people, and those of these turns."""
        of_turns = select(Turn.conversation_id).where(Turn.merchant_id == self._merchant_id, Turn.id.in_(turn_ids))
        query = (
            select(Conversation, Contact)
            .join(Contact, Contact.id == Conversation.contact_id)
            .where(
                Conversation.merchant_id == self._merchant_id,
                Contact.merchant_id == self._merchant_id,
                or_(
                    Conversation.id.in_(conversation_ids),
                    Conversation.contact_id.in_(contact_ids),
                    Conversation.id.in_(of_turns),
                ),
            )
        )
        return [(row[0], row[1]) for row in await self._session.execute(query)]

    async def messages(
        self,
        wanted: Collection[int],
        turn_ids: Collection[int],
        conversation_ids: Collection[int],
        prefixes: Sequence[str],
        keys: Collection[str],
    ) -> tuple[list[Message], int]:
        """These messages, those of these turns, those in these conversations whose keys begin so, and those with these
        keys. The first of them, and how many more there are."""
        which: list[ColumnElement[bool]] = [
            Message.id.in_(wanted),
            Message.turn_id.in_(turn_ids),
            Message.key.in_(keys),
        ]
        if prefixes:
            begins = or_(*(Message.key.startswith(prefix, autoescape=True) for prefix in prefixes))
            which.append(and_(Message.conversation_id.in_(conversation_ids), begins))
        # Counted over all of them, before the limit.
        query = select(Message, func.count().over()).where(Message.merchant_id == self._merchant_id, or_(*which))
        wanted_first = case((Message.id.in_(wanted), 0), else_=1)
        rows = (await self._session.execute(query.order_by(wanted_first, Message.id).limit(MOST_MESSAGES))).all()
        found = sorted((row[0] for row in rows), key=lambda message: message.id)
        return found, (rows[0][1] - len(rows) if rows else 0)

    async def of_messages(self, table: type[Row], message_ids: Collection[int]) -> list[Row]:
        """Their deliveries, files or sync entries."""
        query = select(table).where(table.merchant_id == self._merchant_id, table.message_id.in_(message_ids))
        return list(await self._session.scalars(query.order_by(table.id)))

    async def states(self, conversation_ids: Collection[int], since: datetime, until: datetime) -> list[SyncEntry]:
        """What the conversation API had to be told of where people stood."""
        query = select(SyncEntry).where(
            SyncEntry.merchant_id == self._merchant_id,
            SyncEntry.conversation_id.in_(conversation_ids),
            SyncEntry.kind == "state",
            SyncEntry.created_at >= since,
            SyncEntry.created_at <= until,
        )
        return list(await self._session.scalars(query.order_by(SyncEntry.id)))

    async def events(self, message_ids: Collection[int], delivery_ids: Collection[int]) -> list[InboxEvent]:
        """What brought these messages, and what told of these deliveries."""
        query = select(InboxEvent).where(
            InboxEvent.merchant_id == self._merchant_id,
            or_(InboxEvent.message_id.in_(message_ids), InboxEvent.delivery_id.in_(delivery_ids)),
        )
        return list(await self._session.scalars(query.order_by(InboxEvent.id)))

    async def raised(self, conversation_ids: Collection[int], since: datetime) -> list[Raised]:
        """The alerts about these conversations since then."""
        query = (
            select(AlertOccurrence, Alert, AlertIssue)
            .outerjoin(Alert, Alert.id == AlertOccurrence.alert_id)
            .outerjoin(AlertIssue, AlertIssue.fingerprint == AlertOccurrence.fingerprint)
            .where(
                AlertOccurrence.merchant_id == self._merchant_id,
                AlertOccurrence.conversation_id.in_(conversation_ids),
                AlertOccurrence.at >= since,
            )
            .order_by(AlertOccurrence.id)
            .limit(MOST_OCCURRENCES)
        )
        return [Raised(row[0], row[1], row[2]) for row in await self._session.execute(query)]

    async def posts(self, alert_ids: Collection[int]) -> list[AlertPost]:
        """Where the team was told of these alerts, which were found by this merchant's occurrences."""
        query = select(AlertPost).where(AlertPost.alert_id.in_(alert_ids)).order_by(AlertPost.id)
        return list(await self._session.scalars(query))

    async def staff(
        self, ids: Collection[int], phones: Collection[str], channel_user_ids: Collection[str]
    ) -> list[Member]:
        """Who of the staff has one of these ids, phone numbers or linked accounts."""
        linked = and_(
            StaffLink.merchant_user_id == MerchantUser.id,
            StaffLink.merchant_id == self._merchant_id,
            StaffLink.channel_user_id.in_(channel_user_ids),
        )
        query = (
            select(MerchantUser.id, MerchantUser.name, MerchantUser.phone, StaffLink.channel, StaffLink.channel_user_id)
            .outerjoin(StaffLink, linked)
            .where(
                MerchantUser.merchant_id == self._merchant_id,
                or_(MerchantUser.id.in_(ids), MerchantUser.phone.in_(phones), StaffLink.id.is_not(None)),
            )
        )
        return [Member(*row) for row in await self._session.execute(query)]
