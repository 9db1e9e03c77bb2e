"""A storm of the same error, told over HTTP: few calls, and none lost from the count."""

import asyncio
import re

from sqlalchemy import func, select

from recado.alerts.counting import Counting
from recado.alerts.discord import DiscordChannel
from recado.alerts.jobs import AlertJobs
from recado.alerts.links import Links
from recado.alerts.notice import AlertChannel
from recado.alerts.raising import Alarm, Alerts
from recado.alerts.telling import Telling
from recado.alerts.wording import zone_of
from recado.db.engine import Database
from recado.db.models import AlertOccurrence
from tests.alerts.notices import settings
from tests.alerts.watch import QUIET
from tests.builders import SetClock
from tests.fakes.discord_api import DiscordFake
from tests.fakes.server import running

ERRORS = 10_000
BATCHES = 60


async def test_ten_thousand_errors_in_a_minute_are_two_posts(database: Database) -> None:
    clock, chosen = SetClock(), settings()
    with running(DiscordFake()) as discord:
        channel = DiscordChannel(discord.webhook_url, Links(chosen), zone_of("Europe/Zurich"), clock)
        channels: dict[str, AlertChannel] = {"discord": channel}
        counting = Counting(database, clock, lambda _condition, _severity: ["discord"], QUIET)
        jobs = AlertJobs(database, clock, counting, Telling(database, clock, channels, Links(chosen), None))
        alerts = Alerts(database, clock, _nothing, _fail)
        for second in range(BATCHES):
            share = range(second, ERRORS, BATCHES)
            ids = [{"conversation_id": number, "turn_id": number} for number in share]
            alarms = [
                Alarm("turn_failed", f"ModelError: request {number} failed", id)
                for number, id in zip(share, ids, strict=True)
            ]
            await asyncio.gather(*(alerts.send(alarm) for alarm in alarms))
            clock.forward(seconds=1)
            await jobs.run()
        clock.forward(seconds=QUIET.total_seconds())
        await jobs.run()
        await alerts.close()
        await channel.close()
        assert len(discord.messages) == 2 <= 3
        assert re.search(r"10[,.’' ]?000", str(discord.messages[-1])), discord.messages[-1]
    async with database.read() as session:
        assert await session.scalar(select(func.sum(AlertOccurrence.count))) == ERRORS


def _alarm(number: int) -> Alarm:
    return Alarm("turn_failed", f"ModelError: request {number} failed", {"conversation_id": number, "turn_id": number})


async def _nothing() -> None:
    """The test has the job look."""


async def _fail(reason: str) -> None:
    raise AssertionError(reason)
