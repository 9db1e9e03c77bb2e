"""Running the real product for tests: `recado serve` as a process of its own, on a database of its own."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from recado.campaigns.apply import apply_file, read_file
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.migrate import migrate

ROOT = Path(__file__).parent.parent
BODEGA = ROOT / "examples" / "bodega.yaml"
START_SECONDS = 30.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def prepare_database(url: str, merchants: Path) -> None:
    """A migrated database with the merchants of a YAML file."""
    database = Database(url)
    await migrate(database)
    async with database.transaction() as session:
        await apply_file(session, Clock(), read_file(merchants))
    await database.close()


class RecadoServer:
    """A running `recado serve`, in a folder of its own, so that no `.env` is near."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = f"sqlite+aiosqlite:///{folder}/recado.db"
        self.log = folder / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None
        inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        self._environment = {
            **inherited,
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
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "recado.entrypoints", "serve", "--port", str(self.port)],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"recado serve ended:\n{self.log.read_text()}"
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1.0).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
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
                self._process.kill()
                self._process.wait()
                raise
        self._process = None


def copy_database(prepared: Path, folder: Path) -> None:
    """Put a prepared SQLite database into a server's folder."""
    shutil.copy(prepared, folder / "recado.db")
