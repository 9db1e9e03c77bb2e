"""What providers report about deliveries: late, doubled and out of order."""

from collections.abc import Mapping
from datetime import datetime

from recado.alerts.service import Alerts
from recado.channels.base import StatusUpdate
from recado.conversations import window
from recado.conversations.repository import ConversationRepository
from recado.db.models import Delivery
from recado.errors import SendError, TemplateRefused, WindowClosed

EARLIER_STATES: Mapping[str, tuple[str, ...]] = {
    "sent": ("pending", "sending"),
    "delivered": ("pending", "sending", "sent"),
    "read": ("pending", "sending", "sent", "delivered"),
    "failed": ("pending", "sending", "sent"),
}
"""A status only moves a delivery forward: from which states it may come."""

REMEDY = "have it approved at the provider and name its id under `templates` of the channel, then `recado apply`"


def announces(first_part: Delivery) -> bool:
    """Whether a message's first part only tells that the others are ready."""
    return bool(first_part.template and first_part.template.get("announces"))


def refused(delivery: Delivery, reason: str) -> str:
    """What an alert says of a template that the provider does not take."""
    template = delivery.template or {}
    return f"template {template.get('name')} ({template.get('language')}): {reason}; {REMEDY}"


async def apply_status(repository: ConversationRepository, alerts: Alerts, update: StatusUpdate, now: datetime) -> bool:
    """Move a delivery to where the provider says that it is. Whether there was such a delivery to move."""
    earlier = EARLIER_STATES.get(update.state)
    delivery = await repository.find_delivery(update.provider_message_id, update.delivery_id)
    if delivery is None:
        return False
    if earlier is None or delivery.state not in earlier or _is_of_earlier_send(delivery, update):
        return True
    if _is(update, WindowClosed) and delivery.sent_as == "text" and await _has_template(repository, delivery):
        # The sweep sends it again, as its template. The text's provider id stays until then, to know its statuses by.
        delivery.state, delivery.provider_message_id = "pending", update.provider_message_id
        await repository.close_window(delivery.conversation_id, delivery.sending_at)
        return True
    delivery.state = update.state
    delivery.provider_message_id = update.provider_message_id
    if update.state == "failed":
        delivery.provider_code, delivery.error = update.code, update.error
        reason = f"{update.code}: {update.error}"
        if _is(update, TemplateRefused) and delivery.sent_as == "template":
            reason = refused(delivery, reason)
            if delivery.text is not None:
                # It goes as text as soon as the person writes, or at once if they have.
                is_open = window.is_open(await repository.window(delivery.conversation_id), now)
                delivery.state, delivery.due_at = "pending" if is_open else "held", now
        await alerts.send(
            "delivery failed at the provider",
            reason,
            merchant_id=repository.merchant_id,
            conversation_id=delivery.conversation_id,
            delivery_id=delivery.id,
        )
    return True


def _is(update: StatusUpdate, kind: type[SendError]) -> bool:
    return update.failure is not None and issubclass(update.failure, kind)


async def _has_template(repository: ConversationRepository, delivery: Delivery) -> bool:
    if delivery.part == 0:
        return delivery.template is not None
    return announces(await repository.first_part(delivery.message_id))


def _is_of_earlier_send(delivery: Delivery, update: StatusUpdate) -> bool:
    """Whether a status is about the text that a delivery's template has replaced: they arrive late and out of order."""
    known = delivery.provider_message_id
    if delivery.state in EARLIER_STATES["sent"]:
        return known == update.provider_message_id
    return known is not None and known != update.provider_message_id
