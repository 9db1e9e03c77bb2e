"""Notifications: asking the staff, accepting one answer, taking it to the customer.

`NotificationService` holds the steps; each belongs to one transaction that its caller commits. The graphs in
`graphs/request_notification` and `graphs/answer_notification` put them in order.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import structlog

from recado.campaigns.service import Send
from recado.campaigns.templates import ANSWER_BUTTON
from recado.db.models import Conversation, Notification
from recado.errors import NotificationNotFound
from recado.notifications.answering import Answering
from recado.notifications.classification import BASE_CLASSIFICATION
from recado.notifications.patience import Patience
from recado.notifications.repository import ANSWERED, REQUESTED
from recado.notifications.schemas import Pending
from recado.notifications.types import (
    NotificationType,
    Recipient,
    add_prefix,
    asked_of,
    config_of,
    other_data_of,
)
from recado.text import mask_phone, shorten

log = structlog.get_logger(__name__)


class NotificationService(Patience, Answering):
    """One merchant's notifications, within one transaction that the caller commits."""

    async def write_down(self, notification_type: str, conversation_id: int, context: dict[str, Any]) -> int:
        """A notification that the staff is not asked about, because its answer is there: accept it next.

        Raises UnknownNotificationType, MissingField or ConversationNotFound.
        """
        config = config_of(notification_type)
        asked = {name: value for name, value in context.items() if name not in config.answer_schema.model_fields}
        notification = await self.request(notification_type, conversation_id, asked, f"written:{uuid4().hex}")
        request = await self.load_request(notification.id)
        if notification_type == NotificationType.user_question_request:
            document = await self.create_document(f"notification:{notification.id}", asked_of(notification_type, asked))
            await self.complete_context(notification.id, document_id=document.id, request=request)
        else:
            await self.complete_context(notification.id, classification=BASE_CLASSIFICATION, request=request)
        await self._session.refresh(notification)
        self._change(notification, announced_at=self._clock.now())
        await self._session.flush()
        return notification.id

    async def send_notification_messages(
        self,
        notification_type: str,
        status: str,
        conversation_id: int,
        context: Mapping[str, Any],
        *,
        target_merchant_users: Sequence[str] | None = None,
        assistant_message: str | None = None,
    ) -> dict[int, Conversation]:
        """Send the campaign of a type and status to whom its configuration names.

        Returns where each contact that was sent it is reached, by the contacts' ids. Empty, with a warning in the log,
        when there is nobody to send it to or no campaign. Raises ConversationNotFound, or InvalidInput for a variable
        of the template that the context lacks.
        """
        config = config_of(notification_type)
        requested = status == REQUESTED
        to, campaign = (
            (config.requested_to, config.requested_campaign)
            if requested
            else (config.answered_to, config.answered_campaign)
        )
        if to == Recipient.merchant_user:
            merchant, people = await self._recipients.find(conversation_id, target_merchant_users or [])
        else:
            conversation, contact, merchant = await self._conversations.repository.get(conversation_id)
            people = [(contact, conversation)]
        if not people:
            log.warning("no merchant users to send to", merchant_id=self._merchant_id, conversation_id=conversation_id)
            return {}
        named = context.get("notification_id")
        values = {name: value for name, value in context.items() if isinstance(value, str)}
        send = Send(
            key=f"function:{uuid4().hex}",
            values=values | ({"notification_id": add_prefix(int(named))} if named else {}),
            whole=asked_of(notification_type, context) if requested else "",
            buttons=ANSWER_BUTTON if to == Recipient.merchant_user else {},
            instruction=assistant_message,
            other_data=other_data_of(int(named)) if named else {},
        )
        leads = await self._campaigns.send_service_campaign_messages(campaign, merchant, people, send)
        reached = {contact.id: conversation for contact, conversation in people}
        return {lead.contact_id: reached[lead.contact_id] for lead in leads or []}

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
