"""All SQL about one merchant's notifications."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import UNFINISHED_NOTIFICATION, Notification
from recado.errors import NotificationNotFound

REQUESTED, ANSWERED = "requested", "answered"


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
        found = await self._session.scalar(query.with_for_update() if to_change else query)
        if found is None:
            raise NotificationNotFound(f"Notification {notification_id} not found")
        return found

    async def by_request_key(self, key: str) -> Notification | None:
        """The notification that was requested under this key."""
        return await self._session.scalar(
            select(Notification).where(Notification.merchant_id == self._merchant_id, Notification.request_key == key)
        )

    async def find(self, status: str | None, types: Sequence[str], limit: int = 100) -> list[Notification]:
        """Notifications, oldest first, filtered by status and types where given."""
        query = select(Notification).where(Notification.merchant_id == self._merchant_id)
        if status is not None:
            query = query.where(Notification.status == status)
        if types:
            query = query.where(Notification.notification_type.in_(types))
        return list(await self._session.scalars(query.order_by(Notification.id).limit(limit)))

    async def by_document(self, document_id: int) -> list[Notification]:
        """Questions whose answer goes into this document."""
        query = select(Notification).where(
            Notification.merchant_id == self._merchant_id,
            Notification.context["document_id"].as_integer() == document_id,
        )
        return list(await self._session.scalars(query.order_by(Notification.id)))

    async def close(self, notification_id: int, answer_key: str, **values: Any) -> bool:
        """Accept an answer: one conditional UPDATE decides who was first. Whether this answer was."""
        accepted = await self._session.execute(
            update(Notification)
            .where(
                Notification.merchant_id == self._merchant_id,
                Notification.id == notification_id,
                or_(Notification.status == REQUESTED, Notification.allow_multiple_answers),
            )
            .values(status=ANSWERED, answer_key=answer_key, returned_at=None, **values)
            .returning(Notification.id)
        )
        return accepted.scalar() is not None

    def add(self, notification: Notification) -> None:
        """Keep a new notification."""
        notification.merchant_id = self._merchant_id
        self._session.add(notification)


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
    found = await session.scalar(select(Notification.merchant_id).where(Notification.id == notification_id))
    if found is None:
        raise NotificationNotFound(f"Notification {notification_id} not found")
    return found
