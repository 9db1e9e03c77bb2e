"""`recado serve`, to be killed often."""

import signal
import time
from collections.abc import Callable

from tests.support import RecadoServer


def until(condition: Callable[[], object], what: str, timeout: float) -> None:
    """Wait for a condition. Raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.05)


class MortalServer(RecadoServer):
    """Besides the ordinary `kill()`: `cut_down()`, which looks whether there was something to kill."""

    def cut_down(self) -> None:
        """SIGKILL. Raises AssertionError when it was dead already."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        ended = self._process.wait(20)
        assert ended == -signal.SIGKILL, f"recado serve ended by itself with {ended}:\n{self.log.read_text()[-5000:]}"
        self._process = None
