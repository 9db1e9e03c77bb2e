"""Nobody waits in silence: the staff is reminded, then all admins are asked, and the customer hears how it stands."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns import templates
from recado.conversations import window
from recado.conversations.service import Reply
from recado.db.models import WAITING_NOTIFICATION, Merchant, Notification
from recado.notifications.base import RECIPIENTS, NotificationBase
from recado.notifications.repository import REQUESTED
from recado.notifications.types import add_prefix

log = structlog.get_logger(__name__)

ADMIN = "admin"
REMINDER: Mapping[str, str] = {
    "es": "Recordatorio: {notification} sigue esperando una respuesta.",
    "en": "Reminder: {notification} is still waiting for an answer.",
    "pt": "Lembrete: {notification} ainda espera uma resposta.",
    "fr": "Rappel : {notification} attend toujours une réponse.",
}
NO_REPLY_YET: Mapping[str, str] = {
    "es": "El equipo todavía no ha respondido. No lo he olvidado: te escribo en cuanto tenga la respuesta.",
    "en": "The team has not replied yet. I have not forgotten: I will write as soon as I have the answer.",
    "pt": "A equipe ainda não respondeu. Não esqueci: escrevo assim que tiver a resposta.",
    "fr": "L’équipe n’a pas encore répondu. Je n’oublie pas : je vous écris dès que j’ai la réponse.",
}


class Patience(NotificationBase):
    """What happens while a notification waits for its answer, each step once."""

    async def follow_up(self, notification_id: int) -> list[int]:
        """Remind or escalate, if it is time. Returns the conversations whose deliveries the caller nudges.

        Raises NotificationNotFound.
        """
        notification = await self._notifications.get(notification_id, to_change=True)
        if notification.status != REQUESTED or notification.announced_at is None or notification.joined_to_id:
            return []
        merchant = await self._merchants.get()
        now = self._clock.now()
        waited = now - notification.announced_at
        conversations: list[int] = []
        if notification.reminded_at is None and waited >= timedelta(minutes=merchant.reminder_minutes):
            conversations += await self._remind(notification, merchant)
            self._change(notification, reminded_at=now)
        if notification.escalated_at is None and waited >= timedelta(minutes=merchant.escalation_minutes):
            conversations += await self._ask_admins(notification, merchant)
            conversations += await self._tell_customers(notification, merchant)
            self._change(notification, escalated_at=now)
        return conversations


async def notifications_to_follow_up(session: AsyncSession, now: datetime, limit: int) -> list[tuple[int, int]]:
    """(notification id, merchant id) of those of all merchants that it is time to remind of or to escalate, longest
    waiting first, for the sweep.
    """
    # Merchants differ in patience but share few settings of it: so the index on `announced_at` serves each.
    settings = await session.execute(select(Merchant.reminder_minutes, Merchant.escalation_minutes).distinct())
    due = [
        and_(
            Merchant.reminder_minutes == reminder,
            Merchant.escalation_minutes == escalation,
            or_(
                Notification.announced_at <= now - timedelta(minutes=escalation),
                and_(Notification.reminded_at.is_(None), Notification.announced_at <= now - timedelta(minutes=reminder)),
            ),
        )
        for reminder, escalation in settings
    ]
    if not due:
        return []
    query = (
        select(Notification.id, Notification.merchant_id)
        .join(Merchant, Merchant.id == Notification.merchant_id)
        .where(WAITING_NOTIFICATION, Notification.joined_to_id.is_(None), or_(*due))
        .order_by(Notification.announced_at)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]
