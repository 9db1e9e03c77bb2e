"""What being watched costs a turn: figures and spans on, beside both off."""

import logging
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import uvloop
from prometheus_client import Counter, Histogram

from bench.report import Samples, Table
from bench.turns import one_thread
from bench.usual import Turn
from recado.settings import Settings
from recado.telemetry import export
from tests.fakes.server import SpawnedFake, spawned

RUNS = 3
TURNS = 150
AT_A_TIME = 50
"""Off and on take turns this often, so that what else the machine does meets both."""


def run(folder: Path) -> list[Table]:
    """Our own milliseconds per turn with metrics and tracing on, as a ratio to both off."""
    # Not every five seconds, as it is without this: what is sent is to be sent while turns are measured.
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "1000"
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    off, on = Samples(), Samples()
    with spawned("tests.fakes.otlp_collector", folder / "collector.log") as collector:
        uvloop.run(measure(folder, collector, off, on))
        spans = sum(len(entry["body"]) for entry in collector.log("traces"))
    ratios = Samples([with_it / without for with_it, without in zip(on.values, off.values, strict=True)])
    return [
        Table(
            "Own time of a turn with metrics and tracing (aim: at most 1.10 of off)",
            ["", "ms a turn", "of off", "spans a turn"],
            [
                ["off", off.text(1), "-", "-"],
                ["on", on.text(1), ratios.text(2), f"{spans / (RUNS * TURNS):.1f}"],
            ],
            f"median (range) of {RUNS} runs of {TURNS} turns each, {AT_A_TIME} off and {AT_A_TIME} on in turn, on one "
            "thread; spans go to a local collector that answers, every second; SQLite, an instant model and provider",
        )
    ]


async def measure(folder: Path, collector: SpawnedFake, off: Samples, on: Samples) -> None:
    """All runs, on the same databases."""
    settings = Settings(_env_file=None, otel_exporter_otlp_endpoint=collector.url)
    async with one_thread(folder) as turn:
        done = 0

        async def some(count: int) -> list[float]:
            nonlocal done
            first, done = done + 1, done + count
            return [await _timed(turn, number) for number in range(first, done + 1)]

        await some(AT_A_TIME)
        for _ in range(RUNS):
            without, with_it = [], []
            for _ in range(TURNS // AT_A_TIME):
                with _uncounted():
                    without += await some(AT_A_TIME)
                stop = export.start(settings)
                with_it += await some(AT_A_TIME)
                await stop()
            off.add(statistics.median(without))
            on.add(statistics.median(with_it))


async def _timed(turn: Turn, number: int) -> float:
    start = time.perf_counter()
    await turn(number)
    return (time.perf_counter() - start) * 1_000


@contextmanager
def _uncounted() -> Iterator[None]:
    """Without figures, which the product has no switch for: the library's own methods do nothing meanwhile."""
    kept: list[tuple[Any, str, Any]] = [(Counter, "inc", Counter.inc), (Histogram, "observe", Histogram.observe)]
    for kind, name, _ in kept:
        setattr(kind, name, lambda *_args, **_kwargs: None)
    try:
        yield
    finally:
        for kind, name, method in kept:
            setattr(kind, name, method)
