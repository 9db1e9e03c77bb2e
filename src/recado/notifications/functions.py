"""The notifications' public functions, for routes and for people who integrate their own code.

Names, parameters and meaning are those of the requirements. What the functions write belongs to the caller's
transaction; asking the staff and taking an answer back is done by jobs once that is committed (see
`docs/decisions/0007-public-functions-write-jobs-send.md`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from recado.clock import Clock
from recado.conversations.repository import merchant_of as merchant_of_conversation
from recado.db.engine import Database
from recado.db.models import Notification
from recado.documents.repository import merchant_of as merchant_of_document
from recado.errors import InvalidInput, NotificationNotFound
from recado.jobs.nudges import Nudges
from recado.notifications.repository import merchant_of
from recado.notifications.schemas import NotificationSchema, described
from recado.notifications.service import NotificationService
from recado.notifications.types import NotificationStatus, NotificationType


class Notifications:
    """The public functions, on one database and queue."""

    def __init__(self, database: Database, clock: Clock, nudges: Nudges) -> None:
        self._database = database
        self._clock = clock
        self._nudges = nudges
        self._nudging: set[asyncio.Task[None]] = set()

    async def request_notification(
        self,
        notification_type: NotificationType,
        conversation_id: int,
        context: dict[str, Any],
        session: AsyncSession,
        *,
        request_key: str | None = None,
    ) -> Notification:
        """Write down that the staff must be asked; the request job asks once the session is committed.

        The same `request_key` asks once. Raises UnknownNotificationType, MissingField or ConversationNotFound.
        """
        merchant_id = await merchant_of_conversation(session, conversation_id)
        service = NotificationService(session, merchant_id, self._clock)
        notification = await service.request(
            notification_type, conversation_id, context, request_key or f"function:{uuid4().hex}"
        )
        self._after_commit(session, self._nudges.request_notification, notification)
        return notification

    async def answer_notification(
        self,
        session: AsyncSession,
        context: dict[str, Any],
        notification_id: int | None = None,
        notification_type: NotificationType | None = None,
        conversation_id: int | None = None,
    ) -> None:
        """Accept an answer; the answer job takes it to the customer once the session is committed.

        Without `notification_id` a notification of this type and conversation is written down with its answer: its
        fields and those of the answer are all in `context`, and the staff is not asked. Raises NotificationNotFound,
        UnknownNotificationType, MissingField, InvalidAnswer, AlreadyAnswered or ConversationNotFound.
        """
        if notification_id is not None:
            service = NotificationService(session, await merchant_of(session, notification_id), self._clock)
        elif notification_type is not None and conversation_id is not None:
            merchant_id = await merchant_of_conversation(session, conversation_id)
            service = NotificationService(session, merchant_id, self._clock)
            notification_id = await service.write_down(notification_type, conversation_id, context)
        else:
            raise InvalidInput("give notification_id, or notification_type with conversation_id")
        for closed in await service.accept(notification_id, context, f"function:{uuid4().hex}", None):
            self._after_commit(session, self._nudges.answer_notification, closed)

    async def send_notification_messages(
        self,
        merchant_id: int,
        notification_type: NotificationType,
        notification_status: NotificationStatus,
        conversation_id: int,
        context: dict[str, Any],
        session: AsyncSession,
        target_merchant_users: Sequence[str] | None = None,
        assistant_message_override: str | None = None,
    ) -> list[int]:
        """Send the campaign of a type and status to whom its configuration names.

        Returns the contacts (`conversation_user_id`s) that were sent it: none, with a warning in the log, when no
        campaign is configured or there is nobody to send it to. Raises ConversationNotFound.
        """
        service = NotificationService(session, merchant_id, self._clock)
        sent = await service.send_notification_messages(
            notification_type,
            notification_status,
            conversation_id,
            context,
            target_merchant_users=target_merchant_users,
            assistant_message=assistant_message_override,
        )
        for conversation in sent.values():
            self._after_commit(session, self._nudges.deliver, conversation)
        return list(sent)

    async def request_notification_job(
        self, notification_type: NotificationType, conversation_id: int, context: dict[str, Any]
    ) -> None:
        """`request_notification` in a transaction of its own. The job has a key, 120 s and retries with backoff."""
        async with self._database.transaction() as session:
            await self.request_notification(notification_type, conversation_id, context, session)

    async def answer_notification_job(
        self,
        notification_id: int | None = None,
        notification_type: NotificationType | None = None,
        conversation_id: int | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        """`answer_notification` in a transaction of its own. The job has a key, 120 s and retries with backoff."""
        async with self._database.transaction() as session:
            await self.answer_notification(session, context or {}, notification_id, notification_type, conversation_id)

    async def get_notifications(
        self,
        merchant_id: int,
        status: NotificationStatus | None = None,
        notification_types: Sequence[NotificationType] = (),
    ) -> list[NotificationSchema]:
        """The merchant's notifications, oldest first."""
        async with self._database.read() as session:
            service = NotificationService(session, merchant_id, self._clock)
            return [described(row) for row in await service.find(status, notification_types)]

    async def can_answer_notification(self, notification_id: int) -> bool:
        """Whether an answer would be accepted now: False also for one that does not exist."""
        async with self._database.read() as session:
            try:
                merchant_id = await merchant_of(session, notification_id)
            except NotificationNotFound:
                return False
            return await NotificationService(session, merchant_id, self._clock).can_answer(notification_id)

    async def get_notifications_by_document_id(self, session: AsyncSession, document_id: int) -> list[Notification]:
        """The questions whose answer goes into this document. Raises DocumentNotFound."""
        merchant_id = await merchant_of_document(session, document_id)
        return await NotificationService(session, merchant_id, self._clock).by_document(document_id)

    def _after_commit(self, session: AsyncSession, nudge: Callable[[int, int], Awaitable[None]], row: Any) -> None:
        """Nudge for a row once the session's work is on disk; never for work that was undone."""
        identity = row.id, row.merchant_id
        undone: list[Session] = []

        def committed(_session: Session) -> None:
            if not undone:
                task = asyncio.ensure_future(nudge(*identity))
                self._nudging.add(task)
                task.add_done_callback(self._nudging.discard)

        event.listen(session.sync_session, "after_rollback", undone.append, once=True)
        event.listen(session.sync_session, "after_commit", committed, once=True)
