"""The outbox: sending deliveries, in order within a conversation, each once.

A delivery is claimed in its own transaction before the provider is called, so that after a crash it is known to have
been under way; it is then looked up at the provider before it is sent again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from recado.alerts.service import Alerts
from recado.channels.base import Channel
from recado.clock import Clock
from recado.conversations import window
from recado.conversations.alarms import Alarm, raise_all
from recado.conversations.claiming import Claimer
from recado.conversations.failing import Claim, Outcome, outcome_of
from recado.conversations.limit_repository import LimitRepository
from recado.conversations.repository import ConversationRepository, ids_in_use
from recado.db.engine import Database
from recado.errors import Retryable, SendError

log = structlog.get_logger(__name__)


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

    async def deliver(self, conversation_id: int, merchant_id: int) -> datetime | None:
        """Send everything of this conversation that is due, oldest first. Returns when the next one is due, if it waits
        for a time.
        """
        outcome: Outcome | None = None
        while True:
            async with self._database.transaction() as session:
                repository = ConversationRepository(session, merchant_id)
                if outcome is not None:
                    await _settle(repository, outcome, self._clock.now())
                claimer = Claimer(repository, self._clock.now(), self._process_id, alone=self._alone)
                claim = await claimer.next(conversation_id)
            alarms = claimer.alarms
            if outcome is not None and outcome.alarm is not None:
                alarms = [outcome.alarm, *alarms]
            await self._tell(alarms)
            if not isinstance(claim, Claim):
                return claim
            outcome = await self._send(claim)

    async def _tell(self, alarms: Sequence[Alarm]) -> None:
        """After the claim's transaction: nobody waits for its locks with one of these."""
        news = [alarm for alarm in alarms if alarm.key is None]
        if len(news) < len(alarms):
            now = self._clock.now()
            async with self._database.transaction() as session:
                limits = LimitRepository(session)
                news = [alarm for alarm in alarms if await alarm.is_news(limits, now)]
        await raise_all(self._alerts, news)

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
            return await channel.send(account, message)
        found = await channel.find(account, message, delivery.sending_at or delivery.due_at)
        if not found:
            return None
        async with self._database.read() as session:
            known = await ids_in_use(session, account, found)
        return next((provider_id for provider_id in found if provider_id not in known), None)


async def _settle(repository: ConversationRepository, outcome: Outcome, now: datetime) -> None:
    delivery, values = outcome.delivery, outcome.values
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
