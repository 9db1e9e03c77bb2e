"""`recado doctor`: whether the conversation API can be reached, speaks as it should, and is in step."""

import httpx
from sqlalchemy.exc import SQLAlchemyError

from recado.clock import Clock
from recado.db.engine import Database
from recado.entrypoints.finding import Finding
from recado.errors import SyncError, WrongPrefix
from recado.settings import Settings
from recado.sync.client import ConversationStateService
from recado.sync.repository import backlog, last_error, refused

PART = "conversation sync"
PREFIXES = ("/api/v1/whatsapp", "/api/v1/whatsapp-providers")
"""Those that servers are known to have."""
NOBODY = "+51900000000"
"""A phone number of nobody's: whether the API knows it does not matter."""


async def examine_sync(settings: Settings, database: Database, timeout: float) -> list[Finding]:
    """Call the API, and look at what it has not been told."""
    if not (settings.enable_conversation_sync or settings.use_cartaai_api):
        text = "Conversation sync disabled: set ENABLE_CONVERSATION_SYNC=true to keep the conversation API in step"
        return [Finding(PART, True, text)]
    found = [await _reach(settings, timeout)]
    if settings.enable_conversation_sync:
        found.append(await _in_step(database))
    return found


async def _reach(settings: Settings, timeout: float) -> Finding:
    place = f"{_shown(settings.cartaai_api_base_url)}{settings.conversation_api_prefix}"
    try:
        await _ask(settings, settings.conversation_api_prefix, timeout)
    except WrongPrefix as error:
        for prefix in PREFIXES:
            if prefix != settings.conversation_api_prefix and await _answers(settings, prefix, timeout):
                return Finding(PART, False, f"{place} is the wrong path: set CONVERSATION_API_PREFIX={prefix}")
        return Finding(PART, False, str(error))
    except SyncError as error:
        return Finding(PART, False, f"{place}: {error}")
    return Finding(PART, True, f"{place} answers")


def _shown(url: str) -> str:
    """An address without a user and password."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"")).rstrip("/")
    except httpx.InvalidURL:
        return "CARTAAI_API_BASE_URL"


async def _answers(settings: Settings, prefix: str, timeout: float) -> bool:
    try:
        await _ask(settings, prefix, timeout)
    except SyncError:
        return False
    return True


async def _ask(settings: Settings, prefix: str, timeout: float) -> None:
    async with ConversationStateService(
        settings.cartaai_api_base_url,
        settings.cartaai_api_key,
        prefix=prefix,
        timeout=min(timeout, settings.conversation_api_timeout),
        retries=0,
    ) as service:
        await service.lookup_tenant_by_phone(NOBODY)


async def _in_step(database: Database) -> Finding:
    try:
        async with database.read() as session:
            waiting, since = await backlog(session)
            unwanted, error = await refused(session), await last_error(session)
    except (SQLAlchemyError, OSError) as problem:
        return Finding(PART, False, f"the outbox cannot be read: {type(problem).__name__}")
    if unwanted:
        return Finding(PART, False, f"the API refused {unwanted} entries: see `error` in the table sync_entries")
    if not waiting or since is None:
        return Finding(PART, True, "in step")
    age = (Clock().now() - since).total_seconds()
    return Finding(PART, True, f"{waiting} entries wait, the oldest for {age:.0f} s{f': {error}' if error else ''}")
