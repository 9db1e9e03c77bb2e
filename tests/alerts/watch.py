"""A team that is told of errors: the alerts' job on a database, with channels in memory."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from recado.alerts.conditions import SeverityLevel
from recado.alerts.counting import Counting
from recado.alerts.jobs import AlertJobs
from recado.alerts.links import Links
from recado.alerts.notice import AlertChannel, Notice
from recado.alerts.raising import Alarm, raise_within
from recado.alerts.telling import Telling
from recado.db.engine import Database
from recado.db.models import Alert, AlertPost
from recado.errors import AlertFailed
from tests.alerts.notices import settings
from tests.builders import SetClock

QUIET = timedelta(minutes=10)


class HeardChannel:
    """A channel in memory. `plan`: what happens to the next notices; afterwards all are taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.plan: list[BaseException | None] = []
        self.heard: list[Notice] = []
        self.tries = 0

    async def send(self, notice: Notice) -> None:
        self.tries += 1
        error = self.plan.pop(0) if self.plan else None
        if error is not None:
            raise error
        self.heard.append(notice)

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def kinds(self) -> list[tuple[str, int]]:
        return [(notice.kind, notice.count) for notice in self.heard]


class Watch:
    """`one` hears everything, `two` what is an error."""

    def __init__(self, database: Database) -> None:
        self.database, self.clock = database, SetClock()
        self.one, self.two = HeardChannel("one"), HeardChannel("two")
        self.jobs = self.new_jobs()

    def new_jobs(self, linear: Any = None) -> AlertJobs:
        channels: dict[str, AlertChannel] = {"one": self.one, "two": self.two}
        counting = Counting(self.database, self.clock, _route, QUIET)
        telling = Telling(self.database, self.clock, channels, Links(settings()), linear)
        return AlertJobs(self.database, self.clock, counting, telling)

    async def happen(self, *alarms: Alarm, times: int = 1) -> None:
        """Errors, in a transaction of their own."""
        async with self.database.transaction() as session:
            for _ in range(times):
                raise_within(session, alarms, self.clock.now())

    async def work(self, **forward: float) -> None:
        """Some time later, the sweep finds what there is to do."""
        self.clock.forward(**forward)
        if await self.jobs.is_due():
            await self.jobs.run()

    async def alerts(self) -> list[Alert]:
        async with self.database.read() as session:
            return list(await session.scalars(select(Alert).order_by(Alert.id)))

    async def posts(self) -> list[AlertPost]:
        async with self.database.read() as session:
            return list(await session.scalars(select(AlertPost).order_by(AlertPost.id)))


def _route(_condition: str, severity: SeverityLevel) -> Sequence[str]:
    return ["one", "two"] if severity is SeverityLevel.ERROR else ["one"]


def later(seconds: float | None = None) -> AlertFailed:
    return AlertFailed("not now", retry_after=seconds)


def never() -> AlertFailed:
    return AlertFailed("gone", permanent=True)
