"""The log: readable in development, JSON in production."""

import logging
import re
import sys

import structlog
from structlog.typing import EventDict

from recado.settings import Settings
from recado.text import mask_phone

_PHONE = re.compile(r"\+\d{7,15}")


def mask_phones(_logger: object, _method: str, entry: EventDict) -> EventDict:
    """Phone numbers in any text of a log entry, a provider's error message for instance, lose their middle."""
    return {
        name: _PHONE.sub(lambda found: mask_phone(found[0]), value) if isinstance(value, str) else value
        for name, value in entry.items()
    }


def configure_logs(settings: Settings) -> None:
    """Set up structlog, and have the libraries' loggers follow the level."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.production
        else structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            mask_phones,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    # They log the bodies of requests, or a line for every job: neither belongs into a log of people's messages.
    for name in ("alembic", "httpx", "httpx2", "openai", "twilio", "aiosqlite", "aiohttp"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # It warns at every stop that its idle loops were cancelled; failed jobs are errors.
    logging.getLogger("saq").setLevel(logging.ERROR)
