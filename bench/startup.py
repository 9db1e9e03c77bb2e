"""How soon `recado serve` is ready, and what it holds in memory."""

import asyncio
import time
from pathlib import Path

import httpx

from bench.report import Samples, Table
from bench.servers import bare, recado, resident_megabytes, say, wait_for_messages
from tests.support import BODEGA, RecadoServer

RUNS = 3
TURNS = 100
PEOPLE = 20
LOOK_SECONDS = 0.25
"""Rarely enough that looking does not keep the server busy."""


def run(folder: Path) -> list[Table]:
    """Seconds until `recado serve` is ready, and its memory after 100 turns, beside a bare FastAPI process."""
    ready, empty, used = Samples(), Samples(), Samples()
    bare_ready, bare_memory = Samples(), Samples()
    for number in range(RUNS):
        start = time.perf_counter()
        with bare() as (_, process_id):
            bare_ready.add(time.perf_counter() - start)
            bare_memory.add(resident_megabytes(process_id))
        with recado(folder / str(number), BODEGA, {"TURN_QUIET_SECONDS": "0"}) as server:
            server.stop()
            start = time.perf_counter()
            server.start()
            ready.add(time.perf_counter() - start)
            process_id = _process_id(server)
            empty.add(resident_megabytes(process_id))
            asyncio.run(_talk(server.url))
            used.add(resident_megabytes(process_id))
    return [
        Table(
            "Start and memory (aim: ready in 2 s, 250 MB)",
            ["", "s to ready", "MB then", f"MB after {TURNS} turns"],
            [
                ["recado serve, with its worker", ready.text(2), empty.text(), used.text()],
                ["a bare FastAPI process", bare_ready.text(2), bare_memory.text(), "-"],
            ],
            f"median (range) of {RUNS} runs; demo model, simulator channel, {PEOPLE} people",
        )
    ]


def _process_id(server: RecadoServer) -> int:
    assert server._process is not None
    return server._process.pid


async def _talk(url: str) -> None:
    """`TURNS` turns, of all people at the same time, each waiting for the answer before going on."""

    async def one(client: httpx.AsyncClient, phone: str) -> None:
        for number in range(1, TURNS // PEOPLE + 1):
            await say(client, phone, "¿Hacen envíos?")
            await wait_for_messages(client, phone, number, every=LOOK_SECONDS)

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        await asyncio.gather(*(one(client, f"+5191100{number:04}") for number in range(PEOPLE)))
