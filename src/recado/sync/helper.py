"""The conversation API for people's own code: functions that never raise for its sake.

Each takes a `service` to use; without one, it opens one from the settings and closes it again. When the API fails they
log "conversation sync error…" and return None or False; while ENABLE_CONVERSATION_SYNC is false they do nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from recado.errors import SyncError, SyncRejected, WrongPrefix
from recado.settings import get_settings
from recado.sync.client import ConversationStateService
from recado.sync.documents import PREVIOUS_MESSAGES, ConversationDocument
from recado.sync.linking import session_of
from recado.sync.mapping import order_id as id_of
from recado.sync.mapping import to_api_state, to_graph_state
from recado.sync.values import as_moment
from recado.sync.vocabulary import to_role
from recado.text import mask_phone

log = structlog.get_logger()

T = TypeVar("T")

_locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()


async def initialize_conversation_for_user(
    user_phone: str,
    sub_domain: str,
    local_id: str | None = None,
    bot_id: str | None = None,
    *,
    service: ConversationStateService | None = None,
) -> str | None:
    """The id of this person's session with this tenant: the one that there is, else a new one.

    None: there is none, and the API does not create any. A session with another tenant is never taken.
    """

    async def work(api: ConversationStateService) -> str | None:
        found = await session_of(api, user_phone, sub_domain, bot_id)
        if found is not None:
            return found
        try:
            return (await api.create_conversation(user_phone, sub_domain, local_id, bot_id)).session_id
        except WrongPrefix:
            # The prefix is right, or the lookup would have failed: this server makes conversations by itself.
            log.warning("no tenant found for phone", phone=mask_phone(user_phone), sub_domain=sub_domain)
            return None

    return await _attempt("initialize", service, work, None)


async def sync_graph_state_to_api(
    session_id: str, sub_domain: str, graph_state: Mapping[str, Any], *, service: ConversationStateService | None = None
) -> bool:
    """Write a graph's state (see `recado.sync.mapping`). Whether the API has it."""

    async def work(api: ConversationStateService) -> bool:
        state = to_api_state(graph_state)
        async with _one_at_a_time(session_id):
            await api.sync_conversation_from_agent(session_id, state.intent, state.step, state.context, state.metadata)
        return True

    return await _attempt("sync", service, work, False)


async def sync_api_state_to_graph(
    session_id: str,
    sub_domain: str,
    graph_state: Mapping[str, Any] | None = None,
    *,
    service: ConversationStateService | None = None,
) -> dict[str, Any] | None:
    """A graph's state with what the API knows. None: it could not be read.

    What the API has replaces what the state has, but for its messages: a graph's own also hold the calls of its tools,
    so the API's are taken only where the state has none. The rest of the state stays.
    """

    async def work(api: ConversationStateService) -> dict[str, Any] | None:
        document = await _own_document(api, session_id, sub_domain)
        own = dict(graph_state or {})
        kept = {"messages": own["messages"]} if own.get("messages") else {}
        return {**own, **to_graph_state(document), **kept}

    return await _attempt("restore", service, work, None)


async def add_message_to_conversation(
    session_id: str, sub_domain: str, role: str, content: str, *, service: ConversationStateService | None = None
) -> bool:
    """Record what the person (`user`) or the agent (`bot`, `assistant`) said. Whether the API has it.

    Some servers answer that they have stored a message, and have not: it is looked for, and if it is missing, it goes
    as part of the state.
    """

    async def work(api: ConversationStateService) -> bool:
        speaker = to_role(role)
        if speaker is None or not content.strip():
            raise SyncRejected("a message needs a text, and user or bot as its role", "message", 0)
        async with _one_at_a_time(session_id):
            answered = await api.add_message_from_agent(session_id, speaker, content)
            await _make_sure(api, session_id, sub_domain, answered, {"role": speaker, "content": content})
        return True

    return await _attempt("add_message", service, work, False)


async def link_order_to_conversation(
    session_id: str, sub_domain: str, order_id: str, *, service: ConversationStateService | None = None
) -> bool:
    """Make an order the conversation's current one, and part of its history. Whether the API has it."""

    async def work(api: ConversationStateService) -> bool:
        async with _one_at_a_time(session_id):
            document = await _own_document(api, session_id, sub_domain)
            history = document.context.get("orderHistory")
            orders = list(history) if isinstance(history, list) else []
            known = order_id in [id_of(order) for order in orders]
            if not known or document.context.get("currentOrderId") != order_id:
                # The list is replaced whole.
                context = {"currentOrderId": order_id, "orderHistory": orders if known else [*orders, order_id]}
                await api.sync_conversation_from_agent(session_id, context=context, is_active=document.is_active)
        return True

    return await _attempt("link_order", service, work, False)


async def _own_document(api: ConversationStateService, session_id: str, sub_domain: str) -> ConversationDocument:
    document = await api.get_conversation(session_id, sub_domain)
    if document.sub_domain not in (None, sub_domain):
        raise SyncRejected("the conversation belongs to another tenant", "tenant", 0)
    return document


async def _make_sure(
    api: ConversationStateService,
    session_id: str,
    sub_domain: str,
    answered: ConversationDocument,
    said: dict[str, Any],
) -> None:
    try:
        stored = await _own_document(api, session_id, sub_domain)
    except WrongPrefix:
        return  # it cannot be read, so its word must do
    shown = answered.messages[-1:]
    # With their moments, as people say the same thing twice.
    last = shown[0] if shown and _same(shown[0], said) else said
    if stored.messages and _same(stored.messages[-1], last):
        return
    said = {"timestamp": as_moment(datetime.now(UTC)), **last}
    messages = [*stored.messages, said][-PREVIOUS_MESSAGES:]
    context: dict[str, Any] = {"previousMessages": messages}
    if said["role"] == "user":
        context["lastUserMessage"] = said["content"]
    await api.sync_conversation_from_agent(session_id, context=context, is_active=stored.is_active)


def _same(message: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(message.get(name) == value for name, value in expected.items())


@asynccontextmanager
async def _one_at_a_time(session_id: str) -> AsyncIterator[None]:
    """Two writes to one session at once lose one of them, and the API does not notice."""
    lock = _locks.setdefault((id(asyncio.get_running_loop()), session_id), asyncio.Lock())
    async with lock:
        yield


async def _attempt(
    operation: str,
    service: ConversationStateService | None,
    work: Callable[[ConversationStateService], Awaitable[T]],
    otherwise: T,
) -> T:
    if not get_settings().enable_conversation_sync:
        _say_disabled()
        return otherwise
    try:
        if service is not None:
            return await work(service)
        async with ConversationStateService.from_settings(get_settings()) as own:
            return await work(own)
    except SyncError as error:
        log.warning(f"conversation sync error: {error}", operation=operation, reason=error.reason)
        return otherwise


@lru_cache
def _say_disabled() -> None:
    """Once per process."""
    log.warning("conversation sync disabled", remedy="set ENABLE_CONVERSATION_SYNC=true")
