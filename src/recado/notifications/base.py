"""What asking and answering share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from recado.agent.protocol import turn_of
from recado.campaigns.service import CampaignService
from recado.clock import Clock
from recado.conversations.service import ConversationService
from recado.db.models import Contact, Notification
from recado.documents.service import DocumentService
from recado.errors import ConversationNotFound
from recado.merchants.repository import MerchantRepository
from recado.notifications.recipients import Recipients
from recado.notifications.repository import NotificationRepository
from recado.notifications.request_repository import RequestRepository
from recado.notifications.schemas import Request
from recado.notifications.types import other_data_of

RECIPIENTS = "merchant_user_conversation_user_ids"
"""Where a notification's context keeps the contacts of the staff that was asked."""


@dataclass(frozen=True, slots=True)
class ToDo:
    """What a job has to do: what its graph is given, and what it came of."""

    given: Mapping[str, Any]
    conversation_id: int
    turn_id: int | None
    trace_id: str | None


class NotificationBase:
    """One merchant's notifications, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock
        self._notifications = NotificationRepository(session, merchant_id)
        self._requests = RequestRepository(session, merchant_id)
        self._recipients = Recipients(session, merchant_id, clock)
        self._merchants = MerchantRepository(session, merchant_id)
        self._conversations = ConversationService(session, merchant_id, clock)
        self._campaigns = CampaignService(session, merchant_id, clock)
        self._documents = DocumentService(session, merchant_id, clock)

    async def load_request(self, notification_id: int) -> Request:
        """A notification with what asking the staff needs, in one query.

        Raises NotificationNotFound or ConversationNotFound.
        """
        notification, _, contact, _ = await self._notifications.load(notification_id)
        return _request(notification, contact)

    async def request_to_do(self, notification_id: int) -> ToDo | None:
        """The same, for the request job; None once the staff has been asked."""
        notification, _, contact, _ = await self._notifications.load(notification_id)
        if notification.announced_at is not None:
            return None
        origin = turn_of(notification.request_key), notification.trace_id
        return ToDo(_request(notification, contact), notification.conversation_id, *origin)

    def _change(self, notification: Notification, **values: Any) -> None:
        for name, value in values.items():
            setattr(notification, name, value)
        notification.updated_at = self._clock.now()

    def _other_data(self, notification: Notification) -> dict[str, Any]:
        return other_data_of(notification.id)


def _request(notification: Notification, contact: Contact | None) -> Request:
    if contact is None:
        raise ConversationNotFound(f"Conversation {notification.conversation_id} not found")
    return Request(
        notification_id=notification.id,
        merchant_id=notification.merchant_id,
        notification_type=notification.notification_type,
        conversation_id=notification.conversation_id,
        context=notification.context,
        answer_schema=notification.answer_model_json_schema,
        lead_phone=contact.phone or contact.channel_user_id,
        lead_name=contact.name,
    )
