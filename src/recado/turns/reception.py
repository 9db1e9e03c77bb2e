"""What is done with a message beyond writing it down: what the agent never sees, and what is said at once instead."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.raising import Alarm, raise_within
from recado.channels.base import InboundMessage
from recado.clock import Clock
from recado.conversations import notices
from recado.conversations.corrections import DELETION, EDIT, Corrections
from recado.conversations.limit_repository import LimitRepository
from recado.conversations.notices import Decision
from recado.conversations.optouts import ALL, CONFIRMATION, OptOuts
from recado.conversations.service import ConversationService, Received, Reply
from recado.conversations.window import is_open, opens_window
from recado.db.models import Contact, Conversation
from recado.merchants.account import Account
from recado.merchants.linking import StaffLinks, Written, find_code
from recado.merchants.repository import MerchantRepository
from recado.turns.context import SHOW_ANSWER

log = structlog.get_logger(__name__)

ONE_APOLOGY_IN = timedelta(hours=1)
"""However many messages of a person come late together, we are sorry once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The message that was written down, its conversation, and those in which deliveries may go now."""

    message_id: int
    conversation_id: int
    delivering: frozenset[int] = field(default_factory=frozenset)


async def tell(
    service: ConversationService, conversation: Conversation, contact: Contact, key: str, notice: Decision, clock: Clock
) -> bool:
    """Say a notice, once, while free text may be sent. Whether there is something to deliver."""
    if notice.notice is None or not is_open(conversation.last_inbound_at, clock.now()):
        return False
    if contact.opt_out == ALL and notice.other_data != CONFIRMATION:
        return False
    language = conversation.language or (await service.repository.get(conversation.id))[2].language
    text = notices.text_of(notice.notice, language, notice.values)
    _, new = await service.say(conversation, contact, Reply(key, text, other_data=dict(notice.other_data)))
    return new


class Reception:
    """Takes the messages of one account, within one transaction that the caller commits.

    `late_after`: how old a message may be when it comes and still be answered as if it were new.
    """

    def __init__(self, session: AsyncSession, account: Account, clock: Clock, late_after: timedelta) -> None:
        self._session = session
        self._account = account
        self._clock = clock
        self._late_after = late_after
        self._service = ConversationService(session, account.merchant_id, clock)
        self._corrections = Corrections(session, account)
        self._opt_outs = OptOuts(session, account.merchant_id)
        self._links = StaffLinks(session, account.merchant_id, clock)

    async def take(self, inbound: InboundMessage, received_at: datetime) -> Taken:
        """Write a message down and decide who answers it. A code is in no row: it is blotted out first."""
        written = await self._code_in(inbound)
        if written is not None:
            inbound = replace(inbound, text=written.masked)
        received = await self._service.receive(self._account, inbound, received_at)
        delivering = {*received.others, *([received.conversation.id] if received.released else [])}
        decision = await self._decide(received, inbound, written)
        if decision is not None:
            message = received.message
            # A message that was taken back is gone, whatever else it was.
            message.other_data = {**message.other_data, "handled": decision.handled}
            await self._session.flush()
            key = f"{decision.handled}:{message.id}"
            if await tell(self._service, received.conversation, received.contact, key, decision, self._clock):
                delivering.add(received.conversation.id)
        return Taken(received.message.id, received.conversation.id, frozenset(delivering))

    async def _code_in(self, inbound: InboundMessage) -> Written | None:
        written = find_code(inbound.text)
        if written is None or written.certain or await self._links.is_known(written.code):
            return written
        return None  # "link para este …" is what customers write

    async def _decide(self, received: Received, inbound: InboundMessage, written: Written | None) -> Decision | None:
        """What becomes of a message that the agent shall not answer. None: it shall."""
        if inbound.kind == DELETION:
            await self._corrections.delete(received)
            return Decision("deletion")
        if written is not None and (opens_window(inbound.kind) or inbound.kind == EDIT):
            return await self._link(received, written.code)
        at, late = _written_at(received, inbound), self._is_old(inbound)
        if (decision := await self._opt_outs.decide(received.contact, inbound, at, late=late)) is not None:
            return decision
        if inbound.kind == EDIT and await self._corrections.edit(received):
            return Decision("edit")
        if late and await self._is_late(received, inbound):
            return Decision("late", await self._apology(received.conversation))
        return None

    async def _link(self, received: Received, code: str) -> Decision:
        contact = received.contact
        context = {"merchant_id": self._account.merchant_id, "contact_id": contact.id}
        if not await self._links.may_try(contact):
            reason = (
                "somebody has written one wrong code after the other to be taken for a member of the staff; they are "
                "not answered for 15 minutes. Make a new code if it was one of yours"
            )
            where = {"conversation_id": received.conversation.id, "message_id": received.message.id}
            alarm = Alarm("security_wrong_codes", reason, {**context, **where}, key=str(contact.id))
            raise_within(self._session, [alarm], self._clock.now())
            return Decision("link")
        member = await self._links.redeem(code, contact)
        if member is None:
            await self._links.was_wrong(contact)
            return Decision("link", notices.NOT_LINKED)
        log.info("staff linked", channel=contact.channel, merchant_user_id=member.id, **context)
        values: Mapping[str, str] = {"name": member.name}
        return Decision("link", notices.LINKED, values)

    def _is_old(self, inbound: InboundMessage) -> bool:
        return inbound.sent_at is not None and self._clock.now() - inbound.sent_at > self._late_after

    async def _is_late(self, received: Received, inbound: InboundMessage) -> bool:
        """Whether an old message comes too late to be answered. A member's answer is one whenever it comes, and so is
        a tap that opens what is held."""
        if inbound.button == SHOW_ANSWER or not (opens_window(inbound.kind) or inbound.kind == EDIT):
            return False
        merchants = MerchantRepository(self._session, self._account.merchant_id)
        return await merchants.staff_of(received.contact) is None

    async def _apology(self, conversation: Conversation) -> str | None:
        """The notice that asks them to write again, unless they had it just now or cannot be sent it."""
        now, limits = self._clock.now(), LimitRepository(self._session)
        if not is_open(conversation.last_inbound_at, now):
            return None
        return notices.LATE if await limits.take(f"late:{conversation.id}", now, now + ONE_APOLOGY_IN) else None


def _written_at(received: Received, inbound: InboundMessage) -> datetime:
    """When a message was written, by the provider's clock, but never after it came."""
    arrived = received.message.created_at
    return min(inbound.sent_at or arrived, arrived)
