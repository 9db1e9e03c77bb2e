"""Nudges: jobs that carry ids and say "look at these rows". Losing one loses nothing: the sweep nudges again."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from saq.job import Job, Status
from saq.queue import Queue

log = structlog.get_logger(__name__)

TERMINAL = frozenset({Status.COMPLETE, Status.FAILED, Status.ABORTED})

HEARTBEAT_SECONDS = 30
"""A job whose worker has not been heard of for so long is given up by the queue, so that its key is free again."""

OPTIONS: Mapping[str, dict[str, Any]] = {
    "ingest": {"timeout": 60},
    "route": {"timeout": 120},
    "turn": {"timeout": 300},
    "deliver": {"timeout": 120},
    "request_notification_job": {"timeout": 120, "retries": 3, "retry_delay": 1.0, "retry_backoff": 30.0},
    "answer_notification_job": {"timeout": 120, "retries": 3, "retry_delay": 1.0, "retry_backoff": 30.0},
    "follow_up": {"timeout": 60},
    "sync": {"timeout": 300},
    "embed": {"timeout": 600, "retries": 8, "retry_delay": 5.0, "retry_backoff": 300.0},
    "catch_up": {"timeout": 600},
    "approvals": {"timeout": 600},
    "alerts": {"timeout": 120},
    "sweep": {"timeout": 60},
}
"""How long each job may take, in seconds, and how often it is tried."""

MOST_TIMERS = 10_000
LONGEST_TIMER_SECONDS = 60.0
"""What is later, or too much, is left to the sweep."""


class Nudges:
    """Enqueues jobs, each under a key that names what it looks at.

    A job that is queued or running already is not enqueued twice. One that was running may have looked before the rows
    changed, so it is enqueued once more as soon as it ends (in this process; elsewhere the sweep does that).
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._again: dict[str, tuple[str, int, dict[str, Any]]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._woken: set[asyncio.Task[None]] = set()

    async def nudge(self, function: str, key: str, lane: int = 0, **kwargs: Any) -> None:
        """Have `function` look. `lane` is a merchant: they take turns, so that none waits for another's burst."""
        options = {"ttl": -1, "meta": {"lane": str(lane)}, "heartbeat": HEARTBEAT_SECONDS, **OPTIONS[function]}
        try:
            job = await self.queue.enqueue(function, key=key, **options, **kwargs)
        except Exception:
            log.warning("a nudge was lost, the sweep will make it again", job=function, exc_info=True)
            return
        if job is None:
            self._again[key] = (function, lane, kwargs)

    async def after_process(self, context: Mapping[str, Any]) -> None:
        """Called by the worker when a job has ended."""
        job: Job | None = context.get("job")
        if job is not None and job.status in TERMINAL and job.key in self._again:
            function, lane, kwargs = self._again.pop(job.key)
            await self.nudge(function, job.key, lane, **kwargs)

    async def turn(self, conversation_id: int, merchant_id: int) -> None:
        """A conversation has messages to answer."""
        await self.nudge(
            "turn",
            f"turn:{conversation_id}",
            merchant_id,
            conversation_id=conversation_id,
            merchant_id=merchant_id,
        )

    async def deliver(self, conversation_id: int, merchant_id: int) -> None:
        """A conversation has deliveries to send."""
        await self.nudge(
            "deliver",
            f"deliver:{conversation_id}",
            merchant_id,
            conversation_id=conversation_id,
            merchant_id=merchant_id,
        )

    def deliver_in(self, seconds: float, conversation_id: int, merchant_id: int) -> None:
        """A conversation has a delivery to send after so many seconds. The last call counts. Losing it in a restart
        loses no more than the time until the next sweep."""
        earlier = self._timers.pop(conversation_id, None)
        if earlier is not None:
            earlier.cancel()
        if seconds <= LONGEST_TIMER_SECONDS and len(self._timers) < MOST_TIMERS:
            wake = asyncio.get_running_loop().call_later(max(0.0, seconds), self._wake, conversation_id, merchant_id)
            self._timers[conversation_id] = wake

    @property
    def waiting(self) -> int:
        """How many conversations are to be nudged later."""
        return len(self._timers)

    def _wake(self, conversation_id: int, merchant_id: int) -> None:
        del self._timers[conversation_id]
        task = asyncio.get_running_loop().create_task(self.deliver(conversation_id, merchant_id))
        self._woken.add(task)  # asyncio keeps only weak references to tasks
        task.add_done_callback(self._woken.discard)

    def close(self) -> None:
        """Forget what was to be nudged later."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._woken:
            task.cancel()

    async def ingest(self) -> None:
        """The inbox has events."""
        await self.nudge("ingest", "ingest")

    async def route(self, event_id: int, sender: str) -> None:
        """Someone wrote to an address that merchants share; `sender` is a key that stands for them."""
        await self.nudge("route", f"route:{sender}", event_id=event_id)

    async def sync(self) -> None:
        """The conversation API has something to be told."""
        await self.nudge("sync", "sync")

    async def embed(self) -> None:
        """Documents wait for their vectors."""
        await self.nudge("embed", "embed")

    async def alerts(self) -> None:
        """The team has something to be told."""
        await self.nudge("alerts", "alerts")

    async def approvals(self) -> None:
        """It is time to ask for the approvals that somebody waits for."""
        await self.nudge("approvals", "approvals")

    async def catch_up(self) -> None:
        """Providers may hold messages that never arrived."""
        await self.nudge("catch_up", "catch_up")

    async def request_notification(self, notification_id: int, merchant_id: int) -> None:
        """The staff has to be asked."""
        await self.nudge(
            "request_notification_job",
            f"request:{notification_id}",
            merchant_id,
            notification_id=notification_id,
            merchant_id=merchant_id,
        )

    async def answer_notification(self, notification_id: int, merchant_id: int) -> None:
        """An accepted answer has to be taken back."""
        await self.nudge(
            "answer_notification_job",
            f"answer:{notification_id}",
            merchant_id,
            notification_id=notification_id,
            merchant_id=merchant_id,
        )

    async def follow_up(self, notification_id: int, merchant_id: int) -> None:
        """A notification has waited long for its answer."""
        await self.nudge(
            "follow_up",
            f"follow_up:{notification_id}",
            merchant_id,
            notification_id=notification_id,
            merchant_id=merchant_id,
        )
