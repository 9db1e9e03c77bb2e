"""Finding a conversation in the conversation API, and what it knows that this system does not."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from recado.errors import WrongPrefix
from recado.sync.client import ConversationStateService
from recado.sync.documents import PREVIOUS_MESSAGES, ConversationDocument, TenantInfo
from recado.sync.mapping import to_intent
from recado.sync.repository import Claim, Told
from recado.text import clean_text, mask_phone, shorten

log = structlog.get_logger(__name__)

LOOKED_UP_FOR = timedelta(hours=1)
"""How long a session is taken to be the person's latest: the API starts another when the last one has ended."""
CLOCKS_APART = timedelta(minutes=2)
"""How far the API's clock and ours may differ."""
MESSAGES = frozenset({"previousMessages", "lastUserMessage"})
"""The keys of a context that hold messages: these are ours to keep."""
SUMMARY_CHARACTERS = 2_000

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
"""The only ids of bots by which the API looks up; servers differ in what they make of others."""

Said = Mapping[str, Any]
"""One message as the API has it: {role, content, timestamp}."""


async def session_of(service: ConversationStateService, phone: str, sub_domain: str, bot_id: str | None) -> str | None:
    """The id of this person's session with this tenant. One with another tenant is never taken. Raises SyncError."""
    found: ConversationDocument | TenantInfo | None
    if bot_id and _OBJECT_ID.fullmatch(bot_id):
        found = await service.get_conversation_by_phone(phone, bot_id)
    else:
        found = await service.lookup_tenant_by_phone(phone)
    return found.session_id if found is not None and found.sub_domain == sub_domain else None


def is_stale(claim: Claim, now: datetime) -> bool:
    """Whether the session has to be looked up before it is used."""
    session = claim.session
    if session.session_id is None or session.looked_up_at is None:
        return True
    expired = session.expires_at is not None and session.expires_at <= now
    return now - session.looked_up_at >= (CLOCKS_APART if expired else LOOKED_UP_FOR)


class Linking:
    """Links conversations to the API's sessions."""

    def __init__(self, service: ConversationStateService, default_local_id: str) -> None:
        self._service = service
        self._default_local_id = default_local_id
        self._creates = True
        """Whether the API has a route that creates conversations. Some servers have none."""

    async def link(self, told: Told, now: datetime) -> bool:
        """Find this person's session, and keep what the API knows. Whether there is one. Raises SyncError."""
        claim = told.claim
        session, phone = claim.session, claim.contact.phone
        if phone is None:
            return False
        found = await self._find(claim, phone)
        if found is None and session.session_id is None:
            found = await self._create(claim, phone)
        first, session.looked_up_at = session.looked_up_at is None or session.session_id is None, now
        if found is None or found.session_id is None:
            # One that has expired takes what it is told until it is deleted.
            return session.session_id is not None
        session.session_id, session.active, session.expires_at = found.session_id, found.is_active, found.expires_at
        told.conversation["api_context"] = without_messages(found.context)
        if first and not session.messages:
            self._restore(told, found)
        return True

    async def _find(self, claim: Claim, phone: str) -> ConversationDocument | None:
        merchant = claim.merchant
        session_id = await session_of(self._service, phone, merchant.sub_domain, merchant.bot_id)
        if session_id is None:
            log.info("no tenant found for phone", phone=mask_phone(phone), sub_domain=merchant.sub_domain)
            return None
        return await self._service.get_conversation(session_id, merchant.sub_domain)

    async def _create(self, claim: Claim, phone: str) -> ConversationDocument | None:
        if not self._creates:
            return None
        merchant = claim.merchant
        try:
            return await self._service.create_conversation(
                phone, merchant.sub_domain, merchant.local_id or self._default_local_id or None, merchant.bot_id
            )
        except WrongPrefix:
            # The prefix is right, or the lookup would have failed: this server makes conversations by itself.
            self._creates = False
            return None

    def _restore(self, told: Told, found: ConversationDocument) -> None:
        """Take over what was said and where the person stands. A turn that has run meanwhile knows better."""
        waiting = [(message.role, message.text, message.created_at) for _, message in told.claim.entries if message]
        before = _before(found.messages, waiting)[-PREVIOUS_MESSAGES:]
        told.claim.session.messages = before
        told.conversation["intent"] = to_intent(found.current_intent or "")
        told.conversation["step"] = found.current_step
        if before:
            lines = [f"{said['role']}: {shorten(clean_text(str(said['content'])), 300)}" for said in before]
            told.conversation["summary"] = "\n".join(lines)[-SUMMARY_CHARACTERS:]


def without_messages(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context but for the messages."""
    return {name: value for name, value in context.items() if name not in MESSAGES}


def _before(said: Sequence[Said], waiting: Sequence[tuple[str, str, datetime]]) -> list[dict[str, Any]]:
    """What was said before the messages that wait to be told: the API may have seen those with its own eyes."""
    # The API gives some no timestamp, and refuses one that is null.
    known = [{name: value for name, value in message.items() if value is not None} for message in said]
    for count in range(min(len(known), len(waiting)), 0, -1):
        pairs = zip(known[-count:], waiting[:count], strict=True)
        if all(_is(message, *ours) for message, ours in pairs):
            return known[:-count]
    return known


def _is(said: Said, role: str, text: str, at: datetime) -> bool:
    try:
        said_at = datetime.fromisoformat(str(said.get("timestamp")))
    except ValueError:
        return False
    if said_at.tzinfo is None or abs(said_at - at) > CLOCKS_APART:
        return False
    return said["role"] == "user" and role == "user" and said["content"] == text


def already_told(remote: Sequence[Said], known: Sequence[Said], new: Sequence[Said]) -> int:
    """How many of `new` the API has already, after `known`: as many as make its last messages agree best with ours.

    Of equally good answers the smallest: a message that is told twice is put right by the next state, which carries all
    of them, and one that is never told would be lost.
    """
    there = [(message["role"], message["content"]) for message in remote]
    ours = [(message["role"], message["content"]) for message in (*known, *new)]
    best, best_length = 0, -1
    for count in range(len(new) + 1):
        expected = ours[: len(known) + count][-PREVIOUS_MESSAGES:]
        length = _common_end(there, expected)
        if length > best_length:
            best, best_length = count, length
    return best


def _common_end(one: Sequence[Any], other: Sequence[Any]) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    return length
