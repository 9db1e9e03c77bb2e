"""The log: readable in development; in production one JSON object a line, whoever wrote it."""

import logging
import sys
import threading
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from recado.settings import Settings
from recado.telemetry.masking import Masking

QUIET = (
    "alembic",
    "httpx",
    "httpx2",
    "openai",
    "twilio",
    "aiosqlite",
    "aiohttp",
    "uvicorn",
    "opentelemetry",
    "langfuse",
)
"""Libraries that log the bodies of requests, or a line for every call: neither belongs into a log of people's
messages."""
SECRET_SETTINGS = ("_key", "_secret", "_token", "_password", "_webhook_url")
"""How the names of settings end whose values are secret."""


class NamedLogger(structlog.PrintLogger):
    """Prints to whatever is standard output at the time, and knows whose it is."""

    def __init__(self, name: str = "recado") -> None:
        super().__init__()
        self.name = name


class StandardOutput(logging.StreamHandler[TextIO]):
    """The same for the libraries' loggers."""

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, _value: TextIO) -> None: ...


def configure_logs(settings: Settings) -> None:
    """Set up structlog, and send what libraries log the same way."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    masking = Masking(secrets_of(settings), masked=settings.log_masked)
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        masking,
        # After the masking: a time is no phone number.
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    renderer = _renderer(settings)
    structlog.configure(
        processors=[*steps, _add_name, renderer],
        logger_factory=NamedLogger,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = StandardOutput()
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=[], processors=[_take_record, *steps, renderer], use_get_message=True)
    )
    # What libraries say at DEBUG has requests in full.
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # It warns at every stop that its idle loops were cancelled; failed jobs are errors.
    logging.getLogger("saq").setLevel(logging.ERROR)
    if settings.production:
        _log_what_ends_a_thread()


def secrets_of(settings: Settings) -> list[str]:
    """All values of the settings that must not be seen: keys, tokens, webhooks, and the passwords in addresses."""
    found = []
    for name, value in settings:
        if not isinstance(value, str) or not value:
            continue
        if name.endswith(SECRET_SETTINGS):
            found.append(value)
        if name.endswith("_webhook_url"):
            found.append(urlsplit(value).path.rpartition("/")[2])
        if "://" in value and (password := urlsplit(value).password):
            found += [password, unquote(password)]
    return found


def _renderer(settings: Settings) -> Processor:
    if settings.production:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


def _add_name(logger: Any, _method: str, entry: EventDict) -> EventDict:
    entry["logger"] = logger.name
    return entry


def _take_record(_logger: object, _method: str, entry: EventDict) -> EventDict:
    """What a library logged, as structlog's own entries are."""
    record = entry.pop("_record")
    del entry["_from_structlog"]
    return {**entry, "logger": record.name}


def _log_what_ends_a_thread() -> None:
    """An exception that nobody catches is a line as well, not a traceback over many."""
    log = structlog.get_logger("recado")

    def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            log.critical("the process ends with an error", exc_info=(kind, error, traceback))

    def thread_hook(given: threading.ExceptHookArgs) -> None:
        if given.exc_value is not None:
            log.critical("a thread ends with an error", exc_info=(given.exc_type, given.exc_value, given.exc_traceback))

    sys.excepthook = hook
    threading.excepthook = thread_hook
