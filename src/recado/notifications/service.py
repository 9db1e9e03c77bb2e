"""Notifications: asking the staff, accepting one answer, taking it to the customer.

`NotificationService` holds the steps; each belongs to one transaction that its caller commits. The graphs in
`graphs/request_notification` and `graphs/answer_notification` put them in order.
"""

from collections.abc import Sequence

from recado.db.models import Notification
from recado.errors import NotificationNotFound
from recado.notifications.answering import Answering
from recado.notifications.asking import Asking
from recado.notifications.repository import ANSWERED, REQUESTED
from recado.notifications.schemas import Pending
from recado.notifications.types import add_prefix, asked_of
from recado.text import mask_phone, shorten


class NotificationService(Asking, Answering):
    """One merchant's notifications, within one transaction that the caller commits."""

    async def get(self, notification_id: int) -> Notification:
        """One notification. Raises NotificationNotFound."""
        return await self._notifications.get(notification_id)

    async def find(self, status: str | None = None, types: Sequence[str] = ()) -> list[Notification]:
        """The merchant's notifications, oldest first."""
        return await self._notifications.find(status, types)

    async def can_answer(self, notification_id: int) -> bool:
        """Whether an answer would be accepted now."""
        try:
            notification = await self._notifications.get(notification_id)
        except NotificationNotFound:
            return False
        return notification.status == REQUESTED or (
            notification.status == ANSWERED and notification.allow_multiple_answers
        )

    async def by_document(self, document_id: int) -> list[Notification]:
        """Questions whose answer goes into this document."""
        return await self._notifications.by_document(document_id)

    async def pending(self) -> list[Pending]:
        """What is open, as the staff's agent sees it: without those that wait for another one's answer."""
        return [
            Pending(
                notification_id=add_prefix(found.id),
                question=shorten(asked_of(found.notification_type, found.context), 500),
                customer=str(found.context.get("lead_name") or mask_phone(found.context.get("lead_phone"))),
                answer_schema=found.answer_model_json_schema,
            )
            for found in await self._notifications.pending()
        ]
