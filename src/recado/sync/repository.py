"""All SQL about the sync outbox. One job drains it for all merchants, so what is due is not scoped by one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, and_, bindparam, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.base import UtcDateTime
from recado.db.models import (
    PENDING_SYNC,
    Contact,
    Conversation,
    Merchant,
    MerchantUser,
    Message,
    StaffLink,
    SyncEntry,
    SyncSession,
)

SETTLED = ("session_id", "active", "expires_at", "looked_up_at", "messages", "due_at", "attempts", "error", "uncertain")
"""What a claim may change of a session."""


@dataclass(slots=True)
class Claim:
    """A conversation that is ours to talk to the API about, and what it has to be told, in order.

    `uncertain`: the API may have been told more than is written here. `entries`: the oldest, each with its message
    where it is one. `backlog`: how many there are in all.
    """

    session: SyncSession
    conversation: Conversation
    contact: Contact
    merchant: Merchant
    is_staff: bool
    uncertain: bool
    entries: list[tuple[SyncEntry, Message | None]] = field(default_factory=list)
    backlog: int = 0


@dataclass(slots=True)
class Told:
    """What came of a claim. `conversation`: what the API knew of the person, to be kept."""

    claim: Claim
    sent: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    conversation: dict[str, Any] = field(default_factory=dict)


class SyncRepository:
    """`process_id` names this process in claims. `alone`: no other process syncs, so that another's claim is from
    before a crash."""

    def __init__(self, session: AsyncSession, process_id: str, *, alone: bool) -> None:
        self._session = session
        self._process_id = process_id
        self._alone = alone

    async def claim_due(self, after: int, limit: int, batch: int, now: datetime, until: datetime) -> list[Claim]:
        """Take the next conversations, by id after `after`, that have something to tell, with `batch` entries each."""
        return await self._claim(_DUE, {"after": after, "most": limit, "now": now}, batch, until)

    async def claim_one(
        self, conversation_id: int, merchant_id: int, batch: int, now: datetime, until: datetime
    ) -> Claim | None:
        """Take one conversation that the API has not been asked about yet. None: somebody has it, or it is known."""
        which = {"the_conversation": conversation_id, "the_merchant": merchant_id, "now": now}
        found = await self._claim(_UNKNOWN, which, batch, until)
        return found[0] if found else None

    async def is_unknown(self, conversation_id: int, merchant_id: int) -> bool:
        """Whether the API has still to be asked about a conversation."""
        query = select(SyncSession.conversation_id).where(
            SyncSession.conversation_id == conversation_id,
            SyncSession.merchant_id == merchant_id,
            SyncSession.looked_up_at.is_(None),
        )
        return await self._session.scalar(query) is not None

    async def settle(self, told: Sequence[Told], now: datetime) -> None:
        """Write down what came of claims, and let them go."""
        changes = [
            {"the_entry": id_, "state": "sent", "error": None, "sent_at": now} for one in told for id_ in one.sent
        ]
        for one in told:
            changes += [{"the_entry": id_, "state": "skipped", "error": None, "sent_at": None} for id_ in one.skipped]
            changes += [
                {"the_entry": id_, "state": "refused", "error": why, "sent_at": None} for id_, why in one.refused
            ]
        connection = await self._session.connection()
        if changes:
            await connection.execute(_CHANGE_ENTRY, changes)
        await connection.execute(_SETTLE, [_settled(one.claim.session, self._process_id) for one in told])
        for one in told:
            if one.conversation:
                await self._keep(one.claim.conversation, one.conversation)

    async def merge_states(self, claim: Claim) -> None:
        """Let the last state stand for all states before it that wait. Messages and orders stay."""
        waiting = and_(
            PENDING_SYNC,
            SyncEntry.merchant_id == claim.session.merchant_id,
            SyncEntry.conversation_id == claim.session.conversation_id,
            SyncEntry.kind == "state",
        )
        last = await self._session.scalar(select(func.max(SyncEntry.id)).where(waiting)) or 0
        await self._session.execute(update(SyncEntry).where(waiting, SyncEntry.id < last).values(state="merged"))
        claim.entries = [pair for pair in claim.entries if pair[0].kind != "state" or pair[0].id >= last]

    async def _claim(self, query: Any, values: dict[str, Any], batch: int, until: datetime) -> list[Claim]:
        mine = {"the_process": self._process_id, "alone": self._alone}
        claims: dict[int, Claim] = {}
        for session, conversation, contact, merchant, is_staff in await self._session.execute(query, values | mine):
            # Whoever had it did not let it go: the API may know more than is written here.
            uncertain = session.uncertain or session.claimed_by is not None
            claims[conversation.id] = Claim(session, conversation, contact, merchant, is_staff, uncertain)
        if claims:
            taken = {"these": list(claims), "the_process": self._process_id, "until": until}
            await (await self._session.connection()).execute(_TAKE, taken)
            for entry, message, backlog in await self._session.execute(
                _ENTRIES, {"these": list(claims), "most": batch}
            ):
                claims[entry.conversation_id].entries.append((entry, message))
                claims[entry.conversation_id].backlog = backlog
        return list(claims.values())

    async def _keep(self, conversation: Conversation, values: dict[str, Any]) -> None:
        """What a turn has found out meanwhile is newer than what the API knew."""
        mine = update(Conversation).where(
            Conversation.id == conversation.id, Conversation.merchant_id == conversation.merchant_id
        )
        if "api_context" in values and values["api_context"] != conversation.api_context:
            await self._session.execute(mine.values(api_context=values["api_context"]))
        if "intent" in values:
            told = {"intent": values["intent"], "step": values["step"]}
            await self._session.execute(mine.where(Conversation.intent.is_(None)).values(**told))
        if "summary" in values:
            unsaid = and_(Conversation.summary == "", Conversation.summarised_through == 0)
            await self._session.execute(mine.where(unsaid).values(summary=values["summary"]))


def _claims() -> Any:
    linked = exists().where(
        StaffLink.merchant_id == Contact.merchant_id,
        StaffLink.merchant_user_id == MerchantUser.id,
        StaffLink.channel == Contact.channel,
        StaffLink.channel_user_id == Contact.channel_user_id,
    )
    theirs = or_(MerchantUser.phone == Contact.phone, linked.correlate(Contact, MerchantUser))
    is_staff = exists().where(MerchantUser.merchant_id == Contact.merchant_id, MerchantUser.active, theirs)
    is_staff = is_staff.correlate(Contact)
    is_free = or_(
        SyncSession.claimed_by.is_(None),
        SyncSession.claimed_until <= bindparam("now", type_=UtcDateTime),
        and_(bindparam("alone", type_=Boolean), SyncSession.claimed_by != bindparam("the_process")),
    )
    return (
        select(SyncSession, Conversation, Contact, Merchant, is_staff)
        .join(Conversation, Conversation.id == SyncSession.conversation_id)
        .join(Contact, Contact.id == Conversation.contact_id)
        .join(Merchant, Merchant.id == SyncSession.merchant_id)
        .where(is_free)
        .with_for_update(of=SyncSession, skip_locked=True)
    )


# Built once: to build one takes as long as to run it, and they run for each turn.

_DUE = (
    _claims()
    .where(
        SyncSession.conversation_id.in_(
            select(SyncEntry.conversation_id)
            .where(PENDING_SYNC, SyncEntry.conversation_id > bindparam("after"))
            .group_by(SyncEntry.conversation_id)
        ),
        SyncSession.due_at <= bindparam("now", type_=UtcDateTime),
    )
    .order_by(SyncSession.conversation_id)
    .limit(bindparam("most"))
)

_UNKNOWN = _claims().where(
    SyncSession.conversation_id == bindparam("the_conversation"),
    SyncSession.merchant_id == bindparam("the_merchant"),
    SyncSession.looked_up_at.is_(None),
)

_NUMBERED = (
    select(
        SyncEntry.id,
        func.row_number().over(partition_by=SyncEntry.conversation_id, order_by=SyncEntry.id).label("place"),
        func.count().over(partition_by=SyncEntry.conversation_id).label("backlog"),
    )
    .where(PENDING_SYNC, SyncEntry.conversation_id.in_(bindparam("these", expanding=True)))
    .subquery()
)
_ENTRIES = (
    select(SyncEntry, Message, _NUMBERED.c.backlog)
    .join(_NUMBERED, _NUMBERED.c.id == SyncEntry.id)
    .outerjoin(Message, Message.id == SyncEntry.message_id)
    .where(_NUMBERED.c.place <= bindparam("most"))
    .order_by(SyncEntry.id)
)

_TAKE = (
    update(SyncSession.__table__)  # type: ignore[arg-type]
    .where(SyncSession.conversation_id.in_(bindparam("these", expanding=True)))
    .values(claimed_by=bindparam("the_process"), claimed_until=bindparam("until", type_=UtcDateTime))
)
_SETTLE = (
    update(SyncSession.__table__)  # type: ignore[arg-type]
    .where(
        SyncSession.conversation_id == bindparam("the_conversation"),
        SyncSession.merchant_id == bindparam("the_merchant"),
        SyncSession.claimed_by == bindparam("the_process"),
    )
    .values({name: bindparam(name) for name in SETTLED} | {"claimed_by": None, "claimed_until": None})
)
_CHANGE_ENTRY = (
    update(SyncEntry.__table__)  # type: ignore[arg-type]
    .where(SyncEntry.id == bindparam("the_entry"))
    .values({name: bindparam(name) for name in ("state", "error", "sent_at")})
)


def _entry(entry_id: int, state: str, *, error: str | None = None, sent_at: datetime | None = None) -> dict[str, Any]:
    return {"the_entry": entry_id, "state": state, "error": error, "sent_at": sent_at}


def _settled(session: SyncSession, process_id: str) -> dict[str, Any]:
    place = {"the_conversation": session.conversation_id, "the_merchant": session.merchant_id}
    return {**place, "the_process": process_id, **{name: getattr(session, name) for name in SETTLED}}


async def open_missing(session: AsyncSession, now: datetime) -> None:
    """Have a session for each conversation that is older than the syncing."""
    old = select(
        Conversation.id,
        Conversation.merchant_id,
        literal(True),
        literal([], SyncSession.messages.type),
        literal(now, SyncSession.due_at.type),
        literal(0),
        literal(False),
    ).where(~exists().where(SyncSession.conversation_id == Conversation.id))
    await session.execute(
        insert(SyncSession).from_select(
            ["conversation_id", "merchant_id", "active", "messages", "due_at", "attempts", "uncertain"], old
        )
    )


async def has_due(session: AsyncSession, now: datetime) -> bool:
    """Whether anything may be told now."""
    waiting = select(SyncEntry.conversation_id).where(PENDING_SYNC)
    due = select(SyncSession.conversation_id).where(SyncSession.due_at <= now, SyncSession.conversation_id.in_(waiting))
    return await session.scalar(due.limit(1)) is not None


async def backlog(session: AsyncSession) -> tuple[int, datetime | None]:
    """How many entries wait, and since when the oldest does."""
    count, since = (
        await session.execute(select(func.count(), func.min(SyncEntry.created_at)).where(PENDING_SYNC))
    ).one()
    return count, since


async def refused(session: AsyncSession) -> int:
    """How many entries the API would not have."""
    query = select(func.count()).select_from(SyncEntry).where(SyncEntry.state == "refused")
    return (await session.execute(query)).scalar_one()


async def last_error(session: AsyncSession) -> str | None:
    """Why the conversation that waits longest is not told."""
    query = select(SyncSession.error).where(SyncSession.error.is_not(None)).order_by(SyncSession.attempts.desc())
    return await session.scalar(query.limit(1))
