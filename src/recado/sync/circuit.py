"""A circuit breaker: who does not answer is left alone for a while."""

from datetime import datetime, timedelta

from recado.clock import Clock
from recado.errors import SyncUnavailable

THRESHOLD = 5
"""So many failures in a row open the circuit."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(seconds=60)


class Circuit:
    """The circuit of one host, within one process.

    Closed, until it has failed so often in a row; then open for a pause, which doubles each time; then half open: one
    call is let through, which closes it or opens it again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until: datetime | None = None
        self._pause = FIRST_PAUSE
        self._trying_since: datetime | None = None

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock.now() < self._open_until else "half_open"

    def blocks(self) -> bool:
        """Whether a call would be refused now."""
        if self._open_until is None:
            return False
        now = self._clock.now()
        # A call that was let through and never came back, because its task was cancelled, must not block for ever.
        trying = self._trying_since is not None and now - self._trying_since < LONGEST_PAUSE
        return now < self._open_until or trying

    def enter(self) -> None:
        """A call begins. Raises SyncUnavailable where none may."""
        if self.blocks():
            raise SyncUnavailable("the conversation API has not answered lately and is left alone", "circuit_open")
        if self._open_until is not None:
            self._trying_since = self._clock.now()

    def succeeded(self) -> None:
        """The host answered as it should, be it with a refusal."""
        self._failures, self._open_until, self._trying_since, self._pause = 0, None, None, FIRST_PAUSE

    def failed(self) -> bool:
        """The host did not answer, or not as it should. Whether that has opened the circuit, which was closed."""
        self._failures += 1
        self._trying_since = None
        if self._open_until is None and self._failures < THRESHOLD:
            return False
        now = self._clock.now()
        if self._open_until is not None and now < self._open_until:
            return False  # a call from before it opened
        opened = self._open_until is None
        self._open_until = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return opened
