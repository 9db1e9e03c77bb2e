"""The sync outbox: telling the conversation API what happened, in order, one request at a time per session.

The API has no versions: of two writes to one session at the same time it loses one, and says nothing. So a session is
claimed before it is written to, and whoever takes over another's claim reads what the API has before repeating a
message.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog
from cachetools import LRUCache

from recado.clock import Clock
from recado.db.engine import Database
from recado.errors import SyncError, SyncUnavailable
from recado.sync.circuit import Circuit
from recado.sync.client import ConversationStateService
from recado.sync.linking import Linking
from recado.sync.repository import Claim, SyncRepository, Told, has_due, open_missing
from recado.sync.telling import Telling

log = structlog.get_logger(__name__)

SESSIONS_AT_ONCE = 32
ENTRIES_AT_ONCE = 20
"""How many entries of one conversation are told before others have their turn."""
MERGE_BEYOND = 100
"""A backlog of a conversation from which on only the last of its states is told."""
CLAIM = timedelta(seconds=120)
LONGEST_TELLING = 100.0
"""Seconds after which telling is given up, so that nobody else takes over while it goes on."""
RUN_SECONDS = 60.0
COLLECT_SECONDS = 1.0
"""How long a drain waits at first, so that one round tells what several conversations have to say."""
FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=1)
AFTER_TIMEOUT = timedelta(seconds=10)
"""So long may the API still be at work on a request that nobody waits for any more, and write what it said."""
RESTORE_SECONDS = 1.0
"""How long a first turn may wait for what the API knows: no longer than it waits for quiet."""
RESTORE_POLL_SECONDS = 0.05
RESTORED = 10_000


class Report(Protocol):
    """How the team hears of what needs a person: a condition of the alerts, why, and what it is about."""

    async def __call__(self, condition: str, description: str, **context: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """`process_id` and `alone`: see `SyncRepository`. `default_local_id`: the branch of merchants that name none.
    `collect_seconds`: see `COLLECT_SECONDS`."""

    process_id: str
    alone: bool
    default_local_id: str
    collect_seconds: float = COLLECT_SECONDS


class SyncOutbox:
    """Drains the outbox, and asks what the API knows of people who are new here."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        service: ConversationStateService,
        circuit: Circuit,
        report: Report,
        settings: SyncSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._service = service
        self._circuit = circuit
        self._report = report
        self._settings = settings
        self._linking = Linking(service, settings.default_local_id)
        self._restored: LRUCache[int, bool] = LRUCache(RESTORED)
        self._restoring: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def is_due(self) -> bool:
        """Whether there is something to tell, and somebody to listen."""
        await self._watch_circuit()
        if self._circuit.blocks():
            return False
        async with self._database.read() as session:
            return await has_due(session, self._clock.now())

    async def _watch_circuit(self) -> None:
        """Tell the team once that it is open, whoever found that out."""
        was_open, self._is_open = self._is_open, self._circuit.state != "closed"
        if self._is_open and not was_open:
            reason = "the conversation API does not answer; messages and states wait, `recado doctor` tells why"
            await self._report("sync_circuit_open", reason)

    async def open_missing(self) -> None:
        """Take on the conversations that are older than the syncing."""
        async with self._database.transaction() as session:
            await open_missing(session, self._clock.now())

    async def drain(self) -> None:
        """Tell everything that is due. What fails is tried again later; nothing is dropped."""
        await asyncio.sleep(self._settings.collect_seconds)
        end = time.monotonic() + RUN_SECONDS
        after, unfinished = 0, False
        while time.monotonic() < end and not self._circuit.blocks():
            limit = SESSIONS_AT_ONCE if self._circuit.state == "closed" else 1
            claims = await self._claim(after, limit)
            unfinished = unfinished or any(claim.backlog > len(claim.entries) for claim in claims)
            if claims:
                await self._settle(await asyncio.gather(*(self._tell(claim) for claim in claims)))
            if len(claims) == limit:
                after = claims[-1].session.conversation_id
            elif unfinished:
                after, unfinished = 0, False  # those that have more to tell than fits into one round
            else:
                break  # whatever comes from now on is nudged anew
        await self._watch_circuit()

    async def restore(self, conversation_id: int, merchant_id: int) -> None:
        """Have what the API knows of a person who is new here, if it says so within `RESTORE_SECONDS`.

        What comes later is there for the next turn.
        """
        if conversation_id in self._restored or self._circuit.blocks():
            return
        task = asyncio.create_task(self._restore(conversation_id, merchant_id))
        self._restoring.add(task)
        task.add_done_callback(self._restoring.discard)
        await asyncio.wait({task}, timeout=RESTORE_SECONDS)

    async def _restore(self, conversation_id: int, merchant_id: int) -> None:
        end = time.monotonic() + RESTORE_SECONDS
        while time.monotonic() < end:
            now = self._clock.now()
            async with self._database.transaction() as session:
                repository = self._repository(session)
                claim = await repository.claim_one(conversation_id, merchant_id, ENTRIES_AT_ONCE, now, now + CLAIM)
                known = claim is None and not await repository.is_unknown(conversation_id, merchant_id)
            if known:
                self._restored[conversation_id] = True
                return
            if claim is not None:
                await self._settle([await self._tell(claim, only_link=True)])
                return
            await asyncio.sleep(RESTORE_POLL_SECONDS)  # the outbox is at it

    async def _claim(self, after: int, limit: int) -> list[Claim]:
        now = self._clock.now()
        async with self._database.transaction() as session:
            repository = self._repository(session)
            claims = await repository.claim_due(after, limit, ENTRIES_AT_ONCE, now, now + CLAIM)
            for claim in claims:
                if claim.backlog > MERGE_BEYOND:
                    await repository.merge_states(claim)
        return claims

    async def _settle(self, told: Sequence[Told]) -> None:
        async with self._database.transaction() as session:
            await self._repository(session).settle(told, self._clock.now())

    def _repository(self, session: Any) -> SyncRepository:
        return SyncRepository(session, self._settings.process_id, alone=self._settings.alone)

    async def _tell(self, claim: Claim, *, only_link: bool = False) -> Told:
        """Tell the API what a conversation has to say, until it has or something fails."""
        told = Told(claim)
        telling = Telling(self._service, self._linking, self._clock, told)
        try:
            async with asyncio.timeout(LONGEST_TELLING):
                await telling.run(only_link=only_link)
        except TimeoutError:
            claim.session.uncertain = True
            self._later(told, SyncUnavailable("the conversation API is too slow", "timeout", ambiguous=True))
        except SyncError as error:
            self._later(told, error)
        except Exception as error:
            # The job boundary: one conversation must not hold up the others.
            log.error("conversation sync error: unexpected", conversation_id=claim.conversation.id, exc_info=True)
            self._later(told, error)
        for entry_id, why in told.refused:
            context: dict[str, Any] = {"conversation_id": claim.conversation.id, "sync_entry_id": entry_id}
            merchant_id = claim.session.merchant_id
            await self._report("sync_refused", why, merchant_id=merchant_id, **context)
        return told

    def _later(self, told: Told, error: Exception) -> None:
        session, now = told.claim.session, self._clock.now()
        if isinstance(error, SyncUnavailable) and error.reason == "circuit_open":
            return  # the circuit says when
        session.attempts += 1
        session.error = f"{type(error).__name__}: {error}"[:500]
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(session.attempts - 1, 10))
        pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        if isinstance(error, SyncUnavailable):
            asked = AFTER_TIMEOUT if error.reason == "timeout" else timedelta(seconds=error.retry_after or 0.0)
            pause = max(pause, asked)
        session.due_at = now + pause
        log.warning(
            "conversation sync error",
            conversation_id=told.claim.conversation.id,
            waiting=told.claim.backlog - len(told.sent),
            error=session.error,
        )
