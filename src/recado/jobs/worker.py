"""The SAQ worker and its queue, the same on every `QUEUE_URL`."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from saq import Worker
from saq.job import CronJob, Job, Status
from saq.queue import Queue

from recado.errors import ConfigurationError
from recado.jobs.memory import MemoryQueue
from recado.jobs.nudges import HEARTBEAT_SECONDS, OPTIONS, TERMINAL, Nudges
from recado.telemetry import metrics
from recado.telemetry.context import ids_of

Handler = Callable[..., Awaitable[None]]
OnFailed = Callable[[str, str, Mapping[str, Any]], Awaitable[None]]
"""Hears of a job that failed: its name, its error in one line, its arguments."""
_EXCEPTION = re.compile(r"(?:[a-zA-Z_]\w*\.)*[A-Z]\w*(?::|$)")
SWEEP_EVERY_THREE_SECONDS = "* * * * * */3"
QUEUE_NAME = "recado"
POSTGRES_POLL_SECONDS = 0.05
"""SAQ's PostgreSQL queue, when it listens instead, can miss a job that comes as it starts to, and hang when it stops.
The other queues have nothing to poll."""
STOP_SECONDS = 10.0
END_POLL_SECONDS = 0.05


def make_queue(url: str) -> Queue:
    """The queue behind `QUEUE_URL`. Raises ConfigurationError for a URL of another kind."""
    if url == "memory://":
        return MemoryQueue(QUEUE_NAME)
    if url.startswith(("postgresql://", "postgres://", "redis://", "rediss://")):
        return Queue.from_url(url, name=QUEUE_NAME)
    raise ConfigurationError(f"QUEUE_URL must be memory://, postgresql://… or redis://…, not {url.split('://')[0]}://…")


def make_worker(nudges: Nudges, handlers: Mapping[str, Handler], concurrency: int, on_failed: OnFailed) -> Worker[Any]:
    """A worker for these handlers, by name; each takes its job's arguments.

    `sweep` runs as the worker starts, with `at_start`, and every three seconds. `on_failed` hears of jobs that will not
    be tried again by the queue.
    """

    failed: dict[str, Mapping[str, Any]] = {}
    """What the last run of a job was about that raised, by the job's key."""

    def function(handler: Handler) -> Callable[..., Awaitable[None]]:
        async def run(context: Mapping[str, Any], **kwargs: Any) -> None:
            beating = asyncio.create_task(_beat(context["job"]))
            try:
                with metrics.JOB_SECONDS.labels(context["job"].function).time():
                    await handler(**kwargs)
            except Exception as error:
                failed[context["job"].key] = ids_of(error)
                raise
            finally:
                beating.cancel()

        return run

    async def sweep(_context: Mapping[str, Any]) -> None:
        await handlers["sweep"]()

    async def start(_context: Mapping[str, Any]) -> None:
        await nudges.nudge("sweep", "sweep", at_start=True)

    async def ended(context: Mapping[str, Any]) -> None:
        job: Job | None = context.get("job")
        if job is not None and job.status in TERMINAL:
            metrics.JOBS.labels(job.function, job.status.value).inc()
        ids = failed.pop(job.key, {}) if job is not None else {}
        if job is not None and job.status is Status.FAILED:
            await on_failed(job.function, _last_error(job.error or ""), {**(job.kwargs or {}), **ids})
        await nudges.after_process(context)

    worker: Worker[Any] = Worker(
        nudges.queue,
        functions=[(name, function(handler)) for name, handler in handlers.items()],
        cron_jobs=[CronJob(sweep, cron=SWEEP_EVERY_THREE_SECONDS, timeout=OPTIONS["sweep"]["timeout"], ttl=-1)],
        concurrency=concurrency,
        startup=start,
        after_process=ended,
        poll_interval=POSTGRES_POLL_SECONDS,
    )
    worker.timers["sweep"] = HEARTBEAT_SECONDS // 2
    return worker


def _last_error(traceback: str) -> str:
    """The line of a traceback that names the exception. Behind it there may be notes, or the statement of SQL."""
    named = [line for line in traceback.splitlines() if _EXCEPTION.match(line)]
    return named[-1] if named else "it did not say why"


async def _beat(job: Job) -> None:
    """Tell the queue that the job's worker is alive."""
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS / 3)
        await job.update()


async def run_worker(worker: Worker[Any], stopping: asyncio.Event, grace_seconds: float) -> None:
    """Work until `stopping` is set; then let running jobs end for so long, and cancel what is left.

    A job that is cancelled goes on from its rows and checkpoints at the next start.
    """
    worker.SIGNALS = []  # whoever sets `stopping` handles them
    running = asyncio.create_task(worker.start())
    try:
        await asyncio.wait({running, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _let_jobs_end(worker, grace_seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(worker.stop(), STOP_SECONDS)
        running.cancel()
        await asyncio.wait({running}, timeout=STOP_SECONDS)


async def _let_jobs_end(worker: Worker[Any], grace_seconds: float) -> None:
    # SAQ's own event would have it cancel every job at once. With another that is set, its loops take no second job,
    # and what the last jobs nudged, such as the delivery of a turn's reply, still finds an idle loop.
    worker.event = asyncio.Event()
    worker.event.set()
    deadline = asyncio.get_running_loop().time() + grace_seconds
    await asyncio.sleep(END_POLL_SECONDS)
    while worker.job_task_contexts and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - SAQ has no event
        await asyncio.sleep(END_POLL_SECONDS)
