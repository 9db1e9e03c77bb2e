"""The client of the conversation API: whose customer writes, and where they stand."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from recado.errors import ConversationGone, SyncRejected, SyncUnavailable, WrongPrefix
from recado.settings import Settings, get_settings
from recado.sync.circuit import Circuit
from recado.sync.connection import Call, Connection
from recado.sync.documents import ConversationDocument, TenantInfo
from recado.sync.fitting import normal_phone, smaller_and_smaller, without_refused
from recado.sync.retrying import Rule, again, if_passing, if_unsent
from recado.sync.values import present
from recado.sync.vocabulary import to_intent

LONGEST_ID = 500
_FIXED = "/api/v1/conversations"


class ConversationStateService:
    """One connection pool to the conversation API; open it once and keep it.

    What is not given comes from the settings. `timeout`, in seconds, is for one request; `retries` is how often a
    call is repeated that failed for a passing reason. Raises only SyncUnavailable (WrongPrefix), SyncRejected and
    ConversationGone.
    """

    def __init__(
        self,
        api_base_url: str | None = None,
        api_key: str | None = None,
        *,
        prefix: str | None = None,
        timeout: float | None = None,
        retries: int = 2,
        circuit: Circuit | None = None,
    ) -> None:
        settings = get_settings()
        self._connection = Connection(
            settings.cartaai_api_base_url if api_base_url is None else api_base_url,
            settings.cartaai_api_key if api_key is None else api_key,
            settings.conversation_api_timeout if timeout is None else timeout,
            circuit,
        )
        self._prefix = _as_path(settings.conversation_api_prefix if prefix is None else prefix)
        self._retries = retries
        self._by_id = f"{self._prefix}/conversations", _FIXED

    @classmethod
    def from_settings(cls, settings: Settings, *, retries: int = 2, circuit: Circuit | None = None) -> Self:
        """The API that the settings name."""
        return cls(
            settings.cartaai_api_base_url,
            settings.cartaai_api_key,
            prefix=settings.conversation_api_prefix,
            timeout=settings.conversation_api_timeout,
            retries=retries,
            circuit=circuit,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.host!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def lookup_tenant_by_phone(self, phone: str) -> TenantInfo | None:
        """The tenant and the session of a phone number. None: it has no session that is alive."""
        data = await self._lookup("lookup_tenant", "tenant", phone, {})
        return TenantInfo.model_validate(data) if data else None

    async def get_conversation_by_phone(self, phone: str, bot_id: str | None = None) -> ConversationDocument | None:
        """The conversation of a phone number, with this bot where one is given.

        Where the server does not take the id of the bot, a MongoDB ObjectId on some, it is the latest with any.
        """
        try:
            data = await self._lookup("lookup_conversation", "conversation", phone, {"botId": bot_id})
        except SyncRejected as error:
            if not bot_id or error.reason != "validation":
                raise
            data = await self._lookup("lookup_conversation", "conversation", phone, {})
        return ConversationDocument.model_validate(data) if data else None

    async def sync_conversation_from_agent(
        self,
        session_id: str,
        intent: str | None = None,
        step: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        is_active: bool = True,
    ) -> ConversationDocument:
        """Write the state. Keys of `context` and `metadata` that are given replace the API's, each whole; others stay.

        An intent that the API does not know goes as the one that it means, or not at all.
        """
        known = {"intent": to_intent(intent), "step": step, "metadata": metadata, "isActive": is_active}
        path = f"{self._prefix}/agent/conversations"
        return await self._with_context("sync", "PUT", path, session_id, "/sync", known, context)

    async def add_message_from_agent(self, session_id: str, role: str, content: str) -> ConversationDocument:
        """Record what `user` or `bot` said. An API that does not store it answers as if it did."""
        path = f"{self._prefix}/agent/conversations"
        return await self._add_message("add_message", path, session_id, {"role": role, "content": content})

    async def create_conversation(
        self, user_phone: str, sub_domain: str, local_id: str | None = None, bot_id: str | None = None
    ) -> ConversationDocument:
        """A new conversation. Raises SyncRejected where the phone number is none."""
        phone = normal_phone(user_phone, "create_conversation")
        if phone is None:
            raise SyncRejected("a conversation needs a phone number in E.164 form, such as +51999999999", "phone", 0)
        body = present({"userPhone": phone, "subDomain": sub_domain, "localId": local_id, "botId": bot_id})
        call = Call("create_conversation", "POST", _FIXED, _FIXED, body=body, idempotent=False, trying=True)
        return _document(await self._repeated(call, if_unsent))

    async def get_conversation(self, session_id: str, sub_domain: str | None = None) -> ConversationDocument:
        """The conversation with this id, also when it has ended or expired."""
        return await again(lambda: self._find(session_id, sub_domain), self._retries, if_passing)

    async def update_intent(
        self, session_id: str, intent: str | None, step: str | None, sub_domain: str | None = None
    ) -> ConversationDocument:
        """Write intent and step alone."""
        body = present({"intent": to_intent(intent), "step": step, "subDomain": sub_domain})
        call = _call("update_intent", "PATCH", _FIXED, session_id, "/intent", body=body, trying=True)
        return _document(await self._repeated(call))

    async def update_context(
        self, session_id: str, context: Mapping[str, Any], sub_domain: str | None = None
    ) -> ConversationDocument:
        """Write the context alone."""
        known = {"subDomain": sub_domain}
        return await self._with_context("update_context", "PATCH", _FIXED, session_id, "/context", known, context)

    async def add_message(self, session_id: str, sub_domain: str, role: str, content: str) -> ConversationDocument:
        """Record what `user` or `bot` said, by the older route."""
        body = {"role": role, "content": content, "subDomain": sub_domain}
        return await self._add_message("add_message_to_tenant", _FIXED, session_id, body)

    async def create_order(self, session_id: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """A new order, of items with productId, quantity, unitPrice and totalPrice. Doing it twice makes two."""
        path = f"{self._prefix}/conversations"
        call = _call("create_order", "POST", path, session_id, "/orders", body=order, idempotent=False, trying=True)
        data = await self._repeated(call, if_unsent)
        return data if isinstance(data, dict) else {}

    async def end_conversation(self, session_id: str) -> None:
        """End it."""
        path = f"{self._prefix}/conversations"
        await self._repeated(_call("end_conversation", "DELETE", path, session_id, trying=True))

    async def _find(self, session_id: str, sub_domain: str | None) -> ConversationDocument:
        """Servers have one of two routes for it."""
        likely, other = self._by_id
        try:
            return await self._get(likely, session_id, sub_domain)
        except WrongPrefix as missing:
            try:
                found = await self._get(other, session_id, sub_domain)
            except WrongPrefix:
                raise missing from None
            self._by_id = other, likely
            return found

    async def _get(self, path: str, session_id: str, sub_domain: str | None) -> ConversationDocument:
        call = _call("get_conversation", "GET", path, session_id, query={"subDomain": sub_domain}, trying=True)
        return _document(await self._connection.send(call))

    async def _lookup(self, operation: str, what: str, phone: str, query: Mapping[str, str | None]) -> Any:
        number = normal_phone(phone, operation)
        if number is None:
            return None
        path = f"{self._prefix}/lookup/{what}"
        call = Call(operation, "GET", f"{path}/{quote(number, safe='')}", f"{path}/:phone", _query(query))
        try:
            data = await self._repeated(call)
        except ConversationGone:
            return None
        return data if isinstance(data, dict) else None

    async def _with_context(
        self,
        operation: str,
        method: str,
        path: str,
        session_id: str,
        end: str,
        known: Mapping[str, Any],
        context: Mapping[str, Any] | None,
    ) -> ConversationDocument:
        sizes = smaller_and_smaller(context)
        fitting = next(sizes)
        while True:
            body = present({**known, "context": fitting})
            call = _call(operation, method, path, session_id, end, body=body, trying=path is _FIXED)
            try:
                return _document(await self._repeated(call))
            except SyncRejected as error:
                smaller = next(sizes, None) if error.status == 413 else without_refused(fitting, error)
                if smaller is None:
                    raise
                fitting = smaller

    async def _add_message(
        self, operation: str, path: str, session_id: str, body: Mapping[str, Any]
    ) -> ConversationDocument:
        tried = path is _FIXED
        call = _call(operation, "POST", path, session_id, "/messages", body=body, idempotent=False, trying=tried)
        unclear: SyncUnavailable | None = None

        async def once() -> ConversationDocument:
            nonlocal unclear
            if unclear is not None:
                there = await self._there(session_id, unclear)
                if _is_last(there, body):
                    return there
            try:
                return _document(await self._connection.send(call))
            except SyncUnavailable as error:
                unclear = error if error.ambiguous else unclear
                raise

        return await again(once, self._retries, if_passing)

    async def _there(self, session_id: str, unclear: SyncUnavailable) -> ConversationDocument:
        try:
            return await self._find(session_id, None)
        except WrongPrefix:
            raise unclear from None  # it cannot be read, so nobody can tell

    async def _repeated(self, call: Call, rule: Rule = if_passing) -> Any:
        return await again(lambda: self._connection.send(call), self._retries, rule)


def _as_path(prefix: str) -> str:
    stripped = prefix.strip().strip("/")
    return f"/{stripped}" if stripped else ""


def _query(fields: Mapping[str, str | None]) -> str:
    return urlencode({name: value for name, value in fields.items() if value})


def _call(
    operation: str,
    method: str,
    path: str,
    session_id: str,
    end: str = "",
    *,
    query: Mapping[str, str | None] | None = None,
    body: Mapping[str, Any] | None = None,
    idempotent: bool = True,
    trying: bool = False,
) -> Call:
    if not session_id.strip(".") or len(session_id) > LONGEST_ID:
        raise ConversationGone("no conversation has such an id", "gone")
    whole = f"{path}/{quote(session_id, safe='')}{end}"
    return Call(operation, method, whole, f"{path}/:sessionId{end}", _query(query or {}), body, idempotent, trying)


def _document(data: Any) -> ConversationDocument:
    return ConversationDocument.model_validate(data if isinstance(data, dict) else {})


def _is_last(document: ConversationDocument, body: Mapping[str, Any]) -> bool:
    messages = document.messages
    return bool(messages) and all(messages[-1][name] == body[name] for name in ("role", "content"))
