"""Notifications for the team, for whoever has something to tell that is no error of ours."""

import asyncio

import structlog

from recado.alerts.discord import LONGEST_WAIT, DiscordChannel
from recado.alerts.fitting import web_url
from recado.alerts.links import Links
from recado.alerts.schemas import DiscordNotification
from recado.errors import AlertFailed
from recado.telemetry.tracing import current_trace_id
from recado.text import mask_phones

TRACE_SECONDS = 3.0
"""For finding where a trace is."""

log = structlog.get_logger(__name__)


class NotificationsService:
    """Sends notifications. `discord` None: no webhook is set. `links`: where traces are."""

    def __init__(self, discord: DiscordChannel | None, links: Links) -> None:
        self._discord = discord
        self._links = links

    async def send_discord_notification(self, notification: DiscordNotification) -> bool:
        """Whether Discord took it. A pause of at most `LONGEST_WAIT` seconds, if Discord asks for one, is kept once.

        A notification without a trace is given that of the work in hand. Never raises: no work may fail because of it.
        """
        title = mask_phones(notification.title)
        if self._discord is None:
            log.warning("a Discord notification was not sent: set DISCORD_WEBHOOK_URL", title=title)
            return False
        try:
            await self._post(self._discord, await self._traced(notification))
        except AlertFailed as error:
            log.warning("a Discord notification was not sent", title=title, error=str(error))
            return False
        except Exception:
            # The boundary to whoever calls: what failed here must not fail there.
            log.warning("a Discord notification raised what it should not", title=title, exc_info=True)
            return False
        return True

    async def _traced(self, notification: DiscordNotification) -> DiscordNotification:
        if notification.trace_url is not None:
            return notification
        try:
            async with asyncio.timeout(TRACE_SECONDS):
                found = web_url(await self._links.trace(current_trace_id()))
        except TimeoutError:
            return notification
        return notification.model_copy(update={"trace_url": found})

    async def _post(self, discord: DiscordChannel, notification: DiscordNotification) -> None:
        try:
            await discord.post(notification)
        except AlertFailed as error:
            if error.retry_after is None or error.retry_after > LONGEST_WAIT:
                raise
            await asyncio.sleep(error.retry_after)
            await discord.post(notification)
