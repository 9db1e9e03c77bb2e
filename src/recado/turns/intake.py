"""The inbox: an event is on disk before its webhook is answered."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from recado.channels.base import RawEvent
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.insert import insert_new
from recado.db.models import InboxEvent
from recado.jobs.nudges import Nudges
from recado.telemetry import metrics

Waiting = tuple[list[dict[str, Any]], asyncio.Future[None]]


class Intake:
    """Stores events. Requests that arrive while a commit is under way share the next one."""

    def __init__(self, database: Database, clock: Clock, nudges: Nudges) -> None:
        self._database = database
        self._clock = clock
        self._nudges = nudges
        self._waiting: list[Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._nudging: asyncio.Task[None] | None = None
        # A redelivery is dropped here, however many come at once: the first one's row has its id.
        self._insert = insert_new(InboxEvent.__table__, database.is_sqlite)

    async def accept(self, events: Sequence[RawEvent]) -> None:
        """Returns when the events are committed to disk. Raises what the database raised when they are not."""
        now, started = self._clock.now(), time.perf_counter()
        rows = [
            {
                "channel": event.channel,
                "address": event.address,
                "provider_event_id": event.provider_event_id,
                "payload": event.payload,
                "state": "received",
                "received_at": now,
            }
            for event in events
        ]
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, stored))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await stored
        took = time.perf_counter() - started
        for event in events:
            metrics.INTAKE_SECONDS.labels(event.channel).observe(took)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                async with self._database.transaction(urgent=True) as session:
                    connection = await session.connection()
                    await connection.execute(self._insert, [row for rows, _ in batch for row in rows])
            except Exception as raised:  # noqa: BLE001 - each waiting webhook raises it
                error = raised
            for _, stored in batch:
                if stored.done():
                    continue  # the provider hung up meanwhile
                if error is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(error)
            if error is None:
                # Not awaited: a slow queue must not hold up the webhooks that wait for the next commit.
                self._nudging = asyncio.create_task(self._nudges.ingest())
        self._writer = None
