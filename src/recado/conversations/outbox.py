"""The outbox: sending deliveries, in order within a conversation, each once.

A delivery is claimed in its own transaction before the provider is called, so that after a crash it is known to have
been under way; it is then looked up at the provider before it is sent again.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from recado.alerts.service import Alerts
from recado.channels.base import Channel, OutboundMessage, StatusUpdate
from recado.clock import Clock
from recado.conversations import window
from recado.conversations.repository import ConversationRepository
from recado.conversations.service import read_template
from recado.db.engine import Database
from recado.db.models import Contact, Conversation, Delivery
from recado.errors import Permanent, Retryable, WindowClosed
from recado.merchants.account import Account

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 8
FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=5)
CLAIM = timedelta(seconds=60)
"""How long another process's claim is respected: longer than any provider call takes."""

COVERED = "covered_by_template"
"""The code of a part of a text that is not sent because the whole went as one template."""

EARLIER_STATES: Mapping[str, tuple[str, ...]] = {
    "sent": ("pending", "sending"),
    "delivered": ("pending", "sending", "sent"),
    "read": ("pending", "sending", "sent", "delivered"),
    "failed": ("pending", "sending", "sent"),
}
"""A status only moves a delivery forward: from which states it may come."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours to send. No `message`: it may not be sent. `uncertain`: the provider may have it.

    `covered`: the first part of this text went as its template, which stands for the whole.
    """

    delivery: Delivery
    account: Account
    message: OutboundMessage | None
    uncertain: bool
    covered: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claim: the delivery's new values, and why it was given up, where it was."""

    delivery: Delivery
    values: dict[str, Any]
    failure: str | None = None


class Outbox:
    """Sends what conversations have to say. `process_id` names this process in claims."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        alerts: Alerts,
        process_id: str,
        *,
        alone: bool,
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = channels
        self._alerts = alerts
        self._process_id = process_id
        self._alone = alone
        """No other process sends: then any other's claim is from before a crash."""

    async def deliver(self, conversation_id: int, merchant_id: int) -> None:
        """Send everything of this conversation that is due, oldest first."""
        outcome: Outcome | None = None
        while True:
            async with self._database.transaction() as session:
                repository = ConversationRepository(session, merchant_id)
                if outcome is not None:
                    await _settle(repository, outcome)
                claim = await self._claim(repository, conversation_id)
            if outcome is not None and outcome.failure is not None:
                await self._gave_up(outcome.delivery, outcome.failure)
            if claim is None:
                return
            outcome = await self._send(claim)

    async def _claim(self, repository: ConversationRepository, conversation_id: int) -> Claim | None:
        """The next delivery that is due, made ours. None: there is none, or another process has it."""
        now = self._clock.now()
        found = await repository.next_delivery(conversation_id)
        if found is None or found.delivery.due_at > now or self._is_taken(found.delivery, now):
            return None
        delivery = found.delivery
        # A claim with no outcome: the provider may have it already.
        uncertain = delivery.state == "sending"
        covered = delivery.part > 0 and await repository.went_as_template(delivery.message_id)
        message = None if covered else self._message(delivery, found.conversation, found.contact, now, uncertain)
        if not uncertain:
            delivery.sending_at = now
        delivery.state = "sending"
        delivery.sent_as = None if message is None else "template" if message.template else "text"
        delivery.claimed_by = self._process_id
        delivery.due_at = now
        delivery.attempts += 1
        return Claim(delivery, found.account, message, uncertain, covered)

    def _is_taken(self, delivery: Delivery, now: datetime) -> bool:
        if delivery.state != "sending" or self._alone or delivery.claimed_by in {None, self._process_id}:
            return False
        return now - delivery.due_at < CLAIM

    def _message(
        self, delivery: Delivery, conversation: Conversation, contact: Contact, now: datetime, uncertain: bool
    ) -> OutboundMessage | None:
        """The 24-hour rule at the moment of sending: text while the window is open, else the template, else nothing."""
        free = window.is_open(conversation.last_inbound_at, now) and delivery.text is not None
        if uncertain:
            free = delivery.sent_as == "text"
        if not free and delivery.template is None:
            return None
        template = None if free or delivery.template is None else read_template(delivery.template)
        return OutboundMessage(
            delivery_id=delivery.id,
            to=contact.channel_user_id,
            text=delivery.text if free else None,
            template=template,
            buttons=tuple(delivery.buttons) if free else (),
        )

    async def _send(self, claim: Claim) -> Outcome:
        delivery, account, message = claim.delivery, claim.account, claim.message
        if claim.covered:
            return _failed(delivery, COVERED, "the template of the first part stands for the whole", alert=False)
        if message is None:
            return _failed(delivery, "window_closed", "the 24-hour window is closed and there is no template for this")
        channel = self._channels[account.channel]
        try:
            if claim.uncertain:
                provider_id = await self._find(delivery, channel, account, message)
                if provider_id is None:
                    # The window may have closed meanwhile: decide anew, as for a new delivery. A lookup that worked
                    # is no attempt at sending.
                    return Outcome(
                        delivery, {"state": "pending", "claimed_by": None, "attempts": delivery.attempts - 1}
                    )
            else:
                provider_id = await channel.send(account, message)
        except Retryable as error:
            return self._retry_later(delivery, error, claim.uncertain or error.ambiguous)
        except WindowClosed as error:
            if delivery.sent_as == "template" or delivery.template is None:
                return _failed(delivery, error.code, str(error))
            # The provider says that the window is closed, whatever we counted: only the template is left.
            return Outcome(delivery, {"state": "pending", "text": None, "claimed_by": None, "error": str(error)})
        except Permanent as error:
            return _failed(delivery, error.code, str(error))
        except Exception as error:
            # The job boundary: whatever an adapter raised, the provider may have it, and somebody must hear of it.
            log.warning("a channel raised what it should not", delivery_id=delivery.id, exc_info=True)
            return self._retry_later(delivery, Retryable(f"{type(error).__name__}: {error}"), True)
        sent = {"state": "sent", "provider_message_id": provider_id, "sent_at": self._clock.now()}
        return Outcome(delivery, {**sent, "claimed_by": None, "error": None, "provider_code": None})

    async def _find(
        self, delivery: Delivery, channel: Channel, account: Account, message: OutboundMessage
    ) -> str | None:
        found = await channel.find(account, message, delivery.sending_at or delivery.due_at)
        if not found:
            return None
        async with self._database.read() as session:
            known = await ConversationRepository(session, delivery.merchant_id).known_provider_ids(found)
        return next((provider_id for provider_id in found if provider_id not in known), None)

    def _retry_later(self, delivery: Delivery, error: Retryable, uncertain: bool) -> Outcome:
        if delivery.attempts >= MAX_ATTEMPTS:
            return _failed(delivery, error.code, f"gave up after {delivery.attempts} attempts: {error}")
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (delivery.attempts - 1))
        delay = longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        log.warning("delivery will be tried again", delivery_id=delivery.id, error=str(error))
        values = {
            # One that the provider may have stays `sending`: it is looked up before it is sent again.
            "state": "sending" if uncertain else "pending",
            "due_at": self._clock.now() + delay,
            "error": str(error),
            "provider_code": error.code,
            "claimed_by": None,
        }
        return Outcome(delivery, values)

    async def _gave_up(self, delivery: Delivery, reason: str) -> None:
        await self._alerts.send(
            "delivery given up",
            reason,
            merchant_id=delivery.merchant_id,
            conversation_id=delivery.conversation_id,
            delivery_id=delivery.id,
        )


