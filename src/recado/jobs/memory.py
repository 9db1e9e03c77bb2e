"""The embedded job queue: SAQ's `Queue` contract over plain dictionaries, for `QUEUE_URL=memory://`."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any

from saq.job import Job, Status
from saq.queue.base import Queue
from saq.types import CountKind, QueueInfo, WorkerInfo
from saq.utils import now

STATUSES = list(Status)
LONGEST_TIMER = 60.0  # seconds: due times are wall clock, but loop timers stand still while a laptop sleeps


class MemoryQueue(Queue):
    """A SAQ queue inside this process, for one `asyncio` event loop: no threads, no second loop.

    An ordinary `saq.Worker` runs on it. Its jobs die with the process or with `disconnect()`: rows in the
    database are the truth, and a sweep over them nudges again.

    A job may carry `meta={"lane": "<merchant id>"}`; the others share lane "". Lanes are served round-robin:
    a backlog in one delays the next job of another by at most one job of each lane that waits.

    `kwargs`, `meta` and kept results go through JSON once, so that what works here works on the other queues:
    `enqueue` raises TypeError for anything else, and returns None while a job of that key waits or runs. At
    most `keep_finished` finished jobs are kept for their `ttl` (seconds; 0: no end, -1: not at all).
    """

    def __init__(self, name: str = "default", keep_finished: int = 10_000) -> None:
        super().__init__(name=name, dump=None, load=None)
        self._keep_finished = keep_finished
        self._jobs: dict[str, Job] = {}  # all known jobs: queued, active, finished, and the rest is scheduled
        self._queued: dict[str, str] = {}  # key → the lane it waits in
        self._active: set[str] = set()  # handed out by dequeue; active or aborting
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._lanes: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()  # lane → keys, none empty
        self._ready = asyncio.Semaphore(0)  # at least one permit per queued job, more after an abort
        self._timers: dict[str, asyncio.TimerHandle] = {}  # key → when it is due, or its result expires
        self._endings: dict[str, asyncio.Future[Status]] = {}  # sweeps wait here for an aborted run to end
        self._workers: dict[str, tuple[float, WorkerInfo]] = {}  # worker id → (expiry, info)

    async def disconnect(self) -> None:
        for key in list(self._jobs):
            self._forget(key)
        self._workers.clear()

    def copy(self, job: Job) -> Job:
        """A twin that shares only `kwargs` and `result` with `job`; SAQ's own copy costs six times as much."""
        twin = object.__new__(Job)
        vars(twin).update(vars(job), meta=dict(job.meta))
        return twin

    async def job(self, job_key: str) -> Job | None:
        """A snapshot of the job; None when it is unknown or its `ttl` has passed."""
        return self.copy(self._jobs[job_key]) if job_key in self._jobs else None

    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        return [await self.job(key) for key in job_keys]

    async def iter_jobs(self, statuses: list[Status] = STATUSES, batch_size: int = 100) -> AsyncIterator[Job]:
        for key in list(self._jobs):
            if (stored := self._jobs.get(key)) and stored.status in statuses:
                yield self.copy(stored)

    async def count(self, kind: CountKind) -> int:
        """Jobs that are "queued" (and due), "active", or "incomplete": these two and the scheduled."""
        active = sum(self._jobs[key].status is not Status.ABORTING for key in self._active)
        waiting = len(self._jobs) - len(self._finished) - len(self._active)
        counts = {"queued": len(self._queued), "active": active, "incomplete": waiting + active}
        if kind in counts:
            return counts[kind]
        raise ValueError(f"Can't count unknown type {kind}")

    async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> QueueInfo:
        """Counts, live workers and, with `jobs`, a page of the jobs that have not finished."""
        page = [key for key in self._jobs if jobs and key not in self._finished][offset : offset + limit]
        return {
            "workers": {key: info for key, (expiry, info) in self._workers.items() if expiry > time.time()},
            "name": self.name,
            "queued": len(self._queued),
            "active": await self.count("active"),
            "scheduled": await self.count("incomplete") - await self.count("active") - len(self._queued),
            "jobs": [self._jobs[key].to_dict() for key in page],
        }

    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        self._workers = {key: value for key, value in self._workers.items() if value[0] > time.time()}
        self._workers[worker_id] = (time.time() + ttl, info)

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """The next job, now active. Waits up to `timeout` seconds (0: for ever), then gives None."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout if timeout > 0 else None):
                while await self._ready.acquire():
                    if self._lanes:  # else it was the permit of a job that has been aborted
                        return self._take()  # in the step that returns it, so that a cancel loses nothing
        return None

    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        """End a waiting job at once; mark an active one, whose worker cancels it at its next look."""
        stored = self._jobs.get(job.key)
        if stored and job.key in self._active:
            job.status = stored.status = Status.ABORTING
            job.error = stored.error = error
        elif stored and job.key not in self._finished:
            await super().finish(job, Status.ABORTED, error=error)

    async def finish(self, job: Job, status: Status, **kwargs: Any) -> None:
        if not self._superseded(job):
            await super().finish(job, status, **kwargs)

    async def retry(self, job: Job, error: str | None) -> None:
        if not self._superseded(job):
            await super().retry(job, error)

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """Abort the runs past their timeout or heartbeat, wait `abort` seconds for them to end, and retry."""
        stuck = [self.copy(self._jobs[key]) for key in self._active if self._jobs[key].stuck]
        endings = [self._endings.setdefault(job.key, self.loop.create_future()) for job in stuck]
        for job in stuck:
            await self.abort(job, self.swept_error_message)
        if endings:
            await asyncio.wait(endings, timeout=abort)
        for job, ending in zip(stuck, endings, strict=True):
            self._endings.pop(job.key, None)
            outcome = ending.result() if ending.done() else None
            if job.retryable and outcome in (None, Status.ABORTED):  # else it came to its own end after all
                await self.retry(job, self.swept_error_message)
            elif outcome is None:
                await self.finish(job, Status.ABORTED, error=self.swept_error_message)
        return [job.key for job in stuck]

    async def _enqueue(self, job: Job) -> Job | None:
        if job.key in self._jobs and job.key not in self._finished:
            return None
        stored = self.copy(job)
        if job.kwargs or job.meta:
            stored.kwargs, stored.meta = self._load(self._dump({"": (job.kwargs, job.meta)}))[""]
        self._store(stored, job.scheduled)
        return job

    async def _retry(self, job: Job, error: str | None) -> None:
        delay = job.next_retry_delay()
        self._store(self.copy(job), time.time() + delay if delay else job.scheduled)

    async def _update(self, job: Job, status: Status | None = None, **kwargs: Any) -> None:
        stored = self._jobs.get(job.key)
        # A worker opens its run with an explicit status and its own start time; all else must match the run.
        if stored and (status or not self._superseded(job)):
            job.status = status or stored.status
            if not job.started:  # the handle that enqueue gave: it must not undo what the run has written
                job.started, job.attempts, job.worker_id = stored.started, stored.attempts, stored.worker_id
            self._jobs[job.key] = job

    async def _finish(self, job: Job, status: Status, *, result: Any = None, **kwargs: Any) -> None:
        kept = self.copy(job)
        if job.ttl >= 0 and result is not None:
            kept.result = self._load(self._dump({"": result}))[""]
        self._forget(job.key)
        if (ending := self._endings.get(job.key)) and not ending.done():
            ending.set_result(status)
        if job.ttl >= 0:
            self._jobs[job.key] = kept
            self._finished[job.key] = None
            if job.ttl > 0:
                self._at(time.time() + job.ttl, job.key, self._forget)
            if len(self._finished) > self._keep_finished:
                self._forget(next(iter(self._finished)))

    def _superseded(self, job: Job) -> bool:
        # SAQ's worker ends an aborted run twice, and a swept run may still be going: their late ends must
        # not take a later job of the same key out of the queue. A run is known by its start.
        return job.key in self._jobs and 0 < job.started != self._jobs[job.key].started

    def _store(self, job: Job, due: float) -> None:
        self._forget(job.key)
        self._jobs[job.key] = job
        self._at(due, job.key, self._offer)

    def _at(self, moment: float, key: str, then: Callable[[str], None]) -> None:
        """Call `then(key)` at `moment` (epoch seconds), at once when that has passed, and never early."""
        self._timers.pop(key, None)
        if (delay := moment - time.time()) > 0:
            self._timers[key] = self.loop.call_later(min(delay, LONGEST_TIMER), self._at, moment, key, then)
        else:
            then(key)

    def _offer(self, key: str) -> None:
        lane = self._queued[key] = str(self._jobs[key].meta.get("lane", ""))
        self._lanes.setdefault(lane, OrderedDict())[key] = None
        self._ready.release()

    def _take(self) -> Job:
        lane, keys = self._lanes.popitem(last=False)
        key, _ = keys.popitem(last=False)
        if keys:
            self._lanes[lane] = keys  # behind all the others
        del self._queued[key]
        self._active.add(key)
        job = self._jobs[key]
        job.status, job.started, job.touched = Status.ACTIVE, now(), now()
        return self.copy(job)

    def _forget(self, key: str) -> None:
        if (lane := self._queued.pop(key, None)) is not None:
            del self._lanes[lane][key]
            if not self._lanes[lane]:
                del self._lanes[lane]
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._jobs.pop(key, None)
        self._active.discard(key)
        self._finished.pop(key, None)
