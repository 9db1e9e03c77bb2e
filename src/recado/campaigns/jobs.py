"""Asking once in a while for the approvals that somebody waits for: not every provider sends word of them."""

from datetime import datetime, timedelta

from recado.campaigns.approvals import Approvals, merchants_who_wait
from recado.channels.managements import open_managements
from recado.clock import Clock
from recado.db.engine import Database
from recado.settings import Settings

EVERY = timedelta(hours=1)


class ApprovalJobs:
    """The job, and when it is time for it. A restart only makes that earlier."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._asked_at: datetime | None = None

    def is_due(self) -> bool:
        """Whether it is time; asking counts as having done it."""
        now = self._clock.now()
        if self._asked_at is not None and now - self._asked_at < EVERY:
            return False
        self._asked_at = now
        return True

    async def refresh(self) -> None:
        """Ask the providers. Where nobody waits it is one query."""
        async with self._database.read() as session:
            waiting = await merchants_who_wait(session)
        if not waiting:
            return
        async with open_managements(self._settings, self._clock) as managements:
            await Approvals(self._database, managements, self._clock).refresh(waiting)
