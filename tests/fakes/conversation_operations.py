"""The conversation API's operations, without HTTP; see `conversation_api`."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tests.fakes import conversation_documents as rules
from tests.fakes.conversation_documents import BOTS, Behaviour, Refused, new_document, shown
from tests.fakes.conversation_store import Store
from tests.fakes.recorder import JsonObject

LEGACY = "/api/v1/conversations"
_AGENT = [
    ("lookup_tenant", "GET", "/lookup/tenant/{phone}"),
    ("lookup_conversation", "GET", "/lookup/conversation/{phone}"),
    ("sync", "PUT", "/agent/conversations/{session}/sync"),
    ("message", "POST", "/agent/conversations/{session}/messages"),
]
_GUIDE = [
    ("legacy_create", "POST", LEGACY),
    ("legacy_get", "GET", f"{LEGACY}/{{session}}"),
    ("legacy_intent", "PATCH", f"{LEGACY}/{{session}}/intent"),
    ("legacy_context", "PATCH", f"{LEGACY}/{{session}}/context"),
    ("legacy_message", "POST", f"{LEGACY}/{{session}}/messages"),
]
_OBSERVED = [
    ("get", "GET", "/conversations/{session}"),
    ("intent", "PUT", "/conversations/{session}/intent"),
    ("order", "POST", "/conversations/{session}/orders"),
    ("end", "DELETE", "/conversations/{session}"),
]
OPERATIONS = frozenset(operation for operation, _, _ in [*_AGENT, *_GUIDE, *_OBSERVED])
_NOT_FOUND = "Conversation not found"


def endpoints(behaviour: Behaviour, prefix: str) -> list[tuple[str, str, str]]:
    """(operation, method, path) of each endpoint that exists."""
    agent = [(operation, method, f"{prefix}{path}") for operation, method, path in _AGENT]
    if behaviour == "guide":
        return [*agent, *_GUIDE]
    return [*agent, *[(operation, method, f"{prefix}{path}") for operation, method, path in _OBSERVED]]


class Answer(NamedTuple):
    """What goes into the envelope of a success."""

    message: str
    data: Any
    status: int = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the parameters of its path and query, and its JSON body."""

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: JsonObject = field(default_factory=dict)

    @property
    def session(self) -> str:
        return self.path["session"]


