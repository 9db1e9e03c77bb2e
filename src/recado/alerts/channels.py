"""From the settings to the channels: which there are, what each is told, and what is wrong with the settings."""

from collections.abc import Iterator, Mapping
from string import Formatter

from recado.alerts.discord import DiscordChannel
from recado.alerts.links import Links
from recado.alerts.logged import LogChannel
from recado.alerts.mail import MailChannel, addresses_of, server_of
from recado.alerts.notice import AlertChannel
from recado.alerts.routing import Wish
from recado.alerts.slack import SlackChannel
from recado.alerts.webhook import address_of
from recado.alerts.wording import find_zone, zone_of
from recado.clock import Clock
from recado.errors import ConfigurationError
from recado.settings import Settings

_ROUTES = {
    "discord": "discord_alerts",
    "slack": "slack_alerts",
    "email": "email_alerts",
    "log": "log_alerts",
}
"""The setting that says what a channel is told."""
_PLACES = {
    "railway_logs_url": ("project_id", "service_id", "environment_id", "start", "end", "at"),
    "webapp_conversation_path": ("id",),
    "trace_url": ("trace_id",),
}
"""The placeholders that an address may have."""


def make_channels(settings: Settings, clock: Clock | None = None) -> dict[str, AlertChannel]:
    """The channels that are configured, by name. The log always is."""
    zone = zone_of(settings.alert_timezone)
    channels: dict[str, AlertChannel] = {"log": LogChannel()}
    if settings.discord_webhook_url:
        channels["discord"] = DiscordChannel(settings.discord_webhook_url, Links(settings), zone, clock)
    if settings.slack_webhook_url:
        channels["slack"] = SlackChannel(settings.slack_webhook_url, zone)
    if settings.smtp_url:
        sender, recipients = settings.alert_email_from, settings.alert_email_to
        channels["email"] = MailChannel(settings.smtp_url, sender, recipients, zone)
    return channels


def discord_of(channels: Mapping[str, AlertChannel]) -> DiscordChannel | None:
    """Discord, for the notifications service: both keep the same pauses. None: it is not configured."""
    found = channels.get("discord")
    return found if isinstance(found, DiscordChannel) else None


def wishes_of(settings: Settings, channels: Mapping[str, AlertChannel]) -> dict[str, Wish]:
    """What each of these channels is told. Raises ConfigurationError."""
    return {name: Wish.of(getattr(settings, _ROUTES[name]), _ROUTES[name].upper()) for name in channels}


def problems_of(settings: Settings) -> list[str]:
    """What is wrong with the settings of alerts; each names its remedy. Empty when fine."""
    return [*_route_problems(settings), *_place_problems(settings), *_mail_problems(settings), *_other(settings)]


def _route_problems(settings: Settings) -> Iterator[str]:
    for field in _ROUTES.values():
        try:
            Wish.of(getattr(settings, field), field.upper())
        except ConfigurationError as error:
            yield str(error)


def _place_problems(settings: Settings) -> Iterator[str]:
    for field in ("discord_webhook_url", "slack_webhook_url", "linear_api_url", "webapp_base_url"):
        value = getattr(settings, field)
        if value and address_of(value) is None:
            yield f"{field.upper()} must be an address that begins with https://; copy it anew"
    for field, allowed in _PLACES.items():
        shown = ", ".join(f"{{{name}}}" for name in allowed)
        try:
            parts = list(Formatter().parse(getattr(settings, field)))
        except ValueError:
            yield f"{field.upper()} has a brace without its other half; its placeholders are {shown}"
            continue
        unknown = [name for _, name, form, kind in parts if name is not None and (name not in allowed or form or kind)]
        if unknown:
            yield f"{field.upper()} has the unknown placeholder {{{unknown[0]}}}; it may have {shown}"
    path = settings.webapp_conversation_path
    if path and not path.startswith("/"):
        yield "WEBAPP_CONVERSATION_PATH must begin with a slash: it follows WEBAPP_BASE_URL"


def _mail_problems(settings: Settings) -> Iterator[str]:
    if settings.smtp_url and server_of(settings.smtp_url) is None:
        yield "SMTP_URL must look like smtp://user:password@host:587 or smtps://…, with special characters as %40"
    if settings.smtp_url and not settings.alert_email_to.strip(" ,"):
        yield "SMTP_URL is set, but nobody is written to; set ALERT_EMAIL_TO to addresses, separated by commas"
    for field in ("alert_email_to", "alert_email_from"):
        try:
            addresses_of(getattr(settings, field))
        except ConfigurationError as error:
            yield f"{field.upper()}: {error}"
    if settings.alert_email_to and not settings.smtp_url:
        yield "ALERT_EMAIL_TO is set, but nothing sends; set SMTP_URL to smtp://user:password@host:587"


def _other(settings: Settings) -> Iterator[str]:
    if find_zone(settings.alert_timezone) is None:
        yield f"ALERT_TIMEZONE {settings.alert_timezone!r} is unknown; give a name such as Europe/Zurich"
    if settings.linear_api_key and not settings.linear_team_id:
        yield "LINEAR_API_KEY is set, but no team; set LINEAR_TEAM_ID to its UUID (Linear: Copy model UUID)"
    if settings.linear_team_id and not settings.linear_api_key:
        yield "LINEAR_TEAM_ID is set, but no key; set LINEAR_API_KEY to one that may create issues"
    for pair in filter(None, (part.strip() for part in settings.railway_environment_ids.split(","))):
        name, found, identifier = pair.partition("=")
        if not (name.strip() and found and identifier.strip()):
            yield f"RAILWAY_ENVIRONMENT_IDS holds {pair!r}; give pairs such as production=<id>,staging=<id>"
