"""The outbox: sending deliveries, in order within a conversation, each once.

A delivery is claimed in its own transaction before the provider is called, so that after a crash it is known to have
been under way; it is then looked up at the provider before it is sent again.
"""

from collections.abc import Mapping
from datetime import datetime

import structlog
from opentelemetry.trace import SpanKind

from recado.alerts.raising import raise_within
from recado.channels.base import Channel
from recado.clock import Clock
from recado.conversations import window
from recado.conversations.claiming import Claimer
from recado.conversations.failing import Claim, Outcome, context_of, outcome_of
from recado.conversations.repository import ConversationRepository, ids_in_use
from recado.db.engine import Database
from recado.errors import Retryable, SendError
from recado.telemetry import metrics
from recado.telemetry.context import about
from recado.telemetry.tracing import in_trace, span

log = structlog.get_logger(__name__)


class Outbox:
    """Sends what conversations have to say. `process_id` names this process in claims."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        process_id: str,
        *,
        alone: bool,
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = channels
        self._process_id = process_id
        self._alone = alone
        """No other process sends: then any other's claim is from before a crash."""

    async def deliver(self, conversation_id: int, merchant_id: int) -> datetime | None:
        """Send everything of this conversation that is due, oldest first. Returns when the next one is due, if it waits
        for a time.
        """
        outcome: Outcome | None = None
        while True:
            async with self._database.transaction() as session:
                repository = ConversationRepository(session, merchant_id)
                now = self._clock.now()
                if outcome is not None:
                    await _settle(repository, outcome, now)
                claimer = Claimer(repository, now, self._process_id, alone=self._alone)
                claim = await claimer.next(conversation_id)
                raise_within(session, claimer.alarms, now)
            if not isinstance(claim, Claim):
                return claim
            ids = context_of(claim.delivery) | {"turn_id": claim.turn_id}
            with in_trace(claim.trace_id), about(**ids):
                outcome = await self._send(claim)
            state, code = outcome.values["state"], outcome.values.get("provider_code") or ""
            metrics.DELIVERIES.labels(claim.account.channel, state, code).inc()

    async def _send(self, claim: Claim) -> Outcome:
        delivery = claim.delivery
        try:
            provider_id = await self._reach(claim)
        except SendError as error:
            return outcome_of(claim, error, self._clock.now())
        except Exception as error:
            # The job boundary: whatever an adapter raised, the provider may have it, and somebody must hear of it.
            log.warning("a channel raised what it should not", delivery_id=delivery.id, exc_info=True)
            unknown = Retryable(f"{type(error).__name__}: {error}", ambiguous=True)
            return outcome_of(claim, unknown, self._clock.now())
        if provider_id is None:
            # The window may have closed meanwhile: decide anew, as for a new delivery. A lookup that worked is no
            # attempt at sending.
            values = {"state": "pending", "claimed_by": None, "attempts": delivery.attempts - 1, "slot_at": None}
            return Outcome(delivery, values)
        sent = {"state": "sent", "provider_message_id": provider_id, "sent_at": self._clock.now()}
        return Outcome(delivery, {**sent, "claimed_by": None, "error": None, "provider_code": None})

    async def _reach(self, claim: Claim) -> str | None:
        """The provider's id of this message: sent now, or, when it may have it already, found. None: it has it not."""
        delivery, account, message = claim.delivery, claim.account, claim.message
        channel = self._channels[account.channel]
        if not claim.uncertain:
            way, template = delivery.sent_as or "text", message.template.name if message.template else ""
            metrics.SENDS.labels(account.channel, way, template).inc()
            with (
                span("send", kind=SpanKind.CLIENT, channel=account.channel, way=way),
                metrics.SEND_SECONDS.labels(account.channel).time(),
            ):
                return await channel.send(account, message)
        found = await channel.find(account, message, delivery.sending_at or delivery.due_at)
        if not found:
            return None
        async with self._database.read() as session:
            known = await ids_in_use(session, account, found)
        return next((provider_id for provider_id in found if provider_id not in known), None)


async def _settle(repository: ConversationRepository, outcome: Outcome, now: datetime) -> None:
    delivery, values = outcome.delivery, outcome.values
    if outcome.alarm is not None:
        raise_within(repository.session, [outcome.alarm], now)
    if outcome.closed is not None:
        await repository.close_window(delivery.conversation_id, delivery.sending_at, outcome.closed.since)
    if outcome.opt_out is not None:
        await repository.opt_out(delivery.conversation_id, outcome.opt_out, delivery.sending_at, now)
    if values["state"] == "held" and window.is_open(await repository.window(delivery.conversation_id), now):
        values["state"] = "pending"  # they wrote meanwhile: there is nothing to wait for
    # A status callback may have overtaken us, and moved it on or back to be sent as its template.
    changed = await repository.change_delivery(delivery.id, ("sending",), **values)
    if not changed and "provider_message_id" in values:
        # Moved on: only what the provider said is left to note.
        noted = {name: values[name] for name in ("provider_message_id", "sent_at")}
        await repository.change_delivery(delivery.id, ("sent", "delivered", "read"), **noted)
