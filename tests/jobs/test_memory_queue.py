"""The embedded queue: the contract of all queues, and what it has beyond that."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sized
from typing import Any

import pytest
from saq import Queue, Status

from recado.jobs.memory import MemoryQueue
from tests.jobs.contract import (
    PATIENCE,
    QueueContract,
    eventually,
    new_key,
    put,
    running,
    take,
)


class TestMemory(QueueContract):
    @pytest.fixture
    async def queue(self) -> AsyncIterator[MemoryQueue]:
        queue = MemoryQueue(new_key(), keep_finished=1000)
        await queue.connect()
        yield queue
        await queue.disconnect()
        assert held(queue) == 0

    async def test_no_lane_starves_another(self, queue: MemoryQueue) -> None:
        for n in range(10_000):
            await put(queue, n=n, meta={"lane": "a"})
        order: list[str] = []
        for lane in ("b", "b", "c", ""):
            await put(queue, meta={"lane": lane} if lane else {})
        for _ in range(6):
            order.append((await take(queue)).meta.get("lane", ""))
        assert order == ["a", "b", "c", "", "a", "b"]
        await put(queue, meta={"lane": "late"})
        assert [(await take(queue)).meta["lane"] for _ in range(3)] == ["a", "late", "a"]

    async def test_a_worker_serves_a_small_lane_beside_a_burst(self, queue: MemoryQueue) -> None:
        ran: list[str] = []
        small = asyncio.Event()

        async def work(ctx: Any) -> None:
            ran.append(ctx["job"].meta["lane"])
            if ctx["job"].meta["lane"] == "small":
                small.set()

        for _ in range(2000):
            await put(queue, meta={"lane": "burst"}, ttl=-1)
        await put(queue, meta={"lane": "small"}, ttl=-1)
        async with running(queue, {"work": work}, concurrency=4):
            await asyncio.wait_for(small.wait(), PATIENCE)
        assert ran.index("small") <= 4  # two rounds of two lanes, four runs at a time

    async def test_a_cancelled_dequeue_loses_nothing(self, queue: MemoryQueue) -> None:
        chance, taken = random.Random(7), Counter[str]()

        async def consume() -> None:
            taken[(await take(queue)).key] += 1

        put_in: set[str] = set()
        consumers: list[asyncio.Task[None]] = []
        for _ in range(2000):
            consumers += [asyncio.create_task(consume()) for _ in range(chance.randrange(3))]
            for _ in range(chance.randrange(3)):  # before the dequeue starts, while it waits, once it is woken
                await asyncio.sleep(0)
            put_in.add((await put(queue)).key)
            for consumer in chance.sample(consumers, len(consumers) // 2):
                consumer.cancel()
            consumers = [consumer for consumer in consumers if not consumer.done()]
        while await queue.count("queued"):
            await consume()
        await asyncio.sleep(0)
        assert taken == Counter(put_in)
        for consumer in consumers:
            consumer.cancel()

    async def test_memory_is_bounded(self, queue: MemoryQueue) -> None:
        for n in range(100_000):
            await put(queue, key=f"key-{n}", ttl=(-1, 0, 600)[n % 3], meta={"lane": str(n % 5000)})
            await (await take(queue)).finish(Status.COMPLETE, result=n)
        assert len(queue._jobs) == len(queue._finished) == 1000
        assert held(queue) <= 3000  # a finished job is known, in order, and has a timer
        assert not queue._lanes
        for _ in range(10_000):
            await queue.abort(await put(queue, ttl=-1, meta={"lane": "x"}), "")
            await queue.abort(await put(queue, ttl=-1, scheduled=int(time.time()) + 3600), "")
        assert held(queue) <= 3000
        assert await queue.dequeue(timeout=0.01) is None

    async def test_timers_need_no_worker_and_are_never_early(self, queue: MemoryQueue) -> None:
        due = time.time() + 0.2
        await put(queue, scheduled=due, ttl=1)  # SAQ declares whole seconds, and carries fractions
        job = await take(queue)
        assert 0 <= time.time() - due < 0.15
        await job.finish(Status.COMPLETE, result=1)
        assert await queue.job(job.key)
        await eventually(lambda: self.is_gone(queue, job.key))

    async def test_only_json_gets_in_and_later_changes_do_not(self, queue: MemoryQueue) -> None:
        key, payload = new_key(), {"ids": [1]}
        with pytest.raises(TypeError):
            await queue.enqueue("work", key=key, payload=object())
        await put(queue, key=key, payload=payload, pair=(1, 2))
        payload["ids"].append(2)
        job = await take(queue)
        assert job.kwargs == {"payload": {"ids": [1]}, "pair": [1, 2]}
        with pytest.raises(TypeError):
            await job.finish(Status.COMPLETE, result=object())
        assert await queue.count("active") == 1

    async def test_the_late_end_of_a_swept_run_leaves_the_new_run_alone(self, queue: MemoryQueue) -> None:
        key = new_key()
        handle = await put(queue, key=key, retries=2, ttl=-1)
        old = await take(queue)
        old.started -= 60_000
        await old.update(status=Status.ACTIVE)
        await handle.update(meta={"seen": True})  # the enqueuer's handle does not undo the run's start
        assert await queue.sweep(abort=0.01) == [key]
        new = await take(queue)
        await old.update(progress=0.1)
        await old.finish(Status.COMPLETE)
        await old.retry("late")
        assert (await queue.count("active"), await queue.count("incomplete")) == (1, 1)
        await new.finish(Status.COMPLETE)
        assert await queue.count("incomplete") == 0

    async def test_sweep_is_quick_when_the_run_ends(self, queue: MemoryQueue) -> None:
        job = await put(queue, ttl=-1, retries=2)
        run = await take(queue)
        run.started -= 60_000
        await run.update(status=Status.ACTIVE)
        sweep = asyncio.create_task(queue.sweep(abort=PATIENCE * 2))
        await asyncio.sleep(0)
        await run.finish(Status.COMPLETE)
        assert await asyncio.wait_for(sweep, PATIENCE) == [job.key]
        assert await queue.count("incomplete") == 0  # it had come to its own end: no second run

    async def test_a_key_is_free_in_after_process_of_an_aborted_run(self, queue: MemoryQueue) -> None:
        started, second_run, key = asyncio.Event(), asyncio.Event(), new_key()

        async def work(_ctx: Any, n: int) -> None:
            started.set()
            if n == 1:
                await asyncio.Event().wait()
            second_run.set()

        async def after(ctx: Any) -> None:
            if ctx["job"].kwargs["n"] == 1:
                await put(queue, key=key, n=2, ttl=-1)

        job = await put(queue, key=key, n=1, ttl=-1, timeout=60)
        async with running(queue, {"work": work}, after_process=after):
            await asyncio.wait_for(started.wait(), PATIENCE)
            await job.abort("enough")
            await asyncio.wait_for(second_run.wait(), PATIENCE)

    @staticmethod
    async def is_gone(queue: Queue, key: str) -> bool:
        return await queue.job(key) is None


def held(queue: MemoryQueue) -> int:
    """How many entries the queue's structures hold."""
    parts: tuple[Sized, ...] = (
        queue._jobs,
        queue._queued,
        queue._active,
        queue._finished,
        queue._lanes,
        queue._timers,
    )
    return sum(len(part) for part in parts) + len(queue._endings)
