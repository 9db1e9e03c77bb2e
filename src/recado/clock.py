"""The system's clock: real time, plus what the simulator's clock control has advanced it by."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Tells the time in UTC. Only ever moves forward."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        """The current time, timezone-aware, in UTC."""
        return datetime.now(UTC) + self.offset

    def advance_to(self, offset: timedelta) -> None:
        """Set how far this clock is ahead of real time; a smaller offset than the present one is ignored."""
        self.offset = max(self.offset, offset)
