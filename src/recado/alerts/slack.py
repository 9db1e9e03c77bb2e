"""Alerts in Slack, Mattermost and whatever else takes Slack's incoming webhooks.

Attachments with fields, which all of them know; blocks are Slack's alone. Three characters are escaped
(docs.slack.dev/messaging/formatting-message-text), and texts stay well below the 4,000 characters that Slack advises
(docs.slack.dev/changelog/2018-truncating-really-long-messages).
"""

import re
from typing import Any
from zoneinfo import ZoneInfo

from recado.alerts.fitting import fit, one_line, plain, size, web_url
from recado.alerts.notice import Notice
from recado.alerts.webhook import Answer, Webhook
from recado.alerts.wording import COLOURS, EMOJI, facts_of, links_of, local_time, people_of, title_of

TITLE = 250
DESCRIPTION = 3_000
LINKS = 900
FIELD = 500
_SPECIAL = re.compile(r"[&<>]|(?<=\])\(|@(?=channel|here|all|everyone)", re.IGNORECASE)
_UNSEEN = "\u200b"
_WRITTEN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "(": f"{_UNSEEN}(", "@": f"@{_UNSEEN}"}
"""Mattermost knows Markdown's links and takes mentions from webhooks: a space without width makes both plain text."""


def written(text: str) -> str:
    """`text` as it is to be shown."""
    return _SPECIAL.sub(lambda found: _WRITTEN[found[0]], text)


def message_of(notice: Notice, zone: ZoneInfo) -> dict[str, Any]:
    """The body to post."""
    title = fit(f"{EMOJI[notice.severity]} {one_line(title_of(notice))}", TITLE, written)
    shown = {**people_of(notice), **facts_of(notice, zone)}
    fields = [
        {"title": name, "value": fit(plain(value), FIELD, written), "short": len(value) < 40}
        for name, value in shown.items()
        if plain(value)
    ]
    text = fit(plain(notice.description), DESCRIPTION, written)
    attachment: dict[str, Any] = {
        "fallback": title,
        "color": f"#{COLOURS[notice.severity]:06x}",
        "text": "\n\n".join(filter(None, (text, _links(notice)))),
        "fields": fields,
        "footer": local_time(notice.at, zone),
        "ts": int(notice.at.timestamp()),
        "mrkdwn_in": [],
    }
    return {"text": title, "attachments": [attachment]}


def _links(notice: Notice) -> str:
    """Each is whole or it is not there."""
    shown = ""
    for what, address in links_of(notice):
        url = web_url(address)
        longer = " · ".join(filter(None, (shown, f"<{url}|{written(one_line(what))}>")))
        shown = longer if url and size(longer) <= LINKS else shown
    return shown


class SlackChannel:
    """Tells a Slack-compatible webhook."""

    name = "slack"

    def __init__(self, url: str, zone: ZoneInfo) -> None:
        self._webhook = Webhook(url, "SLACK_WEBHOOK_URL", "Slack", _is_ok)
        self._zone = zone

    async def send(self, notice: Notice) -> None:
        """Tell it. Raises AlertFailed."""
        await self._webhook.post(message_of(notice, self._zone))

    async def close(self) -> None:
        """Nothing is kept open."""


def _is_ok(answer: Answer) -> bool:
    """Slack says `ok`; others say it in their own words, but not with a page."""
    return not answer.is_page
