"""What asking and answering share."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns.service import CampaignService
from recado.clock import Clock
from recado.conversations.service import ConversationService
from recado.db.models import Notification
from recado.documents.service import DocumentService
from recado.merchants.repository import MerchantRepository
from recado.notifications.repository import NotificationRepository
from recado.notifications.types import add_prefix

RECIPIENTS = "merchant_user_conversation_user_ids"
"""Where a notification's context keeps the contacts of the staff that was asked."""


class NotificationBase:
    """One merchant's notifications, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock
        self._notifications = NotificationRepository(session, merchant_id)
        self._merchants = MerchantRepository(session, merchant_id)
        self._conversations = ConversationService(session, merchant_id, clock)
        self._campaigns = CampaignService(session, merchant_id, clock)
        self._documents = DocumentService(session, merchant_id, clock)

    def _change(self, notification: Notification, **values: Any) -> None:
        for name, value in values.items():
            setattr(notification, name, value)
        notification.updated_at = self._clock.now()

    def _other_data(self, notification: Notification) -> dict[str, Any]:
        return {"notification_id": notification.id, "notification_id_prefixed": add_prefix(notification.id)}
