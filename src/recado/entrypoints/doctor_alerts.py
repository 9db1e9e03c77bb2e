"""`recado doctor`: whether the team hears of what goes wrong."""

import httpx
from sqlalchemy.exc import SQLAlchemyError

from recado.alerts.channels import make_channels, problems_of, wishes_of
from recado.alerts.repository import AlertRepository
from recado.db.engine import Database
from recado.entrypoints.finding import Finding
from recado.settings import Settings

PART = "alerts"


async def examine_alerts(settings: Settings, database: Database, timeout: float) -> list[Finding]:
    """The channels, by what they are set to hear; Discord is asked whether it knows the webhook, and posts nothing."""
    if problems := problems_of(settings):
        return [Finding(PART, False, problem) for problem in problems]
    channels = make_channels(settings)
    heard = [f"{name} hears of {wish}" for name, wish in wishes_of(settings, channels).items()]
    for channel in channels.values():
        await channel.close()
    findings = [Finding(PART, True, "; ".join(heard))]
    if len(channels) == 1:
        only = "only the log hears of errors: set DISCORD_WEBHOOK_URL, SLACK_WEBHOOK_URL or SMTP_URL"
        findings = [Finding(PART, True, only, warning=settings.production)]
    if settings.discord_webhook_url:
        findings.append(await _discord(settings.discord_webhook_url, timeout))
    return [*findings, *await _unsent(database)]


async def _discord(url: str, timeout: float) -> Finding:
    # Discord's documented "Get Webhook with Token": reading it needs nothing but the address.
    try:
        async with httpx.AsyncClient(timeout=timeout) as client:
            answer = await client.get(url)
    except httpx.HTTPError as error:
        return Finding(PART, False, f"Discord does not answer: {type(error).__name__}")
    if answer.is_success:
        return Finding(PART, True, "Discord knows the webhook")
    remedy = "make a new one (channel settings, Integrations) and set DISCORD_WEBHOOK_URL"
    return Finding(PART, False, f"Discord answers HTTP {answer.status_code} for the webhook: {remedy}")


async def _unsent(database: Database) -> list[Finding]:
    try:
        async with database.read() as session:
            count, error = await AlertRepository(session).refused()
    except (SQLAlchemyError, OSError):
        return []  # the database's own finding says so
    return [Finding(PART, False, f"{count} wait to be told again: {error}")] if count else []
