"""What somebody must hear of once a transaction is committed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from recado.alerts.service import Alerts
from recado.conversations.limit_repository import LimitRepository


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert to raise. `key`: it is raised at most once in `every`, whatever raises it and in which process."""

    title: str
    description: str
    context: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    every: timedelta = timedelta(hours=1)

    async def is_news(self, limits: LimitRepository, now: datetime) -> bool:
        """Whether it has to be raised now."""
        return self.key is None or await limits.take(f"told:{self.key}", now, now + self.every)


async def raise_all(alerts: Alerts, alarms: Iterable[Alarm]) -> None:
    """Raise alerts, in order."""
    for alarm in alarms:
        await alerts.send(alarm.title, alarm.description, **alarm.context)
