"""Running the real product for tests: `recado serve` as a process of its own, on a database of its own."""

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from recado.campaigns.apply import apply_file, read_file
from recado.clock import Clock
from recado.db.engine import Database
from tests.databases import bring_up_to_date
from tests.processes import INHERITED, ROOT, Process, Start, start_forked

BODEGA = ROOT / "examples" / "bodega.yaml"
START_SECONDS = 30.0
WEB = httpx.Client(trust_env=False, timeout=10.0, limits=httpx.Limits(max_keepalive_connections=0))
"""One client for all threads: to make one takes longer than a request. A connection to a dead server is of no use."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def prepare_database(url: str, merchants: Path) -> None:
    """A migrated database with the merchants of a YAML file."""
    database = Database(url)
    await bring_up_to_date(database)
    async with database.transaction() as session:
        await apply_file(session, Clock(), read_file(merchants))
    await database.close()


class RecadoServer:
    """A running `recado serve`, in a folder of its own, so that no `.env` is near."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        start: Start = start_forked,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = f"sqlite+aiosqlite:///{folder}/recado.db"
        self.log = folder / "serve.log"
        self._start = start
        self._process: Process | None = None
        self._environment = {
            **INHERITED,
            "DATABASE_URL": self.database_url,
            "CHECKPOINT_URL": f"sqlite:///{folder}/checkpoints.db",
            "MODEL_PROVIDER": "demo",
            "PUBLIC_BASE_URL": self.url,
            "TURN_QUIET_SECONDS": "0.2",
            **(environment or {}),
        }

    def prepare(self, merchants: Path = BODEGA) -> None:
        """Migrate, and apply a YAML file."""
        asyncio.run(prepare_database(self._environment["DATABASE_URL"], merchants))

    def start(self) -> None:
        """Start the process and wait until it is ready. Raises AssertionError, with the log, when it does not."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process, and do not wait until it is ready."""
        words = ("serve", "--port", str(self.port))
        self._process = self._start(*words, folder=self.folder, environment=self._environment, log=self.log)

    def wait_ready(self) -> None:
        """Until it says that it is ready. Raises AssertionError, with the log, when it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, f"recado serve ended:\n{self.log.read_text()}"
            with suppress(httpx.TransportError):
                if WEB.get(f"{self.url}/readyz").status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"recado serve was not ready in time:\n{self.log.read_text()}")

    def kill(self) -> None:
        """SIGKILL: no clean-up of any kind."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an operator's tools send it."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
                raise
        self._process = None


def copy_database(prepared: Path, folder: Path) -> None:
    """Put a prepared SQLite database into a server's folder."""
    shutil.copy(prepared, folder / "recado.db")
