"""What providers report about deliveries: late, doubled and out of order.

Each state has a rank, and a status only moves a delivery up, so whatever the order of arrival, the highest decides.
That a message arrived is stronger than that it failed: the person has it, whatever else is reported of it. A failure
that is not the end (it may pass, or there is another way) makes the delivery `pending` again; then only the news that
the person has the message after all is taken from the send that failed.
"""

from collections.abc import Mapping
from datetime import datetime

from recado.alerts.raising import Alarm, raise_within
from recado.channels.base import StatusUpdate
from recado.channels.rules import RULES
from recado.conversations import window
from recado.conversations.failing import (
    MAX_ATTEMPTS,
    backoff,
    closed_since,
    context_of,
    opted_out_of,
    refused_alarm,
    refused_wait,
    template_reason,
    with_remedy,
)
from recado.conversations.repository import ConversationRepository
from recado.db.models import Delivery
from recado.errors import AccountRefused, OptedOut, Retryable, SendError, TemplateRefused, WindowClosed
from recado.merchants.repository import MerchantRepository
from recado.telemetry.context import about

RANK: Mapping[str, int] = {
    "pending": 0,
    "sending": 0,
    "sent": 1,
    "held": 2,
    "failed": 2,
    "delivered": 3,
    "read": 4,
    "skipped": 5,
}
ARRIVED = ("delivered", "read")
NO_REASON = "the provider gave no reason that we know"


def announces(first_part: Delivery) -> bool:
    """Whether a message's first part only tells that the others are ready."""
    return bool(first_part.template and first_part.template.get("announces"))


async def apply_status(repository: ConversationRepository, update: StatusUpdate, now: datetime) -> Delivery | None:
    """Move a delivery to where the provider says that it is. None: there is no such delivery."""
    delivery = await repository.find_delivery(update.provider_message_id, update.delivery_id)
    if delivery is None:
        return None
    if update.state == "failed" and _is(update, OptedOut):
        # Whatever became of the delivery: it is a word about the person. One of theirs that came later is stronger.
        wish = opted_out_of(update.failure or OptedOut)
        await repository.opt_out(delivery.conversation_id, wish, delivery.sending_at, now)
    if RANK.get(update.state, 0) <= RANK[delivery.state]:
        return delivery
    if update.state in ARRIVED:
        _arrived(delivery, update, now)
    elif not _is_of_earlier_send(delivery, update):
        delivery.provider_message_id = update.provider_message_id
        if update.state == "failed":
            await _failed(repository, delivery, update, now)
        elif update.state == "sent":
            delivery.state, delivery.sent_at = update.state, delivery.sent_at or now
    return delivery


def _arrived(delivery: Delivery, update: StatusUpdate, now: datetime) -> None:
    """The person has it, whichever of our sends that was."""
    if delivery.state in ("pending", "sending") or delivery.provider_message_id is None:
        delivery.provider_message_id = update.provider_message_id
    delivery.state, delivery.sent_at = update.state, delivery.sent_at or now
    delivery.provider_code = delivery.error = None


async def _failed(repository: ConversationRepository, delivery: Delivery, update: StatusUpdate, now: datetime) -> None:
    error = update.error or NO_REASON
    delivery.provider_code, delivery.error = update.code, error
    alarm: Alarm | None = None
    if _is(update, Retryable):
        alarm = _again(delivery, update, now)
    elif _is(update, WindowClosed) and await _has_another_way(repository, delivery):
        # The sweep sends it again, in that way. The provider's id stays until then, to know its statuses by.
        delivery.state, delivery.slot_at = "pending", None
        account = await MerchantRepository(repository.session, repository.merchant_id).account(
            delivery.channel_account_id
        )
        closed = closed_since(delivery, account.channel)
        await repository.close_window(delivery.conversation_id, delivery.sending_at, closed.since)
    else:
        delivery.state = "failed"
        alarm = await _given_up(repository, delivery, update, now)
    if alarm is not None:
        turn_id, trace_id = await repository.origin(delivery.message_id)
        # The alarm was made when that was not known.
        with about(turn_id=turn_id, trace_id=trace_id):
            raise_within(repository.session, [alarm], now)


def _again(delivery: Delivery, update: StatusUpdate, now: datetime) -> Alarm | None:
    """It was not delivered, and may be later: sent again, as if the send itself had failed so."""
    reason = f"{update.code}: {delivery.error}"
    if _is(update, AccountRefused):
        wait = refused_wait(delivery, now)
        if wait is not None:
            delivery.state, delivery.due_at, delivery.attempts = "pending", now + wait, max(0, delivery.attempts - 1)
            return refused_alarm(delivery, update.code, reason, update.remedy)
        reason = f"gave up after 24 hours: {reason}"
    elif delivery.attempts < MAX_ATTEMPTS:
        delivery.state, delivery.due_at, delivery.slot_at = "pending", now + backoff(delivery.attempts), None
        return None
    else:
        reason = f"gave up after {delivery.attempts} attempts: {reason}"
    delivery.state, delivery.error = "failed", reason
    return _alarm(delivery, with_remedy(reason, update.remedy))


async def _given_up(
    repository: ConversationRepository, delivery: Delivery, update: StatusUpdate, now: datetime
) -> Alarm | None:
    reason = f"{update.code}: {delivery.error}"
    if _is(update, OptedOut):
        return None  # it is their own choice
    if _is(update, TemplateRefused) and delivery.sent_as == "template":
        if delivery.text is not None:
            # It goes as text as soon as the person writes, or at once if they have.
            is_open = window.is_open(await repository.window(delivery.conversation_id), now)
            delivery.state, delivery.due_at = "pending" if is_open else "held", now
            delivery.slot_at = None
        return _alarm(delivery, template_reason(delivery, reason, update.remedy))
    return _alarm(delivery, with_remedy(reason, update.remedy))


def _alarm(delivery: Delivery, reason: str) -> Alarm:
    return Alarm("delivery_failed", reason, context_of(delivery))


def _is(update: StatusUpdate, kind: type[SendError]) -> bool:
    return update.failure is not None and issubclass(update.failure, kind)


async def _has_another_way(repository: ConversationRepository, delivery: Delivery) -> bool:
    """Whether something is left to do for a text whose window was closed: its template, or to wait for the person."""
    if delivery.sent_as == "template":
        return False
    if delivery.template is not None:
        return True
    account = await MerchantRepository(repository.session, repository.merchant_id).account(delivery.channel_account_id)
    if not RULES[account.channel].templates:
        return True
    return delivery.part > 0 and announces(await repository.first_part(delivery.message_id))


def _is_of_earlier_send(delivery: Delivery, update: StatusUpdate) -> bool:
    """Whether a status is about a send that another one has replaced: they arrive late and out of order."""
    known = delivery.provider_message_id
    if RANK[delivery.state] == 0:
        return known == update.provider_message_id
    return known is not None and known != update.provider_message_id
