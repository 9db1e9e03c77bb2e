"""The alerts' job: count what happened, tell what is to be told."""

from recado.alerts.counting import Counting
from recado.alerts.repository import has_work
from recado.alerts.telling import Telling
from recado.clock import Clock
from recado.db.engine import Database


class AlertJobs:
    """Runs one at a time: its key in the queue is its name."""

    def __init__(self, database: Database, clock: Clock, counting: Counting, telling: Telling) -> None:
        self._database = database
        self._clock = clock
        self._counting = counting
        self._telling = telling

    async def is_due(self) -> bool:
        """Whether there is something to do."""
        async with self._database.read() as session:
            return await has_work(session, self._clock.now())

    async def run(self) -> None:
        """Count and tell."""
        await self._counting.run()
        await self._telling.run()
