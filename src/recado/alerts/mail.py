"""Alerts by e-mail: plain text, through one SMTP server."""

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import aiosmtplib
import structlog

from recado.alerts.fitting import one_line, plain
from recado.alerts.notice import Notice
from recado.alerts.wording import EMOJI, facts_of, links_of, local_time, people_of, title_of
from recado.errors import AlertFailed, ConfigurationError
from recado.text import shorten

log = structlog.get_logger(__name__)

SECONDS = 20.0
"""For the whole exchange."""
LONGEST_SUBJECT = 150
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
"""As browsers have it: https://html.spec.whatwg.org/#valid-e-mail-address"""


LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP server. `tls`: from the first byte; else STARTTLS is used when the server offers it, and a server that is
    told a password must, unless it is on this machine."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def start_tls(self) -> bool | None:
        """As aiosmtplib has it: True demands it, None takes it where it is offered."""
        return True if self.password and not self.tls and self.host not in LOCAL else None


def server_of(url: str) -> Server | None:
    """`smtp://user:password@host:587` or `smtps://…`, percent-encoded where needed. None: it is no such address."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path.strip("/") or parts.query:
        return None
    tls = parts.scheme == "smtps"
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return Server(host, port or (465 if tls else 587), tls, user, password)


def addresses_of(setting: str) -> list[str]:
    """The addresses in a setting, separated by commas. Raises ConfigurationError."""
    found = [part for part in (part.strip() for part in setting.split(",")) if part]
    for part in found:
        if not _ADDRESS.fullmatch(part):
            raise ConfigurationError(f"{part!r} is no e-mail address; give addresses like ops@example.com, with commas")
    return found


def message_of(notice: Notice, sender: str, recipients: list[str], zone: ZoneInfo) -> EmailMessage:
    """The message. Its id is the same whenever the same notice is sent again; later ones follow the first."""
    message = EmailMessage()
    store = f" ({notice.store_name})" if notice.store_name else ""
    title = one_line(title_of(notice) + store)
    message["Subject"] = shorten(f"{EMOJI[notice.severity]} {title}", LONGEST_SUBJECT)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(notice.last_at)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    first = _message_id(sender, notice.condition, notice.description, notice.store_name, notice.at.isoformat())
    if notice.kind == "first":
        message["Message-ID"] = first
    else:
        message["Message-ID"] = _message_id(sender, first, notice.kind, notice.count)
        message["In-Reply-To"] = message["References"] = first
    message.set_content(_text(notice, zone), charset="utf-8")
    return message


def _text(notice: Notice, zone: ZoneInfo) -> str:
    known = {"When": local_time(notice.at, zone), **people_of(notice), **facts_of(notice, zone)}
    lines = [f"{name}: {one_line(value)}" for name, value in known.items() if one_line(value)]
    links = [f"{one_line(what)}: {address.strip()}" for what, address in links_of(notice) if address.isprintable()]
    blocks = (one_line(title_of(notice)), plain(notice.description), "\n".join(lines), "\n".join(links))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _message_id(sender: str, *parts: object) -> str:
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:32]
    return f"<{digest}@{sender.rpartition('@')[2]}>"


class MailChannel:
    """Tells people by e-mail. `url`, `sender` and `recipients` are settings as they are written."""

    name = "email"

    def __init__(self, url: str, sender: str, recipients: str, zone: ZoneInfo, seconds: float = SECONDS) -> None:
        self._server = server_of(url)
        self._sender = sender
        self._recipients = recipients
        self._zone = zone
        self._seconds = seconds

    async def send(self, notice: Notice) -> None:
        """Tell them. Raises AlertFailed when none of them could be told."""
        if self._server is None:
            raise AlertFailed("SMTP_URL is no address such as smtp://user:password@host:587", permanent=True)
        try:
            recipients = addresses_of(self._recipients)
            sender = addresses_of(self._sender or self._server.user or "")[:1] or recipients[:1]
        except ConfigurationError as error:
            raise AlertFailed(f"ALERT_EMAIL_TO or ALERT_EMAIL_FROM: {error}", permanent=True) from None
        if not recipients:
            raise AlertFailed("ALERT_EMAIL_TO is empty", permanent=True)
        await self._send(self._server, message_of(notice, sender[0], recipients, self._zone))

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _send(self, server: Server, message: EmailMessage) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                refused, _ = await aiosmtplib.send(
                    message,
                    hostname=server.host,
                    port=server.port,
                    username=server.user,
                    password=server.password,
                    use_tls=server.tls,
                    start_tls=server.start_tls,
                    timeout=self._seconds,
                )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _failure(error) from None
        if refused:
            log.warning(
                "an alert's e-mail was refused for some",
                refused=len(refused),
                codes=sorted({answer[0] for answer in refused.values()}),
            )


def _failure(error: Exception) -> AlertFailed:
    """What it means. Not what the server said: that may repeat addresses, or what it was given to log in."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = sorted({refused.code for refused in error.recipients})
        text = f"the mail server refuses every address in ALERT_EMAIL_TO (SMTP {', '.join(map(str, codes))})"
        return AlertFailed(text, permanent=min(codes, default=500) >= 500)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        text = f"the mail server refuses the login (SMTP {error.code}): check user and password in SMTP_URL"
        return AlertFailed(text, permanent=error.code >= 500)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        text = f"the mail server refuses the message (SMTP {error.code}): check ALERT_EMAIL_FROM, and its own rules"
        return AlertFailed(text, permanent=error.code >= 500)
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return AlertFailed("the mail server knows no login: take user and password out of SMTP_URL", permanent=True)
    return AlertFailed(f"the mail server in SMTP_URL cannot be reached: {type(error).__name__}")
