"""`recado serve`, to be killed often."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import httpx

from tests.support import ROOT, START_SECONDS, RecadoServer

WEB = httpx.Client(trust_env=False, timeout=10.0, limits=httpx.Limits(max_keepalive_connections=0))
"""One client for all threads: to make one takes longer than a request. A connection to a dead server is of no use."""


def until(condition: Callable[[], object], what: str, timeout: float) -> None:
    """Wait for a condition. Raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.05)


class MortalServer(RecadoServer):
    """Besides the ordinary `start()` and `kill()`: `launch()` and `cut_down()`, with a zygote's children."""

    _zygote: subprocess.Popen[str] | None = None

    def launch(self) -> None:
        """Start to serve, and do not wait until it is ready."""
        if self._zygote is None:
            with self.log.open("ab") as log:
                self._zygote = subprocess.Popen(
                    [sys.executable, str(ROOT / "tests" / "crash" / "zygote.py"), "serve", "--port", str(self.port)],
                    cwd=self.folder,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            self._answer()
        self._tell("start")

    def cut_down(self) -> None:
        """SIGKILL for what `launch` started. Raises AssertionError when it was dead already."""
        ended = self._tell("kill")
        assert ended == -signal.SIGKILL, f"recado serve ended by itself with {ended}:\n{self.log.read_text()[-5000:]}"

    def wait_ready(self) -> None:
        """Until it says that it is ready."""
        until(self._is_ready, "ready", START_SECONDS)

    def end(self) -> None:
        """Kill everything."""
        self.kill()
        if self._zygote is not None:
            self._zygote.communicate(timeout=20)  # closes its stdin, and with it its child ends
            self._zygote = None

    def _is_ready(self) -> bool:
        try:
            return WEB.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _tell(self, what: str) -> int:
        assert self._zygote is not None
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(f"{what}\n")
        self._zygote.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._zygote is not None
        assert self._zygote.stdout is not None
        line = self._zygote.stdout.readline()
        assert line, f"no answer from the zygote:\n{self.log.read_text()[-5000:]}"
        return int(line)
