"""Nobody waits in silence: the staff is reminded, then all admins are asked, and the customer hears how it stands."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.raising import Alarm, raise_within
from recado.campaigns import templates
from recado.conversations import window
from recado.conversations.service import Reply
from recado.db.models import WAITING_NOTIFICATION, Merchant, Notification
from recado.notifications.asking import Asking, instruction_for, template_values
from recado.notifications.base import RECIPIENTS
from recado.notifications.recipients import ADMIN
from recado.notifications.repository import REQUESTED
from recado.notifications.types import add_prefix, asked_of, config_of

log = structlog.get_logger(__name__)

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


class Patience(Asking):
    """What happens while a notification waits for its answer, each step once."""

    async def follow_up(self, notification_id: int) -> list[int]:
        """Remind or escalate, if it is time. Returns the conversations whose deliveries the caller nudges.

        Raises NotificationNotFound or ConversationNotFound.
        """
        notification = await self._notifications.get(notification_id, to_change=True)
        if notification.status != REQUESTED or notification.announced_at is None or notification.joined_to_id:
            return []
        merchant = await self._merchants.get()
        now = self._clock.now()
        waited = now - notification.announced_at
        conversations: list[int] = []
        if notification.reminded_at is None and waited >= timedelta(minutes=merchant.reminder_minutes):
            conversations += await self._remind(notification)
            self._change(notification, reminded_at=now)
        if notification.escalated_at is None and waited >= timedelta(minutes=merchant.escalation_minutes):
            conversations += await self._ask_admins(notification)
            conversations += await self._tell_customers(notification)
            self._change(notification, escalated_at=now)
            raise_within(self._session, [_breach(notification, merchant.escalation_minutes)], now)
        return conversations

    async def _remind(self, notification: Notification) -> list[int]:
        """Once more to those who were asked: the question with a reminder, or its template outside their window."""
        request = await self.load_request(notification.id)
        asked = set(notification.context.get(RECIPIENTS, []))
        merchant, staff = await self._recipients.find(notification.conversation_id, [])
        said = []
        for contact, conversation in staff:
            if contact.id not in asked:
                continue
            template = templates.fill(
                config_of(notification.notification_type).requested_campaign,
                conversation.language or merchant.language,
                template_values(request),
                merchant.template_texts,
            )
            reminder = REMINDER[template.language].format(notification=add_prefix(notification.id))
            reply = Reply(
                key=f"notification:{notification.id}:reminder:{contact.id}",
                text=f"{reminder}\n\n{asked_of(notification.notification_type, notification.context)}",
                template=template,
                buttons=templates.ANSWER_BUTTON[template.language],
                other_data=self._other_data(notification),
            )
            said.append((conversation, contact, reply))
        await self._conversations.say_all(said)
        return [conversation.id for conversation, _, _ in said]

    async def _ask_admins(self, notification: Notification) -> list[int]:
        """All admins who were not asked yet are."""
        request = await self.load_request(notification.id)
        asked = list(notification.context.get(RECIPIENTS, []))
        merchant, admins = await self._recipients.find(notification.conversation_id, [ADMIN])
        new = [(contact, conversation) for contact, conversation in admins if contact.id not in asked]
        if not new or not await self._send(request, merchant, new, instruction_for(request)):
            return []
        context = notification.context | {RECIPIENTS: asked + [contact.id for contact, _ in new]}
        self._change(notification, context=context)
        return [conversation.id for _, conversation in new]

    async def _tell_customers(self, notification: Notification) -> list[int]:
        """Everyone who waits for the answer hears that nobody has replied yet, where the window is open for it."""
        now = self._clock.now()
        waiting = {
            row.conversation_id: row  # who asked twice hears it once
            for row in [*await self._notifications.joined(notification.id), notification]
        }
        said = []
        for conversation_id, row in waiting.items():
            conversation, contact, merchant = await self._conversations.repository.get(conversation_id)
            if not window.is_open(conversation.last_inbound_at, now):
                log.info("not told that nobody has replied: the window is closed", notification_id=row.id)
                continue
            reply = Reply(
                key=f"notification:{notification.id}:no-reply-yet:{conversation.id}",
                text=NO_REPLY_YET.get(conversation.language or merchant.language, NO_REPLY_YET["en"]),
                other_data=self._other_data(row),
            )
            said.append((conversation, contact, reply))
        await self._conversations.say_all(said)
        return [conversation.id for conversation, _, _ in said]


def _breach(notification: Notification, minutes: int) -> Alarm:
    reason = f"{add_prefix(notification.id)} has waited {minutes} minutes for the staff; all admins are asked now"
    context = {"merchant_id": notification.merchant_id, "conversation_id": notification.conversation_id}
    ids = {"notification_id": notification.id, "trace_id": notification.trace_id}
    return Alarm("sla_breached", reason, {**context, **ids})


async def notifications_to_follow_up(session: AsyncSession, now: datetime, limit: int) -> list[tuple[int, int]]:
    """(notification id, merchant id) of those of all merchants that it is time to remind of or to escalate, longest
    waiting first, for the sweep.
    """
    # Merchants differ in patience but share few settings of it: so the index on `announced_at` serves each.
    settings = await session.execute(select(Merchant.reminder_minutes, Merchant.escalation_minutes).distinct())
    asked_at = Notification.announced_at
    due = [
        and_(
            Merchant.reminder_minutes == reminder,
            Merchant.escalation_minutes == escalation,
            or_(
                Notification.announced_at <= now - timedelta(minutes=escalation),
                and_(
                    Notification.reminded_at.is_(None), Notification.announced_at <= now - timedelta(minutes=reminder)
                ),
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
        .order_by(asked_at)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]
