"""The outbox: sending deliveries, in order within a conversation, each once.

A delivery is claimed in its own transaction before the provider is called, so that after a crash it is known to have
been under way; it is then looked up at the provider before it is sent again.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import structlog

from recado.alerts.service import Alerts
from recado.channels.base import Channel, OutboundMedia, OutboundMessage
from recado.clock import Clock
from recado.conversations import window
from recado.conversations.repository import ConversationRepository, NextDelivery
from recado.conversations.service import read_template
from recado.conversations.statuses import announces, refused
from recado.db.engine import Database
from recado.db.models import Contact, Conversation, Delivery
from recado.errors import Permanent, Retryable, TemplateRefused, WindowClosed
from recado.merchants.account import Account

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 8
FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=5)
CLAIM = timedelta(seconds=60)
"""How long another process's claim is respected: longer than any provider call takes."""

COVERED = "covered_by_template"
"""The code of a part of a text that is not sent because the whole went as one template."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours to send. No `message`: it may not be sent. `uncertain`: the provider may have it.

    `covered`: the first part of this text went as its template, which stands for the whole. `announced`: its first part
    is a template that only announces it.
    """

    delivery: Delivery
    account: Account
    message: OutboundMessage | None
    uncertain: bool
    covered: bool
    announced: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claim: the delivery's new values, and why it was given up, where it was."""

    delivery: Delivery
    values: dict[str, Any]
    failure: str | None = None
    window_closed: bool = False
    """The provider says so, whatever we counted."""


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
                    await _settle(repository, outcome, self._clock.now())
                claim = await self._claim(repository, conversation_id)
            if outcome is not None and outcome.failure is not None:
                await self._gave_up(outcome.delivery, outcome.failure)
            if claim is None:
                return
            outcome = await self._send(claim)

    async def _claim(self, repository: ConversationRepository, conversation_id: int) -> Claim | None:
        """The next delivery that is due, made ours. None: there is none, or another process has it."""
        now = self._clock.now()
        while (found := await repository.next_delivery(conversation_id)) is not None:
            delivery = found.delivery
            if delivery.due_at > now or self._is_taken(delivery, now):
                return None
            first = await repository.first_part(delivery.message_id) if delivery.part else delivery
            # One with a claim and no outcome the provider may have already: that is found out first.
            if delivery.state == "sending" or not await self._set_aside(repository, found, first, now):
                return self._take(found, first, now)
            await repository.session.flush()
        return None

    async def _set_aside(
        self, repository: ConversationRepository, found: NextDelivery, first: Delivery, now: datetime
    ) -> bool:
        """Whether this delivery is not to be sent now: an announcement that nobody needs, or a text that has to wait
        until the person opens the window."""
        delivery, announced = found.delivery, announces(first)
        is_open = window.is_open(found.conversation.last_inbound_at, now)
        if delivery is first:
            if announced and is_open:
                delivery.state = "skipped"
            return announced and is_open
        if first.state != "held" and (is_open or not announced):
            return False
        # Alone with it: a message that opens the window releases only what is held by then.
        if window.is_open(await repository.window(delivery.conversation_id), now):
            # It came in this moment: all that was read is of before, and what is held may go.
            await repository.release(delivery.conversation_id, now)
            repository.session.expire_all()
            return True
        await repository.hold(delivery.message_id)
        if announced and first.state == "skipped":
            first.state, first.due_at = "pending", now  # the window has closed since: it is needed after all
        return True

    def _take(self, found: NextDelivery, first: Delivery, now: datetime) -> Claim:
        delivery = found.delivery
        uncertain = delivery.state == "sending"
        # One template stands for all parts of a text, unless it only announces them.
        covered = delivery is not first and first.sent_as == "template" and not announces(first)
        message = None if covered else self._message(delivery, found.conversation, found.contact, now, uncertain)
        if not uncertain:
            delivery.sending_at = now
        delivery.state = "sending"
        if message is not None:
            delivery.sent_as = "template" if message.template else "human" if message.by_human else "text"
        else:
            delivery.sent_as = None
        delivery.claimed_by = self._process_id
        delivery.due_at = now
        delivery.attempts += 1
        return Claim(delivery, found.account, message, uncertain, covered, announces(first))

    def _is_taken(self, delivery: Delivery, now: datetime) -> bool:
        if delivery.state != "sending" or self._alone or delivery.claimed_by in {None, self._process_id}:
            return False
        return now - delivery.due_at < CLAIM

    def _message(
        self, delivery: Delivery, conversation: Conversation, contact: Contact, now: datetime, uncertain: bool
    ) -> OutboundMessage | None:
        """The rule of the window at the moment of sending: text while it is open, else the template, else nothing."""
        way = window.way(
            contact.channel,
            conversation.last_inbound_at,
            now,
            has_text=delivery.text is not None or delivery.media is not None,
            has_template=delivery.template is not None,
            by_human=delivery.by_human,
        )
        if uncertain:
            way = cast(window.Way | None, delivery.sent_as)
        if way is None:
            return None
        free, template = way != "template", delivery.template
        return OutboundMessage(
            delivery_id=delivery.id,
            to=contact.channel_user_id,
            phone=contact.phone,
            text=(delivery.text or (template or {}).get("text")) if free else None,
            template=read_template(template) if template and not free else None,
            buttons=tuple(delivery.buttons) if free else (),
            language=template["language"] if template else None,
            media=OutboundMedia(**delivery.media) if delivery.media and free else None,
            by_human=way == "human",
        )

    async def _send(self, claim: Claim) -> Outcome:
        delivery, account, message = claim.delivery, claim.account, claim.message
        if claim.covered:
            return _failed(delivery, COVERED, "the template of the first part stands for the whole", alert=False)
        if message is None:
            return _failed(delivery, "window_closed", "the 24-hour window is closed and there is no template for this")
        try:
            provider_id = await self._reach(delivery, account, message, claim.uncertain)
        except Retryable as error:
            return self._retry_later(delivery, error, claim.uncertain or error.ambiguous)
        except WindowClosed as error:
            if delivery.sent_as == "template" or not (delivery.template or claim.announced):
                return _failed(delivery, error.code, str(error))
            # Only the template is left, for this and for all that follows until the person writes.
            values = {"state": "pending", "claimed_by": None, "error": str(error)}
            return Outcome(delivery, values, window_closed=True)
        except TemplateRefused as error:
            return _refused(delivery, error)
        except Permanent as error:
            return _failed(delivery, error.code, str(error))
        except Exception as error:
            # The job boundary: whatever an adapter raised, the provider may have it, and somebody must hear of it.
            log.warning("a channel raised what it should not", delivery_id=delivery.id, exc_info=True)
            return self._retry_later(delivery, Retryable(f"{type(error).__name__}: {error}"), True)
        if provider_id is None:
            # The window may have closed meanwhile: decide anew, as for a new delivery. A lookup that worked is no
            # attempt at sending.
            return Outcome(delivery, {"state": "pending", "claimed_by": None, "attempts": delivery.attempts - 1})
        sent = {"state": "sent", "provider_message_id": provider_id, "sent_at": self._clock.now()}
        return Outcome(delivery, {**sent, "claimed_by": None, "error": None, "provider_code": None})

    async def _reach(
        self, delivery: Delivery, account: Account, message: OutboundMessage, uncertain: bool
    ) -> str | None:
        """The provider's id of this message: sent now, or, when it may have it already, found. None: it has it not."""
        channel = self._channels[account.channel]
        if not uncertain:
            return await channel.send(account, message)
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


def _refused(delivery: Delivery, error: TemplateRefused) -> Outcome:
    """The template cannot be used. What there is as text is not lost: it goes when the person opens the window."""
    outcome = _failed(delivery, error.code, refused(delivery, str(error)))
    if delivery.text is not None:
        outcome.values["state"] = "held"
    return outcome


async def _settle(repository: ConversationRepository, outcome: Outcome, now: datetime) -> None:
    delivery_id, values = outcome.delivery.id, outcome.values
    if outcome.window_closed:
        await repository.close_window(outcome.delivery.conversation_id, outcome.delivery.sending_at)
    if values["state"] == "held" and window.is_open(await repository.window(outcome.delivery.conversation_id), now):
        values["state"] = "pending"  # they wrote meanwhile: there is nothing to wait for
    # A status callback may have overtaken us, and moved it on or back to be sent as its template.
    changed = await repository.change_delivery(delivery_id, ("sending",), **values)
    if not changed and "provider_message_id" in values:
        # Moved on: only what the provider said is left to note.
        noted = {name: values[name] for name in ("provider_message_id", "sent_at")}
        await repository.change_delivery(delivery_id, ("sent", "delivered", "read"), **noted)
