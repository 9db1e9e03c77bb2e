"""Telling the channels: every post once, in order, again when a channel did not take it."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

import structlog

from recado.alerts.conditions import SeverityLevel, condition_of
from recado.alerts.linear import Issue, Linear
from recado.alerts.links import Links
from recado.alerts.notice import AlertChannel, Customer, Kind, Notice
from recado.alerts.repository import AlertRepository
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import Alert, AlertPost
from recado.errors import AlertFailed
from recado.telemetry import metrics

log = structlog.get_logger(__name__)

FIRST_BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=10)
TOLD_WITHIN = timedelta(hours=24)
"""What no channel took for so long is told to the log only."""
TRACKER_SECONDS = 10.0
"""How long all alerts of a run wait for their issues. Who has none then gets it with the next post."""
RUN_SECONDS = 60.0
"""After so long the next run goes on, so that none is cut off in the middle of a post."""
CHANNEL_SECONDS = 30.0
"""How long a channel may take for one alert."""


@dataclass(frozen=True, slots=True)
class Telling:
    """Tells what is due. `linear` is None where no issues are made."""

    database: Database
    clock: Clock
    channels: Mapping[str, AlertChannel]
    links: Links
    linear: Linear | None

    async def run(self) -> None:
        """Tell all channels what they have to be told now; each in its order, none waits for another."""
        async with self.database.read() as session:
            due = await AlertRepository(session).due_posts(self.clock.now())
        lanes: dict[str, list[tuple[AlertPost, Alert]]] = {}
        for post, alert in due:
            lanes.setdefault(post.channel, []).append((post, alert))
        if not lanes:
            return
        notices: dict[int, asyncio.Task[Notice]] = {}
        patience = asyncio.get_running_loop().time() + TRACKER_SECONDS
        async with asyncio.TaskGroup() as group:
            for _, alert in due:
                if alert.id not in notices:
                    notices[alert.id] = group.create_task(self._notice(alert, patience))
        await asyncio.gather(*(self._tell(name, lane, notices) for name, lane in lanes.items()))

    async def _tell(
        self, name: str, lane: list[tuple[AlertPost, Alert]], notices: Mapping[int, asyncio.Task[Notice]]
    ) -> None:
        end = time.monotonic() + RUN_SECONDS
        for post, alert in lane:
            if time.monotonic() > end or not await self._post(
                self.channels.get(name), post, _of_post(notices[alert.id].result(), post)
            ):
                return  # the next one would fare no better, and must not overtake it

    async def _post(self, channel: AlertChannel | None, post: AlertPost, notice: Notice) -> bool:
        """Whether the channel goes on."""
        now = self.clock.now()
        try:
            if channel is None:
                raise AlertFailed("this channel is not configured any more", permanent=True)
            async with asyncio.timeout(CHANNEL_SECONDS):
                await channel.send(notice)
        except AlertFailed as error:
            return await self._failed(post, notice, error, now)
        except Exception as error:
            # The job boundary: whatever a channel raised, the other alerts must be told.
            log.warning("an alert's channel raised what it should not", channel=post.channel, exc_info=True)
            return await self._failed(post, notice, AlertFailed(f"{type(error).__name__}: {error}"), now)
        metrics.ALERT_POSTS.labels(post.channel, "sent").inc()
        await self._settle(post, state="sent", sent_at=self.clock.now(), attempts=post.attempts + 1, error=None)
        return True

    async def _failed(self, post: AlertPost, notice: Notice, error: AlertFailed, now: datetime) -> bool:
        attempts = post.attempts + 1
        if error.permanent or now - post.created_at >= TOLD_WITHIN:
            log.error(
                "an alert could not be told",
                channel=post.channel,
                condition=notice.condition,
                description=notice.description,
                error=str(error),
            )
            metrics.ALERT_POSTS.labels(post.channel, "failed").inc()
            await self._settle(post, state="failed", attempts=attempts, error=str(error)[:500])
            return error.permanent
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(attempts - 1, 10))
        wait = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        if error.retry_after is not None:
            wait = max(wait, min(timedelta(seconds=error.retry_after), LONGEST_BACKOFF))
        metrics.ALERT_POSTS.labels(post.channel, "later").inc()
        log.warning("an alert will be told again", channel=post.channel, condition=notice.condition, error=str(error))
        await self._settle(post, due_at=now + wait, attempts=attempts, error=str(error)[:500])
        return False

    async def _settle(self, post: AlertPost, **values: object) -> None:
        async with self.database.transaction() as session:
            await AlertRepository(session).settle(post.id, **values)

    async def _notice(self, alert: Alert, patience: float) -> Notice:
        """What all channels are told of an alert, with what helps to understand it. `patience`: see `_issue`."""
        condition = condition_of(alert.condition)
        async with self.database.read() as session:
            repository = AlertRepository(session)
            store = person = None
            if alert.merchant_id is not None:
                store = await repository.store_name(alert.merchant_id)
                if alert.conversation_id is not None:
                    person = await repository.person(alert.merchant_id, alert.conversation_id)
            spread = await repository.spread(alert.id)
        customer = Customer()
        if person is not None:
            orders = person.api_context.get("orderHistory")
            customer = Customer(person.name, person.phone, len(orders) if isinstance(orders, list) else None)
        issue = await self._issue(alert, store, patience) if condition.severity is SeverityLevel.ERROR else None
        return Notice(
            kind="first",
            condition=alert.condition,
            severity=condition.severity,
            title=condition.title,
            description=alert.description,
            at=alert.first_at,
            last_at=alert.last_at,
            spread=spread if max(spread) > 1 else None,
            store_name=store,
            conversation_id=alert.conversation_id,
            customer=customer,
            ids=alert.context,
            conversation_url=self.links.conversation(alert.conversation_id),
            trace_url=await self.links.trace(alert.trace_id),
            logs_url=self.links.logs(alert.first_at),
            linear_url=issue.url if issue else None,
            linear_identifier=issue.identifier if issue else None,
        )

    async def _issue(self, alert: Alert, store_name: str | None, patience: float) -> Issue | None:
        """The issue in the tracker, if it is there by `patience` (the loop's time): the team must not wait for it."""
        if self.linear is None:
            return None
        try:
            async with asyncio.timeout_at(patience):
                return await self.linear.issue_of(alert, store_name)
        except TimeoutError:
            log.warning("an alert is told without its issue: Linear is too slow", condition=alert.condition)
            return None


def _of_post(notice: Notice, post: AlertPost) -> Notice:
    return replace(notice, kind=cast(Kind, post.kind), count=post.count)
