"""Raising alerts: an occurrence is a row, written where the error was noticed. The alerts' job tells the team of it."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.conditions import CONDITIONS
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import AlertOccurrence
from recado.telemetry import metrics
from recado.telemetry.context import known_ids
from recado.text import clean_text, mask_phones

log = structlog.get_logger(__name__)

LONGEST_DESCRIPTION = 4_000
MOST_WAITING = 1_000
"""How many different errors wait for a database that is away."""
COLLECT_SECONDS = 1.0
"""How long what nobody waits for is collected, so that a storm of it is a few rows."""
RETRY_SECONDS = 5.0
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-fA-F]{8,}\b|\d+")
"""What differs between two occurrences of one error: what is quoted, and numbers."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """An error that the team has to know of. `condition`: one of `CONDITIONS`. `context`: ids, never texts.

    `key`: what makes two of them the same error; None: that they say the same but for numbers and quotations.
    `about`: the ids of the work in hand when it was made.
    """

    condition: str
    description: str
    context: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    about: dict[str, Any] = field(default_factory=known_ids)

    def occurrence(self, at: datetime) -> dict[str, Any]:
        """The row of it. What the context says is stronger than what the work was about, when it was made or is now."""
        ids = {
            **known_ids(),
            **self.about,
            **{name: value for name, value in self.context.items() if value is not None},
        }
        description = clean_text(mask_phones(self.description))[:LONGEST_DESCRIPTION]
        merchant_id = ids.pop("merchant_id", None)
        return {
            "fingerprint": self._fingerprint(description, merchant_id),
            "condition": self.condition,
            "description": description,
            "merchant_id": merchant_id,
            "conversation_id": ids.pop("conversation_id", None),
            "trace_id": ids.pop("trace_id", None),
            "context": ids,
            "count": 1,
            "at": at,
        }

    def _fingerprint(self, description: str, merchant_id: int | None) -> str:
        same = self.key if self.key is not None else _VARYING.sub("#", description)
        whose = str(merchant_id) if CONDITIONS[self.condition].per_merchant else ""
        return hashlib.sha256("\0".join((self.condition, whose, same)).encode()).hexdigest()[:32]


def raise_within(session: AsyncSession, alarms: Iterable[Alarm], at: datetime) -> None:
    """Have them known if, and only if, this transaction is committed. The sweep finds them then."""
    for alarm in alarms:
        _log(alarm)
        session.add(AlertOccurrence(**alarm.occurrence(at)))


class Alerts:
    """Raises alerts outside of anybody's transaction. Never raises an exception.

    `nudge` has the alerts' job look. `not_stored` tells the team directly that alerts cannot be written down.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        nudge: Callable[[], Awaitable[None]],
        not_stored: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._nudge = nudge
        self._not_stored = not_stored
        self._waiting: dict[str, dict[str, Any]] = {}
        self._storing = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None

    async def send(self, alarm: Alarm) -> None:
        """Returns when it is on disk, or when it is clear that it cannot be now: it is tried again then."""
        self._collect(alarm)
        if not await self._store():
            self._start(RETRY_SECONDS)

    def soon(self, alarm: Alarm) -> None:
        """The same, for who must not wait and may be one of very many."""
        self._collect(alarm)
        self._start(COLLECT_SECONDS)

    async def close(self) -> None:
        """Store what is left."""
        if self._later is not None:
            self._later.cancel()
            with suppress(asyncio.CancelledError):
                await self._later
        await self._store()

    def _collect(self, alarm: Alarm) -> None:
        _log(alarm)
        row = alarm.occurrence(self._clock.now())
        # Only what tells nothing of a message of its own is counted together: the others are part of its story.
        own = row["conversation_id"] or row["context"]
        key = row["fingerprint"] if not own else f"{row['fingerprint']}:{row['conversation_id']}:{row['context']}"
        if (same := self._waiting.get(key)) is not None:
            same["count"] += 1
        elif len(self._waiting) < MOST_WAITING:
            self._waiting[key] = row

    def _start(self, seconds: float) -> None:
        if self._later is None or self._later.done():
            self._later = asyncio.get_running_loop().create_task(self._store_later(seconds))

    async def _store_later(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            if await self._store():
                return
            seconds = RETRY_SECONDS

    async def _store(self) -> bool:
        """Whether nothing is left to store. Those who come meanwhile share the next transaction."""
        async with self._storing:
            rows, self._waiting = self._waiting, {}
            if not rows:
                return True
            try:
                async with self._database.transaction() as session:
                    session.add_all(AlertOccurrence(**row) for row in rows.values())
            except (SQLAlchemyError, OSError) as error:
                for key, row in self._waiting.items():
                    if key in rows:
                        rows[key]["count"] += row["count"]
                self._waiting |= rows
                log.error("alerts cannot be stored, they wait", waiting=len(rows), error=type(error).__name__)
                await self._not_stored(f"{len(rows)} wait: {type(error).__name__}")
                return False
        await self._nudge()
        return True


def _log(alarm: Alarm) -> None:
    metrics.ALERTS.labels(alarm.condition).inc()
    level = logging.getLevelNamesMapping()[CONDITIONS[alarm.condition].severity.upper()]
    log.log(level, "alert", condition=alarm.condition, description=mask_phones(alarm.description), **alarm.context)
