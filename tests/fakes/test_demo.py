"""What `make demo` ends in: the product, and the conversation API's stand-in where one is needed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from recado.settings import Settings
from tests.fakes.conversation_api import ConversationApiFake
from tests.fakes.demo import stand_in
from tests.support import ROOT, copy_database, free_port

REAL = "https://ssgg.api.cartaai.pe"
T = TypeVar("T")
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")
SWITCH = {"ENABLE_CONVERSATION_SYNC": "true"}


@pytest.mark.parametrize(
    ("environment", "needed"),
    [
        ({}, False),
        (SWITCH, True),
        (SWITCH | {"CARTAAI_API_BASE_URL": ""}, True),
        (SWITCH | {"CARTAAI_API_BASE_URL": f"{REAL}:443/api/"}, True),
        (SWITCH | {"CARTAAI_API_BASE_URL": "http://127.0.0.1:3000"}, False),
        ({"USE_CARTAAI_API": "true"}, True),
    ],
)
def test_who_needs_a_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], needed: bool
) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("ENABLE_CONVERSATION_SYNC", "USE_CARTAAI_API", "CARTAAI_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # the example is what `.env` is a copy of: it names the real host, and has the switch off
    settings = Settings(_env_file=ROOT / ".env.example")
    assert (stand_in(settings, tmp_path / "data" / "api.db") is not None) is needed


def test_the_stand_in_has_the_products_prefix_and_key(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,
        enable_conversation_sync=True,
        conversation_api_prefix="/api/v1/whatsapp-providers",
        cartaai_api_key="key",
        cartaai_api_base_url=REAL,
    )
    api = stand_in(settings, tmp_path / "api.db")
    assert isinstance(api, ConversationApiFake)
    with api:
        url = f"{api.url}/api/v1/whatsapp-providers/lookup/tenant/+51900000001"
        assert httpx.get(url, trust_env=False).status_code == 401
        assert httpx.get(url, headers={"Authorization": "Bearer key"}, trust_env=False).status_code == 404


@contextmanager
def demo(folder: Path, prepared: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo in its own process group, starting; and its address."""
    copy_database(prepared, folder)
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    with (folder / "demo.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.demo", "--port", str(port)],
            cwd=folder,
            env={
                **inherited,
                "PYTHONPATH": str(ROOT),
                "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/recado.db",
                "CHECKPOINT_URL": f"sqlite:///{folder}/checkpoints.db",
                "MODEL_PROVIDER": "demo",
                **environment,
            },
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        yield process, url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], T | None], log: Path) -> T:
    """Waits for something that is true, and returns it."""
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found


@needs_proc
@pytest.mark.parametrize("end", ["ctrl-c", "terminated"])
def test_the_stand_in_lives_as_long_as_the_demo(tmp_path: Path, prepared_bodega: Path, end: str) -> None:
    log = tmp_path / "demo.log"
    with demo(tmp_path, prepared_bodega, SWITCH) as (process, url):
        api = until(lambda: re.search(r"(http://\S+) stands in", log.read_text()), log).group(1)
        assert answers(f"{api}/_control/documents")
        (product,) = until(lambda: children(process.pid), log)
        if end == "ctrl-c":  # in a terminal it reaches both
            until(lambda: answers(f"{url}/readyz"), log)
            assert f"CARTAAI_API_BASE_URL={api}".encode() in (product / "environ").read_bytes().split(b"\0")
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        assert process.wait(20) == 0
        assert not product.exists()
        assert not answers(f"{api}/_control/documents")
        assert "Traceback" not in log.read_text()


def children(parent: int) -> list[Path]:
    """The processes that this one has started, in /proc."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [Path(f"/proc/{child}") for task in tasks for child in task.read_text().split()]


@needs_proc
def test_without_need_the_demo_is_the_product_alone(tmp_path: Path, prepared_bodega: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(tmp_path, prepared_bodega, {}) as (process, _url):
        command = Path(f"/proc/{process.pid}/cmdline")
        until(lambda: b"recado\0serve\0--port\0" in command.read_bytes(), log)
        assert "stands in" not in log.read_text()
        assert not (tmp_path / "data").exists()
