"""What only the rows and the queue know, as figures for a scrape."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from recado.http import backlog_repository as repository
from recado.http.backlog_repository import PARTS, Waiting
from recado.http.services import HttpServices
from recado.sync.repository import backlog as sync_backlog
from recado.telemetry.metrics import SCRAPE_ERRORS

log = structlog.get_logger(__name__)

AT_MOST_EVERY = timedelta(seconds=1)
"""However many scrape, the rows are read no more often."""
TIMEOUT_SECONDS = 2.0
"""How long a scrape waits for what the rows say."""

GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "recado_backlog": ("Rows with work left, by what they are.", ("of",)),
    "recado_backlog_age_seconds": ("How long the oldest of them waits.", ("of",)),
    "recado_notifications_open": ("Questions that the staff has not answered.", ("merchant",)),
    "recado_notifications_open_age_seconds": ("How long the oldest of them is open.", ("merchant",)),
    "recado_queue_jobs": ("Jobs in the queue, by the kind of QUEUE_URL.", ("queue", "state")),
    "recado_sync_backlog": ("Entries that the conversation API has not been told yet.", ()),
    "recado_sync_backlog_age_seconds": ("Age of the oldest of them.", ()),
    "recado_merchant_info": ("The merchants, by the id that other figures have as `merchant`.", ("merchant", "name")),
}
"""By name: what they are, and their labels."""

Sample = tuple[str, tuple[str, ...], float]
Read = Callable[[], Coroutine[Any, Any, list[Sample]]]


class Backlog:
    """Reads all parts at once, and gives what was read in time: a part that is missing is counted as an error."""

    def __init__(self, services: HttpServices) -> None:
        self._services = services
        self._reading: dict[str, asyncio.Task[list[Sample]]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._read_at: datetime | None = None
        self._families: list[Metric] = []
        self._parts: dict[str, Read] = {part: self._rows(part) for part in PARTS}
        self._parts |= {"open": self._open, "merchants": self._merchants, "queue": self._queue}
        if services.settings.enable_conversation_sync:
            self._parts["sync"] = self._sync

    async def read(self) -> list[Metric]:
        """The gauges, not older than a second. Never raises."""
        async with self._one_at_a_time:
            now = self._services.clock.now()
            if self._read_at is None or not timedelta() <= now - self._read_at < AT_MOST_EVERY:
                self._families = _families(await self._all())
                self._read_at = self._services.clock.now()
            return self._families

    async def _all(self) -> list[Sample]:
        # What an earlier scrape has given up may still hang: nothing is added to that.
        tasks = {part: self._start(part) for part in self._parts if part not in self._reading}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=TIMEOUT_SECONDS)
        samples: list[Sample] = []
        for part in self._parts:
            task = tasks.get(part)
            if task is None or not task.done():
                self._failed(part, "it takes too long")
                if task is not None:
                    task.cancel()  # and not waited for: a driver may take its time over that, too
            elif error := task.exception():
                self._failed(part, type(error).__name__)
            else:
                samples += task.result()
        return samples

    def _start(self, part: str) -> asyncio.Task[list[Sample]]:
        def over(ended: asyncio.Task[list[Sample]]) -> None:
            del self._reading[part]
            if not ended.cancelled():
                ended.exception()  # asyncio complains of those that nobody has looked at

        task = self._reading[part] = asyncio.create_task(self._parts[part]())
        task.add_done_callback(over)
        return task

    def _failed(self, part: str, why: str) -> None:
        SCRAPE_ERRORS.labels(part).inc()
        log.warning("a scrape could not read everything", part=part, error=why)

    def _rows(self, part: str) -> Read:
        async def read() -> list[Sample]:
            async with self._services.database.read() as session:
                found = await repository.waiting(session, part)
            return self._samples("recado_backlog", {(of,): waiting for of, waiting in found.items()})

        return read

    async def _open(self) -> list[Sample]:
        async with self._services.database.read() as session:
            found = await repository.open_notifications(session)
        return self._samples("recado_notifications_open", {(str(merchant),): each for merchant, each in found.items()})

    async def _merchants(self) -> list[Sample]:
        async with self._services.database.read() as session:
            found = await repository.merchants(session)
        return [("recado_merchant_info", (str(merchant_id), name), 1.0) for merchant_id, name in found]

    async def _queue(self) -> list[Sample]:
        queue, kind = self._services.nudges.queue, self._services.settings.queue_url.split("://")[0]
        return [
            ("recado_queue_jobs", (kind, "queued"), await queue.count("queued")),
            ("recado_queue_jobs", (kind, "active"), await queue.count("active")),
        ]

    async def _sync(self) -> list[Sample]:
        async with self._services.database.read() as session:
            count, since = await sync_backlog(session)
        return self._samples("recado_sync_backlog", {(): Waiting(count, since)})

    def _samples(self, name: str, found: Mapping[tuple[str, ...], Waiting]) -> list[Sample]:
        now = self._services.clock.now()
        samples: list[Sample] = []
        for labels, waiting in found.items():
            age = max(0.0, (now - waiting.since).total_seconds()) if waiting.since else 0.0
            samples += [(name, labels, waiting.count), (f"{name}_age_seconds", labels, age)]
        return samples


def _families(samples: Iterable[Sample]) -> list[Metric]:
    families: dict[str, GaugeMetricFamily] = {}
    for name, labels, value in samples:
        if name not in families:
            families[name] = GaugeMetricFamily(name, GAUGES[name][0], labels=GAUGES[name][1])
        families[name].add_metric(labels, value)
    return list(families.values())
