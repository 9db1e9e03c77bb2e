"""What the commands share: settings, a database that is up to date, and errors as one line instead of a traceback."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from recado.db.engine import Database
from recado.db.migrate import pending_revision
from recado.entrypoints.logs import configure_logs
from recado.errors import ConfigurationError
from recado.settings import Settings, get_settings

log = structlog.get_logger(__name__)


def read_settings() -> Settings:
    """The settings; the log is set up by them. Ends the command where they are wrong."""
    try:
        settings = get_settings()
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, found['loc'])).upper()}: {found['msg']}" for found in error.errors()]
        raise stop("the settings are wrong:\n" + "\n".join(problems)) from None
    configure_logs(settings)
    return settings


def stop(message: str) -> typer.Exit:
    """Say why, and what to raise to end the command."""
    typer.echo(message, err=True)
    return typer.Exit(1)


def announce(settings: Settings, message: str) -> None:
    """Say how a process begins: to a person, or in production to whatever reads its log."""
    if settings.production:
        log.info(message)
    else:
        typer.echo(message, err=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Do the work of a command. What is wrong with the configuration ends it, with the remedy."""
    try:
        asyncio.run(work)
    except ConfigurationError as error:
        raise stop(str(error)) from None
    except (SQLAlchemyError, OSError) as error:
        raise stop(
            f"the database or queue cannot be used: {error}\n"
            "check DATABASE_URL, QUEUE_URL and CHECKPOINT_URL; `recado doctor` tells more"
        ) from None


async def check_schema(database: Database) -> None:
    """Raises ConfigurationError where the schema is behind."""
    if await pending_revision(database):
        raise ConfigurationError("the database schema is behind: run `recado migrate`")


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of a command. Raises ConfigurationError where its schema is behind."""
    database = Database(settings.database_url)
    try:
        await check_schema(database)
        yield database
    finally:
        await database.close()