class Operations:
    """Each raises Refused for an error in the envelope.

    Every change reads the document, waits for `write_delay` seconds and writes it back whole. The guide's server does
    that for one request of a session at a time. The observed one does not, and loses what came in between; while more
    requests of the session pile up it takes longer (20 times at most), as a database does.
    """

    def __init__(self, store: Store, behaviour: Behaviour, now: Callable[[], datetime], write_delay: float) -> None:
        self._store = store
        self._behaviour = behaviour
        self._now = now
        self._write_delay = write_delay
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reads: Counter[str] = Counter()

    async def run(self, operation: str, call: Call) -> Answer:
        answer: Answer = await getattr(self, f"_{operation}")(call)
        return answer

    async def _lookup_tenant(self, call: Call) -> Answer:
        document = self._by_phone(call.path["phone"])
        data = {key: document[key] for key in ("subDomain", "botId", "sessionId", "isActive")}
        return Answer("Tenant information retrieved successfully", data)

    async def _lookup_conversation(self, call: Call) -> Answer:
        document = self._by_phone(call.path["phone"], call.query.get("botId"))
        return Answer("Conversation retrieved successfully", shown(document, self._behaviour))

    async def _get(self, call: Call) -> Answer:
        return Answer("Conversation retrieved successfully", shown(self._stored(call), self._behaviour))

    async def _sync(self, call: Call) -> Answer:
        def change(document: JsonObject) -> None:
            rules.apply_state(document, call.body, self._now(), self._behaviour)

        document = shown(await self._change(call, "sync", change), self._behaviour)
        keys = ("sessionId", "currentIntent", "currentStep", "context", "isActive", "lastActivity")
        data = {key: document[key] for key in keys if key in document}
        return Answer("Conversation synced successfully from agent", data)

    async def _message(self, call: Call) -> Answer:
        if self._behaviour == "observed":
            return await self._message_mostly_lost(call)

        def change(document: JsonObject) -> None:
            rules.add_message(document, call.body, self._now())

        return _message_added(await self._change(call, "message", change))

    async def _message_mostly_lost(self, call: Call) -> Answer:
        """The server notices a change of `context` only where there was none yet: the first message alone is stored."""
        answered: JsonObject = {}

        def change(document: JsonObject) -> None:
            before = document["context"]
            document["context"] = dict(before)
            rules.add_message(document, call.body, self._now())
            answered.update(document)
            document["context"] = before or document["context"]

        await self._change(call, "message", change)
        return _message_added(answered)

    async def _intent(self, call: Call) -> Answer:
        def change(document: JsonObject) -> None:
            rules.apply_intent(document, call.body, self._now(), self._behaviour)

        document = await self._change(call, "intent", change)
        return Answer("Conversation intent updated successfully", shown(document, self._behaviour))

    async def _order(self, call: Call) -> Answer:
        self._stored(call)
        order = rules.new_order(call.session, call.body, self._now())
        self._store.note(call.session, "order", order)
        return Answer("Order created successfully", order)

    async def _end(self, call: Call) -> Answer:
        def change(document: JsonObject) -> None:
            document["isActive"] = False

        if self._store.get(call.session) is not None:
            await self._change(call, "end", change)
        return Answer("Conversation ended successfully", None)

    async def _legacy_create(self, call: Call) -> Answer:
        body = call.body
        if not body.get("userPhone") or not body.get("subDomain"):
            raise Refused(400, "userPhone and subDomain are required")
        for document in self._alive(body["userPhone"]):
            same_bot = body.get("botId") in (None, document["botId"])
            if document["isActive"] and document["subDomain"] == body["subDomain"] and same_bot:
                return Answer("Conversation already exists", shown(document, self._behaviour))
        bot_id = body.get("botId") or BOTS[self._behaviour]
        document = new_document(
            body["userPhone"], body["subDomain"], self._now(), bot_id=bot_id, local_id=body.get("localId")
        )
        self._store.add(document)
        return Answer("Conversation created successfully", shown(document, self._behaviour), 201)

    async def _legacy_get(self, call: Call) -> Answer:
        return await self._get(call)

    async def _legacy_intent(self, call: Call) -> Answer:
        return await self._intent(call)

    async def _legacy_context(self, call: Call) -> Answer:
        def change(document: JsonObject) -> None:
            rules.apply_context(document, call.body, self._now())

        document = await self._change(call, "context", change)
        return Answer("Conversation context updated successfully", shown(document, self._behaviour))

    async def _legacy_message(self, call: Call) -> Answer:
        return await self._message(call)

    def _by_phone(self, phone: str, bot_id: str | None = None) -> JsonObject:
        """Exact match of the phone; the latest activity wins. An expired one is unknown."""
        if bot_id and self._behaviour == "observed":
            rules.check_bot_id(bot_id)
        for document in self._alive(phone):
            wanted = not bot_id or document["botId"] == bot_id
            if wanted and (document["isActive"] or self._behaviour == "observed"):
                return document
        raise Refused(404, "No active conversation found for this phone number")

    def _alive(self, phone: str) -> list[JsonObject]:
        now = self._now()
        return [document for document in self._store.of_phone(phone) if not rules.expired(document, now)]

    def _stored(self, call: Call) -> JsonObject:
        """The document, expired or not. The legacy routes may name its merchant, which must be the right one."""
        document = self._store.get(call.session)
        sub_domain = call.query.get("subDomain") or call.body.get("subDomain")
        another = self._behaviour == "guide" and document and sub_domain not in (None, document["subDomain"])
        if document is None or another:
            raise Refused(404, _NOT_FOUND)
        return document

    async def _change(self, call: Call, kind: str, change: Callable[[JsonObject], None]) -> JsonObject:
        if self._behaviour == "observed":
            return await self._changed(call, kind, change)
        async with self._locks[call.session]:
            return await self._changed(call, kind, change)

    async def _changed(self, call: Call, kind: str, change: Callable[[JsonObject], None]) -> JsonObject:
        document = self._stored(call)
        change(document)
        await self._delay(call.session)
        if not self._store.replace(document):
            raise Refused(404, _NOT_FOUND)
        self._store.note(call.session, kind, call.body)
        return document

    async def _delay(self, session_id: str) -> None:
        self._reads[session_id] += 1
        for _ in range(20):
            reads = self._reads[session_id]
            await asyncio.sleep(self._write_delay)
            if reads == self._reads[session_id]:
                break


def _message_added(document: JsonObject) -> Answer:
    return Answer("Message added successfully", {"sessionId": document["sessionId"], "context": document["context"]})
