"""The outbox: sending deliveries, in order within a conversation, each once.

A delivery is claimed in its own transaction before the provider is called, so that after a crash it is known to have
been under way; it is then looked up at the provider before it is sent again.
"""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from recado.alerts.service import Alerts
from recado.channels.base import Channel, OutboundMessage, StatusUpdate, Template
from recado.clock import Clock
from recado.conversations import window
from recado.conversations.repository import ConversationRepository
from recado.db.engine import Database
from recado.db.models import Contact, Conversation, Delivery
from recado.errors import Permanent, Retryable, WindowClosed
from recado.merchants.account import Account
from recado.merchants.repository import MerchantRepository

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 8
FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=5)
CLAIM = timedelta(seconds=60)
"""How long another process's claim is respected: longer than any provider call takes."""

EARLIER_STATES: Mapping[str, tuple[str, ...]] = {
    "sent": ("pending", "sending"),
    "delivered": ("pending", "sending", "sent"),
    "read": ("pending", "sending", "sent", "delivered"),
    "failed": ("pending", "sending", "sent"),
}
"""A status only moves a delivery forward: from which states it may come."""


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
        while True:
            claimed = await self._claim(conversation_id, merchant_id)
            if claimed is None:
                return
            delivery, account, message, uncertain = claimed
            if message is not None:
                await self._send(delivery, account, message, uncertain)
            elif delivery.part == 0:
                await self._gave_up(delivery)

    async def _claim(
        self, conversation_id: int, merchant_id: int
    ) -> tuple[Delivery, Account, OutboundMessage | None, bool] | None:
        now = self._clock.now()
        async with self._database.transaction() as session:
            repository = ConversationRepository(session, merchant_id)
            delivery = await repository.next_delivery(conversation_id)
            if delivery is None or delivery.due_at > now or self._is_taken(delivery, now):
                return None
            # A claim with no outcome: the provider may have it already.
            uncertain = delivery.state == "sending"
            conversation, contact, _ = await repository.get(conversation_id)
            account = await MerchantRepository(session, merchant_id).account(delivery.channel_account_id)
            message = self._message(delivery, conversation, contact, now, uncertain)
            if message is None:
                delivery.state, delivery.provider_code = "failed", "window_closed"
                # Of a text in several parts, the first one's template stands for the whole.
                delivery.error = "the 24-hour window is closed and there is no template for this"
                return delivery, account, None, False
            if not uncertain:
                delivery.sending_at = now
            delivery.state = "sending"
            delivery.sent_as = "template" if message.template else "text"
            delivery.claimed_by = self._process_id
            delivery.due_at = now
            delivery.attempts += 1
        return delivery, account, message, uncertain

    def _is_taken(self, delivery: Delivery, now: datetime) -> bool:
        if delivery.state != "sending" or self._alone or delivery.claimed_by == self._process_id:
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
        template = None if free or delivery.template is None else Template(**delivery.template)
        return OutboundMessage(
            delivery_id=delivery.id,
            to=contact.channel_user_id,
            text=delivery.text if free else None,
            template=template,
            buttons=tuple(delivery.buttons) if free else (),
        )

    async def _send(self, delivery: Delivery, account: Account, message: OutboundMessage, uncertain: bool) -> None:
        channel = self._channels[account.channel]
        try:
            provider_id = await self._find(delivery, channel, account, message) if uncertain else None
            if provider_id is None:
                # The window may have closed while the provider was asked: decide anew, as for a new delivery.
                if uncertain:
                    await self._change(delivery, state="pending", claimed_by=None)
                    return
                provider_id = await channel.send(account, message)
        except Retryable as error:
            await self._retry_later(delivery, error, uncertain or error.ambiguous)
        except WindowClosed as error:
            await self._window_closed(delivery, error)
        except Permanent as error:
            await self._fail(delivery, error.code, str(error))
        else:
            await self._change(
                delivery,
                state="sent",
                provider_message_id=provider_id,
                sent_at=self._clock.now(),
                claimed_by=None,
                error=None,
                provider_code=None,
            )

    async def _find(
        self, delivery: Delivery, channel: Channel, account: Account, message: OutboundMessage
    ) -> str | None:
        found = await channel.find(account, message, delivery.sending_at or delivery.due_at)
        if not found:
            return None
        async with self._database.read() as session:
            known = await ConversationRepository(session, delivery.merchant_id).known_provider_ids(found)
        return next((provider_id for provider_id in found if provider_id not in known), None)

    async def _retry_later(self, delivery: Delivery, error: Retryable, uncertain: bool) -> None:
        if delivery.attempts >= MAX_ATTEMPTS:
            await self._fail(delivery, error.code, f"gave up after {delivery.attempts} attempts: {error}")
            return
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (delivery.attempts - 1))
        delay = longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        # One that the provider may have stays `sending`: it is looked up before it is sent again.
        state = "sending" if uncertain else "pending"
        await self._change(
            delivery,
            state=state,
            due_at=self._clock.now() + delay,
            error=str(error),
            provider_code=error.code,
            claimed_by=None,
        )
        log.warning(
            "delivery will be tried again",
            delivery_id=delivery.id,
            error=str(error),
            attempt=delivery.attempts,
        )

    async def _window_closed(self, delivery: Delivery, error: WindowClosed) -> None:
        """The provider says that the window is closed, whatever we counted: only the template is left."""
        if delivery.sent_as == "template" or delivery.template is None:
            await self._fail(delivery, error.code, str(error))
            return
        await self._change(delivery, state="pending", text=None, claimed_by=None, error=str(error))

    async def _fail(self, delivery: Delivery, code: str | None, error: str) -> None:
        await self._change(delivery, state="failed", provider_code=code, error=error, claimed_by=None)
        delivery.error = error
        await self._gave_up(delivery)

    async def _gave_up(self, delivery: Delivery) -> None:
        await self._alerts.send(
            "delivery given up",
            str(delivery.error),
            merchant_id=delivery.merchant_id,
            conversation_id=delivery.conversation_id,
            delivery_id=delivery.id,
        )

    async def _change(self, delivery: Delivery, **values: Any) -> None:
        async with self._database.transaction() as session:
            repository = ConversationRepository(session, delivery.merchant_id)
            changed = await repository.change_delivery(delivery.id, ("pending", "sending"), **values)
            if not changed and "provider_message_id" in values:
                # A status callback overtook us and moved it on: only the provider's id is left to note.
                await repository.change_delivery(
                    delivery.id,
                    ("sent", "delivered", "read"),
                    provider_message_id=values["provider_message_id"],
                    sent_at=values["sent_at"],
                )


async def apply_status(repository: ConversationRepository, alerts: Alerts, update: StatusUpdate) -> bool:
    """Move a delivery to where the provider says that it is. Whether there was such a delivery to move."""
    earlier = EARLIER_STATES.get(update.state)
    delivery = await repository.find_delivery(update.provider_message_id, update.delivery_id)
    if delivery is None:
        return False
    if earlier is None or delivery.state not in earlier:
        return True
    if update.window_closed and delivery.sent_as == "text" and delivery.template is not None:
        # The sweep sends it again, as its template.
        delivery.state, delivery.text, delivery.provider_message_id = "pending", None, None
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
