"""From occurrences to alerts: the same error is told once, again while it lasts, and in sum when it is over."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from recado.alerts.conditions import SeverityLevel, condition_of
from recado.alerts.repository import BATCH, AlertRepository
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import Alert, AlertOccurrence

ONGOING_EVERY = timedelta(hours=1)
"""How often the team is told that an error goes on."""
KEPT_FOR = timedelta(days=90)

Route = Callable[[str, SeverityLevel], Sequence[str]]
"""Which channels are told of a condition of this severity."""


class Counting:
    """Counts what happened. `quiet`: how long an error must not have happened to be over."""

    def __init__(self, database: Database, clock: Clock, route: Route, quiet: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._route = route
        self._quiet = quiet

    async def run(self) -> None:
        """Count all occurrences, and put down what has to be told."""
        while await self._count() == BATCH:
            pass

    async def _count(self) -> int:
        now = self._clock.now()
        async with self._database.transaction() as session:
            repository = AlertRepository(session)
            await repository.lock()
            occurrences = await repository.uncounted()
            alerts = {alert.fingerprint: alert for alert in await repository.open()}
            for occurrence in occurrences:
                alert = alerts.get(occurrence.fingerprint)
                if alert is not None and self._is_over(alert, occurrence.at):
                    self._end(repository, alert, now)
                    await session.flush()
                    alert = None
                if alert is None:
                    alert = alerts[occurrence.fingerprint] = await repository.begin(occurrence)
                _add(alert, occurrence)
            for alert in alerts.values():
                self._tell(repository, alert, now)
            await repository.forget(now - KEPT_FOR)
        return len(occurrences)

    def _tell(self, repository: AlertRepository, alert: Alert, now: datetime) -> None:
        """What is new of an alert: that it is there, that it goes on, that it is over."""
        if self._is_over(alert, now):
            self._end(repository, alert, now)
        elif alert.told_at is None:
            self._tell_first(repository, alert, now)
        elif alert.count > alert.told_count and now - alert.told_at >= max(ONGOING_EVERY, self._quiet_of(alert)):
            self._post(repository, alert, "ongoing", now)

    def _tell_first(self, repository: AlertRepository, alert: Alert, now: datetime) -> None:
        if alert.count >= condition_of(alert.condition).after:
            self._post(repository, alert, "first", now)

    def _end(self, repository: AlertRepository, alert: Alert, now: datetime) -> None:
        if alert.told_at is None:
            self._tell_first(repository, alert, now)  # it was over before anybody looked
        elif alert.count > alert.told_count:
            self._post(repository, alert, "summary", now)
        alert.ended_at = now

    def _post(self, repository: AlertRepository, alert: Alert, kind: str, now: datetime) -> None:
        severity = condition_of(alert.condition).severity
        repository.post(alert, self._route(alert.condition, severity), kind, now)

    def _is_over(self, alert: Alert, at: datetime) -> bool:
        return at - alert.last_at >= self._quiet_of(alert)

    def _quiet_of(self, alert: Alert) -> timedelta:
        quiet = condition_of(alert.condition).quiet
        return self._quiet if quiet is None else quiet


def _add(alert: Alert, occurrence: AlertOccurrence) -> None:
    alert.count += occurrence.count
    alert.last_at = max(alert.last_at, occurrence.at)
    occurrence.alert_id = alert.id
