"""One turn: wait for quiet, let the agent answer all that is pending, write down what it says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError

from recado.agent.protocol import Agent, AgentResult, run_key_of
from recado.alerts.raising import Alarm, raise_within
from recado.channels.base import Channel, InboundMessage
from recado.clock import Clock
from recado.conversations.service import ConversationService, Reply, state_of
from recado.db.engine import Database
from recado.db.models import Turn
from recado.errors import SendError
from recado.jobs.nudges import Nudges
from recado.telemetry import metrics
from recado.telemetry.tracing import mark_failed
from recado.turns.apology import apology
from recado.turns.observing import Observed, observed, trace_of
from recado.turns.repository import Attached, PendingMessage, TurnRepository

log = structlog.get_logger(__name__)

CLAIM = timedelta(seconds=45)
"""How long a process that is not heard of keeps a turn. One that runs it renews its claim."""
MAX_DRAFTS = 3
"""How often a draft is dropped for newer messages before it is sent all the same."""
MAX_QUIET_WAITS = 5
COURTESY_SECONDS = 2.0
"""How long a turn waits for the provider to show that an answer is being typed."""
MAX_FAILURES = 3
FAILURE_BACKOFF = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """`quiet_seconds`: how long a person must have been silent before they are answered. `alone`: no other process
    runs turns, so that another's claim is from before a crash."""

    process_id: str
    quiet_seconds: float
    alone: bool


Restore = Callable[[int, int], Awaitable[None]]
"""Asks where the person of a (conversation id, merchant id) stands who is new here. Takes no longer than a second."""


async def nothing_to_restore(conversation_id: int, merchant_id: int) -> None:
    """For where nobody else knows people."""


Prepare = Callable[[int, int], Awaitable[None]]
"""Makes ready what the messages of a (turn id, merchant id) bring with them: files."""


async def nothing_to_prepare(turn_id: int, merchant_id: int) -> None:
    """For where nobody sends files."""


