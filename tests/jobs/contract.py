"""What the pipeline relies on, whichever queue it runs on, and what the tests of the queues share."""

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from saq import Job, Queue, Status, Worker
from saq.queue.postgres import PostgresQueue

POSTGRES_URL = os.environ.get("RECADO_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
REDIS_URL = os.environ.get("RECADO_TEST_REDIS_URL", "redis://127.0.0.1:6379")
POLL = 0.05  # seconds. Without polling, SAQ's Postgres queue misses what comes while it starts to LISTEN
PATIENCE = 8.0  # seconds for what must happen; Postgres and Redis look for due jobs once a second


def need_server(url: str, port: int) -> None:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or port), timeout=1).close()
    except OSError as error:
        pytest.skip(f"no server at {parts.hostname}:{parts.port or port}: {error}")


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110  the state is in another process, there is no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(queue: Queue, functions: dict[str, Any], **options: Any) -> AsyncIterator[Worker[Any]]:
    timers: Any = {"schedule": 1, "worker_info": 1, "sweep": 60, "abort": 0.05}
    worker = Worker[Any](queue, list(functions.items()), timers=timers, poll_interval=POLL, **options)
    task = asyncio.create_task(worker.start())
    try:
        yield worker
    finally:
        worker.event.set()
        await asyncio.wait_for(task, 30)  # a psycopg query that is cancelled under way can take its time


async def put(queue: Queue, function: str = "work", **options: Any) -> Job:
    job = await queue.enqueue(function, **options)
    assert job is not None
    return job


async def take(queue: Queue) -> Job:
    job = await queue.dequeue(timeout=PATIENCE, poll_interval=POLL)
    assert job is not None
    return job


def new_key() -> str:
    return f"test-{uuid4().hex}"  # Postgres keys are one space for all queues


