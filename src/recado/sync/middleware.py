"""The conversation API around people's own handlers: a context manager and two decorators.

Nothing here raises for the API's sake; see `recado.sync.helper`.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from recado.settings import get_settings
from recado.sync import helper
from recado.sync.client import ConversationStateService

P = ParamSpec("P")
R = TypeVar("R")

_TEXTS = ("message", "message_text", "text")
"""What a handler may call the text that came in."""


class ConversationMiddleware:
    """A person's session with a tenant, within `async with`. `session_id`: None where there is none; then its methods
    do nothing and return False or None.
    """

    def __init__(
        self,
        user_phone: str,
        sub_domain: str,
        local_id: str | None = None,
        bot_id: str | None = None,
        *,
        service: ConversationStateService | None = None,
    ) -> None:
        self.session_id: str | None = None
        self._user_phone = user_phone
        self._sub_domain = sub_domain
        self._local_id = local_id
        self._bot_id = bot_id
        self._service = service
        self._own: ConversationStateService | None = None

    async def __aenter__(self) -> Self:
        if self._service is None:
            self._service = self._own = ConversationStateService.from_settings(get_settings())
        self.session_id = await helper.initialize_conversation_for_user(
            self._user_phone, self._sub_domain, self._local_id, self._bot_id, service=self._service
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            await self._own.aclose()
            self._service = self._own = None

    async def add_user_message(self, content: str) -> bool:
        """Record what the person said."""
        return await self._add("user", content)

    async def add_bot_message(self, content: str) -> bool:
        """Record what the agent said."""
        return await self._add("bot", content)

    async def sync_state(self, graph_state: Mapping[str, Any]) -> bool:
        """Write the graph's state."""
        return self.session_id is not None and await helper.sync_graph_state_to_api(
            self.session_id, self._sub_domain, graph_state, service=self._service
        )

    async def restore_state(self, graph_state: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The graph's state with what the API knows."""
        if self.session_id is None:
            return None
        return await helper.sync_api_state_to_graph(
            self.session_id, self._sub_domain, graph_state, service=self._service
        )

    async def link_order(self, order_id: str) -> bool:
        """Make an order the conversation's."""
        return self.session_id is not None and await helper.link_order_to_conversation(
            self.session_id, self._sub_domain, order_id, service=self._service
        )

    async def _add(self, role: str, content: str) -> bool:
        return self.session_id is not None and await helper.add_message_to_conversation(
            self.session_id, self._sub_domain, role, content, service=self._service
        )


def auto_sync_state(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Sync the dict that an async handler with arguments `session_id` and `sub_domain` returns."""
    signature = inspect.signature(handler)

    @wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        result = await handler(*args, **kwargs)
        session = _session(_arguments(signature, *args, **kwargs))
        if session is not None and isinstance(result, Mapping):
            await helper.sync_graph_state_to_api(*session, result)
        return result

    return wrapped


def track_messages(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Record what comes in (`message`, `message_text` or `text`) before an async handler with arguments `session_id`
    and `sub_domain`, and after it its reply: the text that it returns, or the `response` of its dict.
    """
    signature = inspect.signature(handler)

    @wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        arguments = _arguments(signature, *args, **kwargs)
        session = _session(arguments)
        if session is None:
            return await handler(*args, **kwargs)
        await _record(session, "user", next((arguments[name] for name in _TEXTS if name in arguments), None))
        result = await handler(*args, **kwargs)
        await _record(session, "bot", result.get("response") if isinstance(result, Mapping) else result)
        return result

    return wrapped


async def _record(session: tuple[str, str], role: str, content: Any) -> None:
    if isinstance(content, str) and content.strip():
        await helper.add_message_to_conversation(*session, role, content)


def _arguments(signature: inspect.Signature, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by their names; none where the call does not fit, which Python will say itself."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    return {**kwargs, **bound.arguments}


def _session(arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    session_id, sub_domain = arguments.get("session_id"), arguments.get("sub_domain")
    if isinstance(session_id, str) and session_id and isinstance(sub_domain, str) and sub_domain:
        return session_id, sub_domain
    return None
