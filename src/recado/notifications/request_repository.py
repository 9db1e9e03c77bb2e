"""All SQL that asking the staff of one merchant needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Subquery, and_, case, false, func, select, true, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from recado.channels.rules import RULES
from recado.db.insert import insert_new
from recado.db.models import (
    ChannelAccount,
    Contact,
    Conversation,
    Document,
    Merchant,
    MerchantUser,
    Notification,
    StaffLink,
    SupportClassification,
)
from recado.errors import ConversationNotFound
from recado.notifications.repository import REQUESTED, NotificationRepository

OPEN_QUESTIONS = 200
"""How many earlier questions are compared by their text."""

BY_PHONE = [channel for channel, rules in RULES.items() if rules.by_phone]

Person = tuple[MerchantUser, Contact | None, Conversation | None]


@dataclass(frozen=True, slots=True)
class Staff:
    """The active staff, each with the conversation in which they are asked, where they have one.

    `channel` and `account_id`: where those are asked who are reached by their phone number. None: the merchant has no
    account for that.
    """

    merchant: Merchant
    channel: str | None
    account_id: int | None
    people: list[Person]


class RequestRepository:
    """One merchant's requests to its staff."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._is_sqlite = session.get_bind().dialect.name == "sqlite"

    async def add(self, request_key: str, **values: Any) -> Notification:
        """A new notification, or the one that was requested under this key before."""
        values |= {"merchant_id": self._merchant_id, "request_key": request_key}
        statement = insert_new(Notification, self._is_sqlite).values(**values).returning(Notification)
        new: Notification | None = (await self._session.scalars(statement)).one_or_none()
        if new is not None:
            return new
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id, Notification.request_key == request_key
        )
        return (await self._session.scalars(query)).one()

    async def add_to_context(
        self, notification_id: int, added: Mapping[str, Any], known: Mapping[str, Any], **values: Any
    ) -> bool:
        """Add to a notification's context and change it. Whether it still waits for its answer.

        `known` is its context as last seen: while nobody has answered, nobody else changes it, so that it need not be
        read again. An answer that came meanwhile is kept. Raises NotificationNotFound.
        """
        if await self.change_waiting(notification_id, context={**known, **added}, **values):
            return True
        notification = await NotificationRepository(self._session, self._merchant_id).get(
            notification_id, to_change=True
        )
        notification.context = {**notification.context, **added}
        for name, value in values.items():
            setattr(notification, name, value)
        return False

    async def staff(self, conversation_id: int) -> Staff:
        """Who could be asked on behalf of a conversation, and where. Raises ConversationNotFound.

        That is on the account that the conversation uses, or, where people are not reached by phone there, on the
        merchant's first one where they are.
        """
        asking, own, home = aliased(Conversation), aliased(ChannelAccount), aliased(ChannelAccount)
        known, seen = _contacts_of_staff(self._merchant_id), aliased(Contact)
        first = select(func.min(ChannelAccount.id)).where(
            ChannelAccount.merchant_id == self._merchant_id,
            ChannelAccount.active,
            ChannelAccount.channel.in_(BY_PHONE),
        )
        query = (
            select(Merchant, home.channel, home.id, MerchantUser, Contact, Conversation, known.c.linked)
            .join(asking, asking.merchant_id == Merchant.id)
            .join(own, own.id == asking.channel_account_id)
            .outerjoin(home, home.id == case((own.channel.in_(BY_PHONE), own.id), else_=first.scalar_subquery()))
            .outerjoin(MerchantUser, and_(MerchantUser.merchant_id == Merchant.id, MerchantUser.active))
            .outerjoin(known, known.c.member_id == MerchantUser.id)
            .outerjoin(seen, seen.id == known.c.contact_id)
            # Of a person who was there twice only one contact is used.
            .outerjoin(Contact, Contact.id == func.coalesce(seen.superseded_by_id, seen.id))
            .outerjoin(Conversation, Conversation.contact_id == Contact.id)
            .where(Merchant.id == self._merchant_id, asking.id == conversation_id)
            .order_by(MerchantUser.id, Contact.id)
        )
        rows = (await self._session.execute(query)).all()
        if not rows:
            raise ConversationNotFound(f"Conversation {conversation_id} not found")
        merchant, channel, account_id = rows[0][:3]
        people: dict[int, tuple[int, Person]] = {}
        for _, _, _, member, contact, conversation, linked in rows:
            if member is None:
                continue
            rank = _rank(contact, channel, linked=bool(linked))
            usable = (contact, conversation) if rank < UNUSED else (None, None)
            if member.id not in people or rank < people[member.id][0]:
                people[member.id] = (rank, (member, *usable))
        return Staff(merchant, channel, account_id, [person for _, person in people.values()])

    async def add_contacts(self, rows: Sequence[Mapping[str, Any]]) -> list[Contact]:
        """New contacts; those that another process has made meanwhile are left out."""
        values = [{"merchant_id": self._merchant_id, **row} for row in rows]
        statement = insert_new(Contact, self._is_sqlite).values(values).returning(Contact)
        return list(await self._session.scalars(statement)) if values else []

    async def add_conversations(self, rows: Sequence[Mapping[str, Any]]) -> list[Conversation]:
        """New conversations; those that another process has made meanwhile are left out."""
        values = [{"merchant_id": self._merchant_id, **row} for row in rows]
        statement = insert_new(Conversation, self._is_sqlite).values(values).returning(Conversation)
        return list(await self._session.scalars(statement)) if values else []

    async def open_before(self, notification_id: int, notification_type: str) -> list[tuple[int, str]]:
        """(id, question) of earlier notifications that wait for an answer of their own, newest first."""
        query = (
            select(Notification.id, Notification.context["question"].as_string())
            .where(
                Notification.merchant_id == self._merchant_id,
                Notification.status == REQUESTED,
                Notification.notification_type == notification_type,
                Notification.joined_to_id.is_(None),
                Notification.id < notification_id,
            )
            .order_by(Notification.id.desc())
            .limit(OPEN_QUESTIONS)
        )
        return [(row[0], str(row[1] or "")) for row in await self._session.execute(query)]

    async def change_waiting(self, notification_id: int, **values: Any) -> bool:
        """Change a notification that waits for its answer. Whether it does."""
        waiting = await self._session.execute(
            update(Notification)
            .where(
                Notification.merchant_id == self._merchant_id,
                Notification.id == notification_id,
                Notification.status == REQUESTED,
            )
            .values(**values)
            .returning(Notification.id)
        )
        return waiting.scalar() is not None

    async def move_joined(self, from_id: int, root_id: int, now: datetime) -> None:
        """What had been joined to `from_id` and waits is joined to `root_id` now."""
        await self._session.execute(
            update(Notification)
            .where(
                Notification.merchant_id == self._merchant_id,
                Notification.status == REQUESTED,
                Notification.joined_to_id == from_id,
            )
            .values(joined_to_id=root_id, updated_at=now)
            .execution_options(synchronize_session=False)
        )

    async def classifications(
        self, category: str, reason_hash: str, limit: int
    ) -> tuple[list[tuple[str, str]], SupportClassification | None]:
        """(title, content) of the documents of a category, and what was said of this reason before."""
        query = (
            select(Document.title, Document.content, SupportClassification)
            .outerjoin(
                SupportClassification,
                and_(
                    SupportClassification.merchant_id == Document.merchant_id,
                    SupportClassification.reason_hash == reason_hash,
                ),
            )
            .where(
                Document.merchant_id == self._merchant_id,
                Document.category == category,
                Document.retired_at.is_(None),
            )
            .order_by(Document.id)
            .limit(limit)
        )
        rows = (await self._session.execute(query)).all()
        return [(row[0], row[1]) for row in rows], rows[0][2] if rows else None

    async def keep_classification(self, reason_hash: str, **values: Any) -> None:
        """Keep what was said of a reason, instead of what was said before."""
        changed = await self._session.execute(
            update(SupportClassification)
            .where(
                SupportClassification.merchant_id == self._merchant_id,
                SupportClassification.reason_hash == reason_hash,
            )
            .values(**values)
            .returning(SupportClassification.id)
        )
        if changed.scalar() is None:
            statement = insert_new(SupportClassification, self._is_sqlite)
            await self._session.execute(
                statement.values(merchant_id=self._merchant_id, reason_hash=reason_hash, **values)
            )


