"""All SQL about one merchant's notifications."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from recado.db.models import UNFINISHED_NOTIFICATION, Campaign, Contact, Conversation, Merchant, Notification
from recado.db.paging import page_of
from recado.errors import ConversationNotFound, NotificationNotFound
from recado.telemetry.steps import so_far

REQUESTED, ANSWERED = "requested", "answered"
LARGEST_ID = 2**31 - 1


def is_row_id(number: int) -> bool:
    """Whether a database can even be asked for a row with this id."""
    return 0 < number <= LARGEST_ID


class NotificationRepository:
    """One merchant's notifications."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def get(self, notification_id: int, *, to_change: bool = False) -> Notification:
        """One notification; `to_change` locks it, so that nobody else's change is overwritten.

        Raises NotificationNotFound.
        """
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id, Notification.id == notification_id
        )
        query = query.with_for_update() if to_change else query
        found = await self._session.scalar(query) if is_row_id(notification_id) else None
        if found is None:
            raise NotificationNotFound(f"Notification {notification_id} not found")
        return found

    async def answer_schema(self, notification_id: int) -> dict[str, Any] | None:
        """The JSON schema of a notification's answer; None where there is no such notification."""
        query = select(Notification.answer_model_json_schema).where(
            Notification.merchant_id == self._merchant_id, Notification.id == notification_id
        )
        return await self._session.scalar(query)

    async def find(self, status: str | None, types: Sequence[str]) -> list[Notification]:
        """All notifications, oldest first, filtered by status and types where given."""
        query = self._filtered(status, types).order_by(Notification.id)
        return list(await self._session.scalars(query))

    async def page(
        self, status: str | None, types: Sequence[str], limit: int, offset: int, *, document_id: int | None = None
    ) -> tuple[list[Notification], int]:
        """A page of notifications, newest first, and how many there are; filtered by status, types and the document
        that their answers go into, where given.
        """
        query = self._filtered(status, types).order_by(Notification.id.desc())
        if document_id is not None:
            query = query.where(Notification.context["document_id"].as_integer() == document_id)
        rows, total = await page_of(self._session, query, limit, offset)
        return [row[0] for row in rows], total

    def _filtered(self, status: str | None, types: Sequence[str]) -> Select[Notification]:
        query = select(Notification).where(Notification.merchant_id == self._merchant_id)
        if status is not None:
            query = query.where(Notification.status == status)
        return query.where(Notification.notification_type.in_(types)) if types else query

    async def pending(self, limit: int = 100) -> list[Notification]:
        """Those that wait for an answer of their own, oldest first."""
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id,
            Notification.status == REQUESTED,
            Notification.joined_to_id.is_(None),
        )
        return list(await self._session.scalars(query.order_by(Notification.id).limit(limit)))

    async def by_document(self, document_id: int) -> list[Notification]:
        """Questions whose answer goes into this document."""
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id,
            Notification.context["document_id"].as_integer() == document_id,
        )
        return list(await self._session.scalars(query.order_by(Notification.id)))

    async def root_of(self, notification_id: int) -> Notification:
        """The notification that is answered when this one is: the one that it joined, or itself. Locked.

        Nothing that has joined another stays locked: closing locks the root first, and each could wait for the other.
        Raises NotificationNotFound.
        """
        while True:
            savepoint = await self._session.begin_nested()
            found = await self._lock_target(notification_id)
            if found is None:
                raise NotificationNotFound(f"Notification {notification_id} not found")
            if found.joined_to_id is None:
                await savepoint.commit()
                return found
            notification_id = found.joined_to_id  # it joined another in this moment
            await savepoint.rollback()

    async def _lock_target(self, notification_id: int) -> Notification | None:
        """What a notification has joined, or itself."""
        if not is_row_id(notification_id):
            return None
        joined_to = (
            select(Notification.joined_to_id)
            .where(Notification.merchant_id == self._merchant_id, Notification.id == notification_id)
            .scalar_subquery()
        )
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id,
            Notification.id == func.coalesce(joined_to, notification_id),
        )
        return await self._session.scalar(query.with_for_update(of=Notification))

    async def joined(self, root_id: int, *, to_change: bool = False) -> list[Notification]:
        """Those that joined this one, oldest first; `to_change` locks them."""
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id, Notification.joined_to_id == root_id
        )
        query = query.order_by(Notification.id)
        return list(await self._session.scalars(query.with_for_update() if to_change else query))

    async def load(self, notification_id: int) -> tuple[Notification, Conversation | None, Contact | None, Merchant]:
        """A notification with its conversation (None: it is gone), the person who asks and the merchant.

        Raises NotificationNotFound.
        """
        query = (
            select(Notification, Conversation, Contact, Merchant)
            .join(Merchant, Merchant.id == Notification.merchant_id)
            .outerjoin(
                Conversation,
                and_(
                    Conversation.id == Notification.conversation_id,
                    Conversation.merchant_id == Notification.merchant_id,
                ),
            )
            .outerjoin(Contact, Contact.id == Conversation.contact_id)
            .where(Notification.merchant_id == self._merchant_id, Notification.id == notification_id)
        )
        row = (await self._session.execute(query)).one_or_none() if is_row_id(notification_id) else None
        if row is None:
            raise NotificationNotFound(f"Notification {notification_id} not found")
        return row[0], row[1], row[2], row[3]

    async def to_tell(
        self, conversation_id: int, campaign: str
    ) -> tuple[Conversation, Contact, Merchant, Campaign | None]:
        """Whom an answer goes to, and by which campaign, in one query. Raises ConversationNotFound."""
        query = (
            select(Conversation, Contact, Merchant, Campaign)
            .join(Contact, Contact.id == Conversation.contact_id)
            .join(Merchant, Merchant.id == Conversation.merchant_id)
            .outerjoin(Campaign, and_(Campaign.merchant_id == Merchant.id, Campaign.name == campaign))
            .where(Conversation.id == conversation_id, Conversation.merchant_id == self._merchant_id)
        )
        row = (await self._session.execute(query)).one_or_none()
        if row is None:
            raise ConversationNotFound(f"Conversation {conversation_id} not found")
        return row[0], row[1], row[2], row[3]

    async def close(self, root: Notification, answer_key: str, **values: Any) -> bool:
        """Accept an answer: one conditional UPDATE decides who was first. Whether this was; `root` has it then."""
        values = {"status": ANSWERED, "answer_key": answer_key, "returned_at": None, **values}
        accepted = await self._session.execute(
            update(Notification)
            .where(
                Notification.merchant_id == self._merchant_id,
                Notification.id == root.id,
                or_(Notification.status == REQUESTED, Notification.allow_multiple_answers),
            )
            .values(values)
            .returning(Notification.id)
            .execution_options(synchronize_session=False)
        )
        if accepted.scalar() is None:
            return False
        for name, value in values.items():
            set_committed_value(root, name, value)
        return True

    async def finish(self, notification_id: int, answer_key: str, now: datetime) -> None:
        """Note that this answer is on its way, unless another one has been accepted since."""
        await self._session.execute(
            update(Notification)
            .where(
                Notification.merchant_id == self._merchant_id,
                Notification.id == notification_id,
                Notification.answer_key == answer_key,
            )
            .values(returned_at=now, updated_at=now, answer_steps=so_far())
        )


async def unfinished_notifications(session: AsyncSession, before: datetime, limit: int) -> list[Notification]:
    """Those of all merchants whose job has work left and was last touched before, for the sweep."""
    query = (
        select(Notification)
        .where(UNFINISHED_NOTIFICATION, Notification.updated_at <= before)
        .order_by(Notification.id)
        .limit(limit)
    )
    return list(await session.scalars(query))


async def merchant_of(session: AsyncSession, notification_id: int) -> int:
    """Which merchant a notification belongs to, for a job that only has its id. Raises NotificationNotFound."""
    query = select(Notification.merchant_id).where(Notification.id == notification_id)
    found = await session.scalar(query) if is_row_id(notification_id) else None
    if found is None:
        raise NotificationNotFound(f"Notification {notification_id} not found")
    return found
