"""When the database is away, alerts cannot be written down: that by itself is told, past it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from recado.alerts.conditions import CONDITIONS
from recado.alerts.counting import Route
from recado.alerts.links import Links
from recado.alerts.notice import AlertChannel, Notice
from recado.clock import Clock
from recado.errors import AlertFailed

log = structlog.get_logger(__name__)

CONDITION = "alerts_not_stored"
AGAIN_AFTER = timedelta(minutes=10)
SECONDS = 10.0
"""How long the channels may take."""


class Emergency:
    """Tells the channels directly, at most once in ten minutes for each process. Never raises an exception."""

    def __init__(self, clock: Clock, channels: Mapping[str, AlertChannel], route: Route, links: Links) -> None:
        self._clock = clock
        self._channels = channels
        self._route = route
        self._links = links
        self._told_at: datetime | None = None

    async def tell(self, reason: str) -> None:
        """Tell it now, if it has not just been told."""
        now = self._clock.now()
        if self._told_at is not None and now - self._told_at < AGAIN_AFTER:
            return
        self._told_at = now
        condition = CONDITIONS[CONDITION]
        notice = Notice(
            kind="first",
            condition=CONDITION,
            severity=condition.severity,
            title=condition.title,
            description=f"the database cannot be written to, so messages are not taken in either: {reason}; "
            "see /readyz and `recado doctor`",
            at=now,
            last_at=now,
            logs_url=self._links.logs(now),
        )
        names = [name for name in self._route(CONDITION, condition.severity) if name in self._channels]
        await asyncio.gather(*(self._send(self._channels[name], notice) for name in names))

    async def _send(self, channel: AlertChannel, notice: Notice) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                await channel.send(notice)
        except (AlertFailed, TimeoutError) as error:
            log.error("an alert could not be told", channel=channel.name, condition=CONDITION, error=str(error))
