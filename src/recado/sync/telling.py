"""Telling the conversation API what one conversation has to say."""

import time
from datetime import timedelta
from typing import Any

import structlog

from recado.clock import Clock
from recado.db.models import Message, SyncEntry
from recado.errors import ConversationGone, SyncRejected, SyncUnavailable
from recado.sync.client import ConversationStateService
from recado.sync.documents import PREVIOUS_MESSAGES
from recado.sync.linking import Linking, already_told, is_stale, without_messages
from recado.sync.mapping import metadata_of
from recado.sync.mapping import order_id as id_of
from recado.sync.repository import Told
from recado.sync.values import as_moment

log = structlog.get_logger(__name__)

TELLING_SECONDS = 30.0
"""How long one conversation may hold up the others of its round."""
FIRST_LOOK = timedelta(seconds=5)
LAST_LOOK = timedelta(minutes=10)
"""How long until the API is asked again for a person whom it does not know: at first, and in the end."""


class Telling:
    """One claim, told."""

    def __init__(self, service: ConversationStateService, linking: Linking, clock: Clock, told: Told) -> None:
        self._service = service
        self._linking = linking
        self._clock = clock
        self._told = told
        self._claim = told.claim
        self._session = told.claim.session

    async def run(self, *, only_link: bool) -> None:
        """Raises SyncUnavailable; what was told until then stands in `told`."""
        session, now = self._session, self._clock.now()
        session.uncertain = self._claim.uncertain
        if self._claim.is_staff or self._claim.contact.phone is None:
            # Staff talk to the shop, not with it; and the API knows people by their phone numbers alone.
            self._told.skipped += [entry.id for entry, _ in self._claim.entries if not only_link]
            session.looked_up_at = now
            return
        if is_stale(self._claim, now) and not await self._linking.link(self._told, now):
            self._wait_for_session()
            return
        if only_link:
            return
        if session.uncertain:
            await self._find_what_was_told()
        end = time.monotonic() + TELLING_SECONDS
        for entry, message in self._claim.entries:
            if time.monotonic() > end:
                break
            if entry.id not in self._told.sent:
                await self._tell_or_move(entry, message)
            if session.session_id is None:
                return  # it is gone, and there is no other yet
        session.attempts, session.error, session.uncertain = 0, None, False

    def _wait_for_session(self) -> None:
        session, now = self._session, self._clock.now()
        session.attempts += 1
        session.error = "the API has no conversation of this person yet"
        session.due_at = now + min(FIRST_LOOK * 2 ** min(session.attempts - 1, 10), LAST_LOOK)

    async def _find_what_was_told(self) -> None:
        """The process that had this before may have died between telling and writing that down."""
        session = self._session
        messages = [(entry, _as_told(message)) for entry, message in self._claim.entries if message is not None]
        if not messages or session.session_id is None:
            return
        try:
            there = await self._service.get_conversation(session.session_id, self._claim.merchant.sub_domain)
        except ConversationGone:
            return  # the first entry will find out, and look for another
        count = already_told(there.messages, session.messages, [said for _, said in messages])
        for entry, said in messages[:count]:
            self._done(entry, said)

    async def _tell_or_move(self, entry: SyncEntry, message: Message | None) -> None:
        """Tell one entry. A session that is gone is looked up again, once."""
        session = self._session
        try:
            try:
                await self._tell(entry, message)
            except ConversationGone:
                log.info("conversation is gone from the API", conversation_id=session.conversation_id)
                session.session_id = None
                if not await self._linking.link(self._told, self._clock.now()):
                    self._wait_for_session()
                    return
                await self._tell(entry, message)
        except SyncRejected as error:
            log.warning("conversation sync error: refused", sync_entry_id=entry.id, kind=entry.kind, error=str(error))
            self._told.refused.append((entry.id, str(error)[:500]))
        except SyncUnavailable as error:
            session.uncertain = session.uncertain or error.ambiguous
            raise

    async def _tell(self, entry: SyncEntry, message: Message | None) -> None:
        session_id = self._session.session_id or ""
        if message is not None:
            said = _as_told(message)
            if said["content"]:
                await self._service.add_message_from_agent(session_id, said["role"], said["content"])
            self._done(entry, said)
            return
        payload = entry.payload or {}
        if entry.kind == "order":
            await self._link_order(session_id, str(payload["order_id"]))
        else:
            await self._sync(session_id, {}, payload.get("intent"), payload.get("step"))
        self._told.sent.append(entry.id)

    async def _link_order(self, session_id: str, order_id: str) -> None:
        there = await self._service.get_conversation(session_id, self._claim.merchant.sub_domain)
        history = there.context.get("orderHistory")
        orders = list(history) if isinstance(history, list) else []
        if order_id not in [id_of(order) for order in orders]:
            orders.append(order_id)  # the whole list is replaced
        await self._sync(session_id, {"currentOrderId": order_id, "orderHistory": orders}, None, None)

    async def _sync(self, session_id: str, context: dict[str, Any], intent: str | None, step: str | None) -> None:
        session, conversation = self._session, self._claim.conversation
        written = [said["content"] for said in session.messages if said["role"] == "user"]
        context = {"previousMessages": session.messages, **context}
        if written:
            context["lastUserMessage"] = written[-1]
        known = self._told.conversation.get("api_context", conversation.api_context) or {}
        if self._claim.contact.name and not known.get("customerName"):
            context["customerName"] = self._claim.contact.name
        document = await self._service.sync_conversation_from_agent(
            session_id,
            intent=intent or conversation.intent or self._told.conversation.get("intent") or "idle",
            step=step or conversation.step or self._told.conversation.get("step"),
            context=context,
            metadata=metadata_of(
                conversation.language or self._claim.merchant.language, self._claim.contact.channel, self._clock.now()
            ),
            is_active=session.active,
        )
        # It cannot take a key away, and may answer with those alone that it was given.
        self._told.conversation["api_context"] = {**known, **without_messages(document.context)}

    def _done(self, entry: SyncEntry, said: dict[str, Any]) -> None:
        self._told.sent.append(entry.id)
        if said["content"]:
            self._session.messages = [*self._session.messages, said][-PREVIOUS_MESSAGES:]
        if said["role"] == "user":
            self._session.active = True


def _as_told(message: Message) -> dict[str, Any]:
    """A message as the API has it. What is no text is named."""
    text = message.text.strip()
    if message.kind not in {"text", "button", "template"}:
        text = f"[{message.kind}] {text}".strip()
    role = "user" if message.role == "user" else "bot"
    return {"role": role, "content": text, "timestamp": as_moment(message.created_at)}
