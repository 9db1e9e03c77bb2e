"""Deliveries that wait for a time are nudged at that time, in this process."""

import asyncio
import time

import pytest
from saq import Worker

from recado.jobs import nudges as module
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue, make_worker, run_worker


class Looking:
    """A worker that notes when it was told to look at which conversation."""

    def __init__(self) -> None:
        self.nudges = Nudges(make_queue("memory://"))
        self.looked: list[tuple[int, float]] = []
        self.any = asyncio.Condition()

    def worker(self) -> Worker[object]:
        async def deliver(conversation_id: int, merchant_id: int) -> None:
            async with self.any:
                self.looked.append((conversation_id, time.monotonic()))
                self.any.notify_all()

        async def sweep(*, at_start: bool = False) -> None: ...

        async def no_failure(name: str, error: str, _ids: object) -> None:
            raise AssertionError(f"{name}: {error}")

        return make_worker(self.nudges, {"deliver": deliver, "sweep": sweep}, 4, no_failure)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20), self.any:
            await self.any.wait_for(lambda: len(self.looked) >= count)


async def test_each_is_nudged_when_it_is_due_and_once() -> None:
    looking, stopping = Looking(), asyncio.Event()
    working = asyncio.create_task(run_worker(looking.worker(), stopping, 1))
    start = time.monotonic()
    looking.nudges.deliver_in(0.3, 1, 1)
    looking.nudges.deliver_in(0.2, 2, 1)
    looking.nudges.deliver_in(5.0, 3, 1)
    looking.nudges.deliver_in(0.1, 3, 1)  # the last word counts
    looking.nudges.deliver_in(-1.0, 4, 1)
    await looking.until(4)
    assert [conversation_id for conversation_id, _ in looking.looked] == [4, 3, 2, 1]
    due = {1: 0.3, 2: 0.2, 3: 0.1, 4: 0.0}
    assert all(moment - start >= due[conversation_id] for conversation_id, moment in looking.looked)
    assert not looking.nudges.waiting
    stopping.set()
    await working


async def test_there_are_only_so_many_and_none_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TIMERS", 3)
    nudges = Nudges(make_queue("memory://"))
    await nudges.queue.connect()
    for conversation_id in range(5):
        nudges.deliver_in(30, conversation_id, 1)
    nudges.deliver_in(module.LONGEST_TIMER_SECONDS + 1, 1, 1)
    assert nudges.waiting == 2, "that one is left to the sweep"
    nudges.deliver_in(0.0, 9, 1)
    nudges.close()
    assert nudges.waiting == 0
    await asyncio.sleep(0.05)
    assert await nudges.queue.count("queued") == 0
    await nudges.queue.disconnect()
