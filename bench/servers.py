"""The processes that are measured: the product's and the bare one beside it."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.processes import start_afresh
from tests.support import ROOT, RecadoServer, free_port

START_SECONDS = 30.0
POLL_SECONDS = 0.01


@contextmanager
def recado(folder: Path, merchants: Path, environment: dict[str, str]) -> Iterator[RecadoServer]:
    """A running `recado serve` on a fresh database."""
    folder.mkdir(parents=True, exist_ok=True)
    server = RecadoServer(folder, {"LOG_LEVEL": "ERROR", **environment}, start=start_afresh)
    server.prepare(merchants)
    server.start()
    try:
        yield server
    finally:
        server.kill()  # what it has not worked off is not wanted


@contextmanager
def bare() -> Iterator[tuple[str, int]]:
    """A running bare endpoint (see `bench.bare`): its URL and process id."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "bench.bare", str(port)], cwd=ROOT)
    try:
        wait_until_ready(f"{url}/healthz", process)
        yield url, process.pid
    finally:
        process.kill()
        process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return as soon as `url` answers 200."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < deadline:
            assert process.poll() is None, "the process ended"
            try:
                if client.get(url).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(POLL_SECONDS)
    raise AssertionError(f"{url} was not ready in time")


def resident_megabytes(process_id: int) -> float:
    """What a process holds in memory (Linux)."""
    status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kilobytes) / 1024


async def say(client: httpx.AsyncClient, phone: str, text: str, to: str = "+15550100") -> None:
    """A person sends a message, through the simulator."""
    body = {"from": phone, "to": to, "text": text}
    (await client.post("/simulator/messages", json=body)).raise_for_status()


async def wait_for_messages(
    client: httpx.AsyncClient, phone: str, count: int, containing: str = "", every: float = POLL_SECONDS
) -> None:
    """Return when `count` messages that contain a text have arrived on a person's phone; look `every` few seconds."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        shown = (await client.get("/simulator/messages", params={"phone": phone})).raise_for_status().json()
        if len([m for m in shown if m["direction"] == "out" and containing in m["text"]]) >= count:
            return
        await asyncio.sleep(every)
    raise AssertionError(f"{phone} did not get {count} messages in time")
