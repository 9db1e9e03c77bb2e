"""All SQL about the sync outbox. One job drains it for all merchants, so what is due is not scoped by one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import (
    PENDING_SYNC,
    Contact,
    Conversation,
    Merchant,
    MerchantUser,
    Message,
    SyncEntry,
    SyncSession,
)

SETTLED = ("session_id", "active", "expires_at", "looked_up_at", "messages", "due_at", "attempts", "error", "uncertain")
"""What a claim may change of a session."""


@dataclass(slots=True)
class Claim:
    """A conversation that is ours to talk to the API about, and what it has to be told, in order.

    `entries`: the oldest, each with its message where it is one. `backlog`: how many there are in all.
    """

    session: SyncSession
    conversation: Conversation
    contact: Contact
    merchant: Merchant
    is_staff: bool
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
        waiting = (
            select(SyncEntry.conversation_id)
            .where(PENDING_SYNC, SyncEntry.conversation_id > after)
            .group_by(SyncEntry.conversation_id)
            .subquery()
        )
        due = _claims().where(
            SyncSession.conversation_id.in_(select(waiting.c.conversation_id)),
            SyncSession.due_at <= now,
            self._is_free(now),
        )
        return await self._claim(due.order_by(SyncSession.conversation_id).limit(limit), batch, until)

    async def claim_one(
        self, conversation_id: int, merchant_id: int, batch: int, now: datetime, until: datetime
    ) -> Claim | None:
        """Take one conversation that the API has not been asked about yet. None: somebody has it, or it is known."""
        unknown = _claims().where(
            SyncSession.conversation_id == conversation_id,
            SyncSession.merchant_id == merchant_id,
            SyncSession.looked_up_at.is_(None),
            self._is_free(now),
        )
        found = await self._claim(unknown, batch, until)
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
        if sent := [entry_id for one in told for entry_id in one.sent]:
            await self._entries(sent, state="sent", sent_at=now)
        if skipped := [entry_id for one in told for entry_id in one.skipped]:
            await self._entries(skipped, state="skipped")
        for entry_id, error in [refusal for one in told for refusal in one.refused]:
            await self._entries([entry_id], state="refused", error=error)
        rows = [_settled(one.claim.session, self._process_id) for one in told]
        await (await self._session.connection()).execute(_SETTLE, rows)
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

    async def _claim(self, query: Any, batch: int, until: datetime) -> list[Claim]:
        rows = (await self._session.execute(query.with_for_update(of=SyncSession, skip_locked=True))).all()
        claims = {row[0].conversation_id: Claim(*row) for row in rows}
        for claim in claims.values():
            # Whoever had it did not let it go: the API may know more than is written here.
            claim.session.uncertain = claim.session.uncertain or claim.session.claimed_by is not None
            claim.session.claimed_by, claim.session.claimed_until = self._process_id, until
        if claims:
            await self._load_entries(claims, batch)
        await self._session.flush()
        return list(claims.values())

    async def _load_entries(self, claims: dict[int, Claim], batch: int) -> None:
        of_one = SyncEntry.conversation_id
        numbered = (
            select(
                SyncEntry.id,
                func.row_number().over(partition_by=of_one, order_by=SyncEntry.id).label("place"),
                func.count().over(partition_by=of_one).label("backlog"),
            )
            .where(PENDING_SYNC, SyncEntry.conversation_id.in_(claims))
            .subquery()
        )
        rows = await self._session.execute(
            select(SyncEntry, Message, numbered.c.backlog)
            .join(numbered, numbered.c.id == SyncEntry.id)
            .outerjoin(Message, Message.id == SyncEntry.message_id)
            .where(numbered.c.place <= batch)
            .order_by(SyncEntry.id)
        )
        backlogs: dict[int, int] = {}
        for entry, message, backlog in rows:
            claims[entry.conversation_id].entries.append((entry, message))
            backlogs[entry.conversation_id] = backlog
        for conversation_id, backlog in backlogs.items():
            claims[conversation_id].backlog = backlog

    def _is_free(self, now: datetime) -> ColumnElement[bool]:
        free = or_(SyncSession.claimed_by.is_(None), SyncSession.claimed_until <= now)
        return or_(free, SyncSession.claimed_by != self._process_id) if self._alone else free

    async def _entries(self, entry_ids: list[int], **values: Any) -> None:
        await self._session.execute(update(SyncEntry).where(SyncEntry.id.in_(entry_ids)).values(**values))

    async def _keep(self, conversation: Conversation, values: dict[str, Any]) -> None:
        """What a turn has found out meanwhile is newer than what the API knew."""
        mine = update(Conversation).where(
            Conversation.id == conversation.id, Conversation.merchant_id == conversation.merchant_id
        )
        if "api_context" in values:
            await self._session.execute(mine.values(api_context=values["api_context"]))
        if "intent" in values:
            told = {"intent": values["intent"], "step": values["step"]}
            await self._session.execute(mine.where(Conversation.intent.is_(None)).values(**told))
        if "summary" in values:
            unsaid = and_(Conversation.summary == "", Conversation.summarised_through == 0)
            await self._session.execute(mine.where(unsaid).values(summary=values["summary"]))


_SETTLE = (
    update(SyncSession.__table__)  # type: ignore[arg-type]
    .where(
        SyncSession.conversation_id == bindparam("the_conversation"),
        SyncSession.merchant_id == bindparam("the_merchant"),
        SyncSession.claimed_by == bindparam("the_process"),
    )
    .values({name: bindparam(name) for name in SETTLED} | {"claimed_by": None, "claimed_until": None})
)


def _settled(session: SyncSession, process_id: str) -> dict[str, Any]:
    place = {"the_conversation": session.conversation_id, "the_merchant": session.merchant_id}
    return {**place, "the_process": process_id, **{name: getattr(session, name) for name in SETTLED}}


def _claims() -> Any:
    is_staff = exists().where(
        MerchantUser.merchant_id == Contact.merchant_id, MerchantUser.phone == Contact.phone, MerchantUser.active
    )
    return (
        select(SyncSession, Conversation, Contact, Merchant, is_staff)
        .join(Conversation, Conversation.id == SyncSession.conversation_id)
        .join(Contact, Contact.id == Conversation.contact_id)
        .join(Merchant, Merchant.id == SyncSession.merchant_id)
    )


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
