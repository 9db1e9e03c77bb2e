"""`recado worker --metrics-port`: each worker process tells of itself, and stops as cleanly as without."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.world import Phone, until
from tests.support import RecadoServer, copy_database, free_port

REDIS_URL = os.environ.get("RECADO_TEST_REDIS_URL", "redis://127.0.0.1:6379") + "/8"
SHOP, ANA = "+15550100", "+51911111111"


@pytest.fixture
def server(tmp_path: Path, prepared_bodega: Path) -> Iterator[RecadoServer]:
    """`recado serve`, with its jobs left to workers, and a Redis database of its own."""
    client = redis.Redis.from_url(REDIS_URL)
    try:
        client.flushdb()
    except redis.ConnectionError as error:
        pytest.skip(f"no Redis at RECADO_TEST_REDIS_URL: {error}")
    server = RecadoServer(tmp_path, {"QUEUE_URL": REDIS_URL})
    copy_database(prepared_bodega, server.folder)
    server.start()
    yield server
    server.stop()
    client.flushdb()
    client.close()


@contextmanager
def worker(
    server: RecadoServer, *arguments: str, name: str = "worker", **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A worker process of this server's, and its log."""
    log = server.folder / f"{name}.log"
    inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    environment = {
        "DATABASE_URL": server.database_url,
        "CHECKPOINT_URL": f"sqlite:///{server.folder}/checkpoints.db",
        "MODEL_PROVIDER": "demo",
        "TURN_QUIET_SECONDS": "0.1",
        "QUEUE_URL": REDIS_URL,
        **settings,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recado.entrypoints", "worker", *arguments],
            cwd=server.folder,
            env=inherited | environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_until_it_works(process: subprocess.Popen[bytes], log: Path) -> None:
    until(lambda: "working" in log.read_text() or process.poll() is not None, log.read_text, 40)
    assert process.poll() is None, log.read_text()


def scraped(port: int, host: str = "127.0.0.1") -> dict[tuple[str, ...], float]:
    answer = httpx.get(f"http://{host}:{port}/metrics", timeout=5, trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE_LATEST)
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_a_worker_tells_of_its_own_work_and_stops_cleanly(server: RecadoServer) -> None:
    port = free_port()
    with worker(server, "--metrics-port", str(port)) as (process, log):
        wait_until_it_works(process, log)
        health = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5, trust_env=False)
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        ana = Phone(server, ANA, SHOP, "Ana")
        ana.says("¿Hacen envíos?")
        ana.hears("a todo Lima")
        mine = until(
            lambda: figures if (figures := scraped(port)).get(("recado_turns_total", "done")) else {}, log.read_text
        )
        of_the_server = scraped(server.port)
        assert mine["recado_turns_total", "done"] == 1
        assert ("recado_turns_total", "done") not in of_the_server
        assert {name for name, *_ in mine} >= {"recado_build_info", "process_resident_memory_bytes"}
        # What the rows say is told once, by `recado serve`.
        assert [name for name, *_ in mine if name.startswith("recado_backlog")] == []
        assert of_the_server["recado_backlog", "messages"] == 0
        assert ("recado_queue_jobs", "redis", "queued") in of_the_server
        process.terminate()
        assert process.wait(20) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_port_may_be_a_setting_and_the_option_wins(server: RecadoServer) -> None:
    port, other = free_port(), free_port()
    by_option = ("--metrics-port", str(other), "--metrics-host", "127.0.0.2")
    with (
        worker(server, name="by-setting", WORKER_METRICS_PORT=str(port)) as first,
        worker(server, *by_option, name="by-option", WORKER_METRICS_PORT=str(port)) as second,
        worker(server, "--metrics-port", "0", name="off", WORKER_METRICS_PORT=str(port)) as third,
    ):
        for process, log in (first, second, third):
            wait_until_it_works(process, log)
        assert scraped(port)
        assert scraped(other, "127.0.0.2")
        for process, log in (first, second, third):
            process.terminate()
            assert process.wait(20) == 0, log.read_text()


def test_a_port_that_is_taken_ends_the_start_with_one_line(server: RecadoServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with worker(server, "--metrics-port", str(port)) as (process, log):
            assert process.wait(40) == 1
            said = [line for line in log.read_text().splitlines() if "demo model" not in line]
    assert said == [
        f"metrics cannot be served at 127.0.0.1:{port}: Address already in use; "
        "set another WORKER_METRICS_PORT or --metrics-port"
    ]