UNUSED = 3


def _rank(contact: Contact | None, channel: str | None, *, linked: bool) -> int:
    """How good a contact is for asking a member of the staff on this channel, the best first.

    What they have linked themselves is where they write from. Elsewhere they are asked only if nobody can be by phone.
    """
    if contact is None or contact.superseded_by_id is not None:
        return UNUSED
    if contact.channel == channel:
        return 0 if linked else 1
    return 2 if linked and channel is None else UNUSED


def _contacts_of_staff(merchant_id: int) -> Subquery:
    """(member_id, contact_id, linked) of the active staff: by their phone number, or by what they have linked.

    Each part is found by an index of its own, however many contacts a merchant has.
    """
    ours = and_(MerchantUser.merchant_id == merchant_id, MerchantUser.active)
    by_phone = select(MerchantUser.id.label("member_id"), Contact.id.label("contact_id"), false().label("linked"))
    return union_all(
        by_phone.join(Contact, and_(Contact.merchant_id == merchant_id, Contact.phone == MerchantUser.phone)).where(
            ours
        ),
        by_phone.join(
            Contact,
            and_(
                Contact.merchant_id == merchant_id,
                Contact.channel.in_(BY_PHONE),
                Contact.channel_user_id == MerchantUser.phone,
            ),
        ).where(ours),
        select(StaffLink.merchant_user_id, Contact.id, true())
        .join(
            Contact,
            and_(
                Contact.merchant_id == merchant_id,
                Contact.channel == StaffLink.channel,
                Contact.channel_user_id == StaffLink.channel_user_id,
            ),
        )
        .where(StaffLink.merchant_id == merchant_id),
    ).subquery()