def _failed(delivery: Delivery, code: str | None, reason: str, *, alert: bool = True) -> Outcome:
    values = {"state": "failed", "provider_code": code, "error": reason, "claimed_by": None}
    return Outcome(delivery, values, failure=reason if alert else None)


async def _settle(repository: ConversationRepository, outcome: Outcome) -> None:
    delivery_id, values = outcome.delivery.id, outcome.values
    # A status callback may have overtaken us, and moved it on or back to be sent as its template.
    changed = await repository.change_delivery(delivery_id, ("sending",), **values)
    if not changed and "provider_message_id" in values:
        # Moved on: only what the provider said is left to note.
        noted = {name: values[name] for name in ("provider_message_id", "sent_at")}
        await repository.change_delivery(delivery_id, ("sent", "delivered", "read"), **noted)


async def apply_status(repository: ConversationRepository, alerts: Alerts, update: StatusUpdate) -> bool:
    """Move a delivery to where the provider says that it is. Whether there was such a delivery to move."""
    earlier = EARLIER_STATES.get(update.state)
    delivery = await repository.find_delivery(update.provider_message_id, update.delivery_id)
    if delivery is None:
        return False
    if earlier is None or delivery.state not in earlier or _is_of_earlier_send(delivery, update):
        return True
    if update.window_closed and delivery.sent_as == "text" and delivery.template is not None:
        # The sweep sends it again, as its template. The text's provider id stays until then, to know its statuses by.
        delivery.state, delivery.text, delivery.provider_message_id = "pending", None, update.provider_message_id
        return True
    delivery.state = update.state
    delivery.provider_message_id = update.provider_message_id
    if update.state == "failed":
        delivery.provider_code, delivery.error = update.code, update.error
        await alerts.send(
            "delivery failed at the provider",
            f"{update.code}: {update.error}",
            merchant_id=repository.merchant_id,
            conversation_id=delivery.conversation_id,
            delivery_id=delivery.id,
        )
    return True


def _is_of_earlier_send(delivery: Delivery, update: StatusUpdate) -> bool:
    """Whether a status is about the text that a delivery's template has replaced: they arrive late and out of order."""
    known = delivery.provider_message_id
    if delivery.state in EARLIER_STATES["sent"]:
        return known == update.provider_message_id
    return known is not None and known != update.provider_message_id