class QueueContract:
    reuses_kept_keys_at_once = True
    """Whether a key is free in the second its job was scheduled or retried for, while that is kept."""

    async def test_jobs_come_once_and_in_order(self, queue: Queue) -> None:
        put_in = [await put(queue, n=n) for n in range(3)]
        assert (await queue.count("queued"), await queue.count("incomplete")) == (3, 3)
        got = [await take(queue) for _ in range(3)]
        assert Counter(job.key for job in got) == Counter(job.key for job in put_in)
        if not isinstance(queue, PostgresQueue):  # it sorts by whole seconds
            assert got == put_in
        assert (await queue.count("queued"), await queue.count("active")) == (0, 3)
        for job in got:
            await job.finish(Status.COMPLETE)
        assert await queue.count("incomplete") == 0
        with pytest.raises(ValueError, match="count"):
            await queue.count("nonsense")  # type: ignore[arg-type]

    async def test_dequeue_gives_up_after_its_timeout(self, queue: Queue) -> None:
        assert await asyncio.wait_for(queue.dequeue(timeout=0.1), PATIENCE) is None

    async def test_a_waiting_dequeue_gets_the_next_job(self, queue: Queue) -> None:
        waiting = asyncio.create_task(take(queue))
        await asyncio.sleep(0)
        job = await put(queue)
        assert (await asyncio.wait_for(waiting, PATIENCE)).key == job.key

    async def test_a_key_is_held_until_its_job_finishes(self, queue: Queue) -> None:
        key = new_key()
        await put(queue, key=key, ttl=-1)
        assert await queue.enqueue("work", key=key) is None
        job = await take(queue)
        assert await queue.enqueue("work", key=key) is None
        await job.finish(Status.COMPLETE)
        await put(queue, key=key)

    async def test_a_result_is_kept_for_its_ttl(self, queue: Queue) -> None:
        for ttl in (60, 0, -1):
            await put(queue, ttl=ttl)
            job = await take(queue)
            await job.finish(Status.COMPLETE, result={"pair": (1, 2)})
            kept = await queue.job(job.key)
            assert (kept and kept.result) == (None if ttl < 0 else {"pair": [1, 2]})

    async def test_reading_and_updating_jobs(self, queue: Queue) -> None:
        first, second = await put(queue, n=1, meta={"a": 1}), await put(queue)
        first.meta["a"] = 2
        assert (await queue.jobs([first.key, "unknown"]))[1] is None
        assert [job.meta for job in await queue.jobs([first.key]) if job] == [{"a": 1}]
        await first.update(progress=0.5)
        stored = await queue.job(first.key)
        assert stored
        assert (stored.meta, stored.progress, stored.status) == ({"a": 2}, 0.5, Status.QUEUED)
        await queue.abort(second, "no")
        assert {job.key async for job in queue.iter_jobs([Status.QUEUED])} == {first.key}
        assert {job.key async for job in queue.iter_jobs()} == {first.key, second.key}

    async def test_info(self, queue: Queue) -> None:
        await queue.worker_info("worker", queue.name, {"host": "h"}, ttl=60)
        await put(queue)
        await put(queue, scheduled=int(time.time()) + 60)
        await take(queue)
        info = await queue.info(jobs=True)
        assert (info["name"], info["queued"], info["active"], info["scheduled"]) == (queue.name, 0, 1, 1)
        assert info["workers"]["worker"]["metadata"] == {"host": "h"}
        assert len(info["jobs"]) == 2

    async def test_sweep_retries_or_aborts_stuck_runs(self, queue: Queue) -> None:
        again, over, fine = await put(queue, retries=2), await put(queue, retries=0), await put(queue)
        for _ in range(3):
            job = await take(queue)
            job.started = int((time.time() - (0 if job.key == fine.key else 60)) * 1000)
            await job.update(status=Status.ACTIVE)
        assert len(await queue.sweep(abort=0.05)) == 2
        statuses = [job and job.status for job in await queue.jobs([again.key, over.key, fine.key])]
        assert statuses == [Status.QUEUED, Status.ABORTED, Status.ACTIVE]

    async def test_a_worker_runs_as_many_as_its_concurrency(self, queue: Queue) -> None:
        together, now_running, most = asyncio.Barrier(3), 0, 0

        async def work(_ctx: Any) -> None:
            nonlocal now_running, most
            now_running += 1
            most = max(most, now_running)
            await together.wait()  # passes only with three runs at the same time
            now_running -= 1

        jobs = [await put(queue) for _ in range(6)]
        async with running(queue, {"work": work}, concurrency=3):
            await eventually(lambda: self.all_are(queue, jobs, Status.COMPLETE))
        assert most == 3

    async def test_a_failing_job_is_retried_with_backoff_and_then_given_up(self, queue: Queue) -> None:
        attempts: list[int] = []

        async def work(ctx: Any) -> None:
            attempts.append(ctx["job"].attempts)
            raise LookupError("no such thing")

        job = await put(queue, retries=3, retry_delay=0.02, retry_backoff=0.05)
        async with running(queue, {"work": work}):
            await eventually(lambda: self.all_are(queue, [job], Status.FAILED))
        assert attempts == [1, 2, 3]
        await job.refresh()
        assert "no such thing" in (job.error or "")
        assert queue.retried == 2

    async def test_a_scheduled_job_waits_until_it_is_due(self, queue: Queue) -> None:
        ran: asyncio.Queue[float] = asyncio.Queue()

        async def work(_ctx: Any) -> None:
            ran.put_nowait(time.time())

        due = int(time.time()) + 1
        await put(queue, scheduled=due)
        assert await queue.count("queued") == 0
        async with running(queue, {"work": work}):
            assert await asyncio.wait_for(ran.get(), PATIENCE) >= due

    async def test_abort_ends_waiting_and_running_jobs(self, queue: Queue) -> None:
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def work(_ctx: Any) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        waiting = await put(queue)
        await queue.abort(waiting, "changed my mind")
        assert await queue.count("incomplete") == 0
        job = await put(queue, timeout=60)
        async with running(queue, {"work": work}):
            await asyncio.wait_for(started.wait(), PATIENCE)
            await queue.abort(job, "changed my mind")
            await asyncio.wait_for(cancelled.wait(), PATIENCE)
            await eventually(lambda: self.all_are(queue, [waiting, job], Status.ABORTED))

    @pytest.mark.parametrize("ending", ["complete", "failed", "timeout"])
    async def test_a_key_is_free_again_in_after_process(self, queue: Queue, ending: str) -> None:
        """What closes the gap of work that arrives while its job ends. It holds for jobs with ttl=-1."""
        enqueued: list[tuple[bool, bool]] = []
        second_run, key = asyncio.Event(), new_key()

        async def work(_ctx: Any, n: int) -> None:
            assert await queue.enqueue("work", key=key, n=2) is None  # arrives while the job runs: dropped
            if n == 2:
                second_run.set()
            elif ending == "failed":
                raise LookupError
            elif ending == "timeout":
                await asyncio.Event().wait()

        async def after(ctx: Any) -> None:
            if ctx["job"].kwargs["n"] == 1:
                again = await queue.enqueue("work", key=key, n=2, ttl=-1)
                enqueued.append((again is not None, "exception" in ctx))

        async with running(queue, {"work": work}, after_process=after):
            await put(queue, key=key, n=1, ttl=-1, timeout=1)
            await asyncio.wait_for(second_run.wait(), PATIENCE)
        assert enqueued == [(True, ending != "complete")]

    async def test_a_key_is_still_held_in_after_process_when_the_job_is_retried(self, queue: Queue) -> None:
        enqueued: list[bool] = []
        done = asyncio.Event()

        async def work(ctx: Any) -> None:
            if ctx["job"].attempts == 1 and not done.is_set():
                raise LookupError

        async def after(ctx: Any) -> None:
            if not done.is_set():
                enqueued.append(await queue.enqueue("work", key=ctx["job"].key) is not None)
            if ctx["job"].attempts == 2:
                done.set()

        async with running(queue, {"work": work}, after_process=after, concurrency=1):
            await put(queue, key=new_key(), retries=2, ttl=-1)
            await asyncio.wait_for(done.wait(), PATIENCE)
        assert enqueued == [False, True]

    async def test_reusing_a_key_whose_job_is_still_kept(self, queue: Queue) -> None:
        await asyncio.sleep(-time.time() % 1)  # all within one second, counted from its start
        for scheduled, is_free in ((0, True), (int(time.time()), self.reuses_kept_keys_at_once)):
            key = new_key()
            await put(queue, key=key, ttl=60, scheduled=scheduled)
            if scheduled:
                await queue.schedule()
            await (await take(queue)).finish(Status.COMPLETE)
            again = await queue.enqueue("work", key=key)
            assert (again is not None) == is_free
            if again:
                await (await take(queue)).finish(Status.COMPLETE)

    @staticmethod
    async def all_are(queue: Queue, jobs: list[Job], status: Status) -> bool:
        return all(job and job.status == status for job in await queue.jobs([job.key for job in jobs]))