class TurnService:
    """Runs turns, one at a time per conversation. `restore` runs while the turn waits for quiet, `prepare` before each
    draft."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        agent: Agent,
        nudges: Nudges,
        settings: TurnSettings,
        restore: Restore = nothing_to_restore,
        prepare: Prepare = nothing_to_prepare,
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = channels
        self._agent = agent
        self._nudges = nudges
        self._settings = settings
        self._restore = restore
        self._prepare = prepare

    async def run(self, conversation_id: int, merchant_id: int) -> None:
        """Answer until nothing is pending. What fails is tried again by the sweep, and apologised for in the end."""
        more = True
        while more:
            await asyncio.gather(
                self._wait_for_quiet(conversation_id, merchant_id), self._restore(conversation_id, merchant_id)
            )
            try:
                begun = await self._begin(conversation_id, merchant_id)
            except IntegrityError:
                return  # another process began it in the same moment
            if begun is None:
                return
            turn, attached = begun
            with observed(turn, attached, self._clock.now()) as seen:
                try:
                    async with self._holding(turn):
                        more = await self._answer(turn, seen)
                except Exception as error:  # noqa: BLE001 - the job boundary: a person must hear of whatever it was
                    await self._failed(turn, seen, error)
                    return

    async def _wait_for_quiet(self, conversation_id: int, merchant_id: int) -> None:
        """Mark as read and show typing, until the person has been silent for the quiet period."""
        acknowledged: int | None = None
        for _ in range(MAX_QUIET_WAITS):
            async with self._database.read() as session:
                latest = await TurnRepository(session, merchant_id).latest_pending(conversation_id)
            if latest is None:
                return
            if latest.message.id != acknowledged and "handled" not in latest.message.other_data:
                await self._acknowledge(latest)
                acknowledged = latest.message.id
            silent = (self._clock.now() - latest.message.created_at).total_seconds()
            if silent >= self._settings.quiet_seconds:
                return
            await asyncio.sleep(self._settings.quiet_seconds - silent)

    async def _acknowledge(self, latest: PendingMessage) -> None:
        message, contact = latest.message, latest.contact
        inbound = InboundMessage(
            provider_message_id=message.provider_message_id or "",
            channel_user_id=contact.channel_user_id,
            phone=contact.phone,
            name=contact.name,
            kind=message.kind,
            text="",
        )
        try:
            async with asyncio.timeout(COURTESY_SECONDS):
                await self._channels[latest.account.channel].acknowledge(latest.account, inbound)
        except (SendError, TimeoutError) as error:  # a courtesy: the answer matters more
            log.info("could not show typing", conversation_id=message.conversation_id, error=str(error))

    async def _begin(self, conversation_id: int, merchant_id: int) -> tuple[Turn, list[Attached]] | None:
        """The turn to run, with what it answers: one that was interrupted, or a new one with all that is pending. None:
        nothing to do.
        """
        now = self._clock.now()
        async with self._database.transaction() as session:
            turns = TurnRepository(session, merchant_id)
            turn = await turns.running(conversation_id)
            if turn is not None:
                if self._is_taken(turn):
                    return None
                turn.claimed_by, turn.claimed_until = self._settings.process_id, now + CLAIM
                attached = await turns.attached(turn.id)
            else:
                turn = turns.start(conversation_id, self._settings.process_id, now, now + CLAIM)
                await session.flush()
                attached = await turns.attach_pending(turn)
                if not attached:
                    await session.rollback()
                    return None
        turn.trace_id = trace_of(attached)  # its row gets it at the end
        return turn, attached

    def _is_taken(self, turn: Turn) -> bool:
        if turn.claimed_until <= self._clock.now():
            return False
        if turn.claimed_by is None:
            return True  # it failed, and waits to be tried again
        return turn.claimed_by != self._settings.process_id and not self._settings.alone

    @asynccontextmanager
    async def _holding(self, turn: Turn) -> AsyncIterator[None]:
        """Keep the claim on a turn that takes long."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(CLAIM.total_seconds() / 3)
                async with self._database.transaction() as session:
                    row = await TurnRepository(session, turn.merchant_id).get(turn.id)
                    if row.claimed_by == self._settings.process_id:
                        row.claimed_until = self._clock.now() + CLAIM

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()

    async def _answer(self, turn: Turn, seen: Observed) -> bool:
        """Draft until a draft stands. Whether messages may have come that it does not answer."""
        while True:
            given = {"turn_id": turn.id, "conversation_id": turn.conversation_id, "merchant_id": turn.merchant_id}
            await self._make_ready(turn)
            result = await self._agent.run(turn.conversation_id, run_key_of(turn.id, turn.draft), given)
            last = result.acted or turn.draft >= MAX_DRAFTS
            if await self._write_down(turn, seen, result, last=last):
                break
            turn.draft += 1
            metrics.DRAFTS_DROPPED.inc()
            log.info("draft dropped for newer messages")
        seen.ended("done")
        log.info("turn done", draft=turn.draft)
        if result.replies:
            await self._nudges.deliver(turn.conversation_id, turn.merchant_id)
        await self._agent.prune(turn.conversation_id)
        return last

    async def _make_ready(self, turn: Turn) -> None:
        try:
            await self._prepare(turn.id, turn.merchant_id)
        except Exception:
            # Part of the job boundary: no file may cost the person their answer.
            log.warning("what came with a turn's messages is not ready", exc_info=True)

    async def _write_down(self, turn: Turn, seen: Observed, result: AgentResult, *, last: bool) -> bool:
        """Write the replies and end the turn, unless newer messages came and this draft is not the last."""
        async with self._database.transaction() as session:
            turns = TurnRepository(session, turn.merchant_id)
            if not last and await turns.attach_pending(turn):
                if await turns.change(turn.id, draft=turn.draft + 1):
                    return False
                # Another process has ended the turn: the newer messages get one of their own.
                await session.rollback()
                return True
            done = {"state": "done", "finished_at": self._clock.now(), "claimed_by": None}
            if await turns.change(turn.id, **done, **_record(turn, seen)):
                await self._write(ConversationService(session, turn.merchant_id, self._clock), turn, result)
                if result.gave_up:
                    reason = "the person was told that it failed; the log has what was wrong"
                    raise_within(session, [Alarm("reply_unusable", reason)], self._clock.now())
        return True

    async def _write(self, service: ConversationService, turn: Turn, result: AgentResult) -> None:
        conversation, contact, _ = await service.repository.get(turn.conversation_id)
        if result.language is not None:
            conversation.language = result.language
        if result.summary is not None and result.summarised_through is not None:
            conversation.summary = result.summary
            conversation.summarised_through = result.summarised_through
        if result.progress:
            *passed, now = result.progress
            conversation.intent, conversation.step = now["intent"], now["step"]
            await service.progressed(conversation, passed)
        replies = [
            Reply(
                key=f"turn:{turn.id}:reply:{number}",
                text=reply.text,
                buttons=reply.buttons,
                prompt=reply.prompt,
                other_data=reply.other_data,
                turn_id=turn.id,
            )
            for number, reply in enumerate(result.replies)
        ]
        await service.say_all([(conversation, contact, reply) for reply in replies])
        if not replies:
            await service.progressed(conversation, [state_of(conversation)])

    async def _failed(self, turn: Turn, seen: Observed, error: Exception) -> None:
        log.warning("turn failed", error=f"{type(error).__name__}: {error}", exc_info=True)
        mark_failed(error)
        given_up = False
        async with self._database.transaction() as session:
            turns = TurnRepository(session, turn.merchant_id)
            row = await turns.get(turn.id)
            if row.state != "running" or row.claimed_by != self._settings.process_id:
                return  # it is answered, or another process has it: what failed came after that
            row.failures += 1
            row.error = f"{type(error).__name__}: {error}"[:2_000]
            row.claimed_by = None
            row.claimed_until = self._clock.now() + FAILURE_BACKOFF * 2 ** (row.failures - 1)
            if row.failures >= MAX_FAILURES:
                given_up = True
                row.state, row.finished_at = "failed", self._clock.now()
                row.trace_id, row.steps = turn.trace_id, _record(turn, seen)["steps"]
                raise_within(session, [Alarm("turn_failed", row.error)], row.finished_at)
                service = ConversationService(session, turn.merchant_id, self._clock)
                conversation, contact, merchant = await service.repository.get(turn.conversation_id)
                text = apology(conversation.language or merchant.language)
                await service.say(
                    conversation, contact, Reply(key=f"turn:{turn.id}:apology", text=text, turn_id=turn.id)
                )
        if given_up:
            await self._nudges.deliver(turn.conversation_id, turn.merchant_id)
            seen.ended("failed")


def _record(turn: Turn, seen: Observed) -> dict[str, Any]:
    """What a turn's row keeps of what was done."""
    return {"trace_id": turn.trace_id, "steps": [step.as_row() for step in seen.steps]}
