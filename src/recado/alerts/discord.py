"""Alerts in Discord: a webhook that is given embeds.

https://docs.discord.com/developers/resources/webhook#execute-webhook, and the limits of an embed at
https://docs.discord.com/developers/resources/message#embed-object-embed-limits. Discord's API counts code points, its
libraries UTF-16 code units (github.com/discord/discord-api-docs/issues/1315); what fits the latter fits both.
"""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from recado.alerts.fitting import escaped, fit, size, web_url
from recado.alerts.links import Links
from recado.alerts.notice import Notice
from recado.alerts.schemas import DiscordNotification
from recado.alerts.webhook import SECONDS, Answer, Webhook
from recado.alerts.wording import COLOURS, EMOJI, aware, facts_of, local_time, title_of
from recado.clock import Clock

TITLE = 256
DESCRIPTION = 4_096
FIELDS = 25
FIELD_NAME = 256
FIELD_VALUE = 1_024
WHOLE = 6_000
"""Of title, description, fields and footer together."""
ALL_FIELDS = 2_800
"""What fields take at most, so that most of the description is left."""
LONGEST_WAIT = 5.0
"""Seconds. A longer pause is not waited for, but told."""

_PUBLIC_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
"""Hosts that Discord takes in an embed's `url`: it refuses `localhost` and the like, with the whole alert
(github.com/go-gitea/gitea/issues/14379)."""


class _Fields:
    """The fields of an embed, as many as are allowed and fit."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self.size = 0

    def add(self, name: str, value: str, *, inline: bool = True) -> None:
        """A text as people wrote it."""
        self._add(fit(name, FIELD_NAME, escaped), fit(value, FIELD_VALUE, escaped), inline)

    def link(self, what: str, shown: str, url: str | None) -> None:
        """A link is whole or it is not there."""
        written = f"[{escaped(fit(shown, 100))}]({url})"
        if url and size(written) <= FIELD_VALUE:
            self._add(what, written, inline=True)

    def _add(self, name: str, value: str, inline: bool) -> None:
        needed = size(name) + size(value)
        if name.strip() and value.strip() and len(self.all) < FIELDS and self.size + needed <= ALL_FIELDS:
            self.all.append({"name": name, "value": value, "inline": inline})
            self.size += needed


def embed_of(notification: DiscordNotification, links: Links, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """The body to post: one embed, and nobody is mentioned whatever the texts say."""
    at = notification.at or aware(now) or datetime.now(UTC)
    conversation = web_url(links.conversation(notification.conversation_id))
    title = fit(_title(notification), TITLE, escaped)
    footer = local_time(at, zone)
    fields = _fields(notification, conversation, web_url(links.logs(at)))
    left = min(DESCRIPTION, WHOLE - size(title) - size(footer) - fields.size)
    description = fit(notification.description, left, escaped)
    color = COLOURS[notification.severity] if notification.color is None else notification.color
    embed: dict[str, Any] = {
        "title": title,
        "color": color,
        "timestamp": at.isoformat(timespec="milliseconds"),
        "footer": {"text": footer},
        "fields": fields.all,
    }
    if description.strip():
        embed["description"] = description
    if conversation and _PUBLIC_HOST.fullmatch(httpx.URL(conversation).host.lower()):
        embed["url"] = conversation
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _title(notification: DiscordNotification) -> str:
    made = " · ".join(filter(None, (notification.severity.capitalize(), notification.store_name)))
    return f"{EMOJI[notification.severity]} {notification.title or made}"


def _fields(notification: DiscordNotification, conversation: str | None, logs: str | None) -> _Fields:
    """Store and customer first, then where to look, then what else is known."""
    fields = _Fields()
    orders = notification.customer_orders_count
    fields.add("Store", notification.store_name[:200])
    fields.add("Customer", notification.customer_name[:200])
    fields.add("Phone", notification.customer_phone[:50])
    fields.add("Orders", "" if orders is None else str(orders))
    fields.link("Conversation", notification.conversation_id or "Open", conversation)
    fields.link("Trace", "Open", notification.trace_url)
    fields.link("Logs", "One minute", logs)
    fields.link("Linear", notification.linear_identifier or "Issue", notification.linear_url)
    if not notification.linear_url:
        fields.add("Linear", notification.linear_identifier[:100])
    for name, value in notification.fields.items():
        fields.add(name, value, inline=False)
    return fields


def notification_of(notice: Notice, zone: ZoneInfo) -> DiscordNotification:
    """What Discord is told of a notice."""
    return DiscordNotification(
        title=title_of(notice),
        description=notice.description,
        store_name=notice.store_name or "",
        conversation_id="" if notice.conversation_id is None else str(notice.conversation_id),
        customer_name=notice.customer.name or "",
        customer_phone=notice.customer.phone or "",
        customer_orders_count=notice.customer.orders_count,
        trace_url=notice.trace_url,
        severity=notice.severity,
        linear_url=notice.linear_url,
        linear_identifier=notice.linear_identifier or "",
        at=notice.at,
        fields=facts_of(notice, zone),
    )


class DiscordChannel:
    """Tells a Discord webhook."""

    name = "discord"

    def __init__(
        self, url: str, links: Links, zone: ZoneInfo, clock: Clock | None = None, seconds: float = SECONDS
    ) -> None:
        self._webhook = Webhook(url, "DISCORD_WEBHOOK_URL", "Discord", _is_message, seconds)
        self._links = links
        self._zone = zone
        self._clock = clock or Clock()

    async def send(self, notice: Notice) -> None:
        """Tell it. A short pause that Discord has asked for before is waited for. Raises AlertFailed."""
        if self._webhook.pause <= LONGEST_WAIT:
            await asyncio.sleep(self._webhook.pause)
        await self.post(notification_of(notice, self._zone))

    async def post(self, notification: DiscordNotification) -> None:
        """Post it now. Raises AlertFailed."""
        # Without `wait`, Discord answers before it has kept the message, and says nothing when it cannot.
        await self._webhook.post(embed_of(notification, self._links, self._zone, self._clock.now()), wait="true")

    async def close(self) -> None:
        """Nothing is kept open."""


def _is_message(answer: Answer) -> bool:
    """Discord's 204 has no body, its 200 is the message. One that was cut after its head is one too: what was taken
    must not be told again."""
    if answer.status == 204:
        return True
    return not answer.is_page and (not answer.body.strip() or answer.body.lstrip().startswith(b"{"))
