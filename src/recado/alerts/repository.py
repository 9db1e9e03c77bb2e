"""All SQL about alerts. They are the team's, of all merchants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.insert import insert_new
from recado.db.models import (
    OPEN_ALERT,
    UNCOUNTED,
    UNSENT_POST,
    Alert,
    AlertIssue,
    AlertOccurrence,
    AlertPost,
    Contact,
    Conversation,
    Merchant,
)

ALERTS_LOCK = 0x616C_6572_7473
"""The PostgreSQL advisory lock under which occurrences are counted: "alerts" in ASCII."""
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a conversation is with. `api_context`: what the conversation API knows of them."""

    name: str | None
    phone: str | None
    api_context: Mapping[str, Any]


async def has_work(session: AsyncSession, now: datetime) -> bool:
    """Whether something has happened that is not counted, or waits to be told or to be over."""
    for query in (
        select(AlertOccurrence.id).where(UNCOUNTED),
        select(AlertPost.id).where(UNSENT_POST, AlertPost.due_at <= now),
        select(Alert.id).where(OPEN_ALERT),
    ):
        if await session.scalar(query.limit(1)) is not None:
            return True
    return False


class AlertRepository:
    """Alerts, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._is_sqlite = session.get_bind().dialect.name == "sqlite"

    async def lock(self) -> None:
        """Let nobody else count until this transaction ends. On SQLite, writing does that."""
        if not self._is_sqlite:
            await self._session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ALERTS_LOCK})

    async def uncounted(self) -> list[AlertOccurrence]:
        """Occurrences that no alert counts, oldest first, at most `BATCH`."""
        query = select(AlertOccurrence).where(UNCOUNTED).order_by(AlertOccurrence.id).limit(BATCH)
        return list(await self._session.scalars(query))

    async def open(self) -> list[Alert]:
        """The alerts that are not over."""
        return list(await self._session.scalars(select(Alert).where(OPEN_ALERT).order_by(Alert.id)))

    async def begin(self, first: AlertOccurrence) -> Alert:
        """An alert that begins with this occurrence, which it does not count yet."""
        alert = Alert(
            fingerprint=first.fingerprint,
            condition=first.condition,
            description=first.description,
            merchant_id=first.merchant_id,
            conversation_id=first.conversation_id,
            trace_id=first.trace_id,
            context=first.context,
            count=0,
            told_count=0,
            first_at=first.at,
            last_at=first.at,
        )
        self._session.add(alert)
        await self._session.flush()
        return alert

    def post(self, alert: Alert, channels: Sequence[str], kind: str, now: datetime) -> None:
        """Have these channels told how it stands."""
        alert.told_count, alert.told_at = alert.count, now
        self._session.add_all(
            AlertPost(
                alert_id=alert.id,
                channel=channel,
                kind=kind,
                count=alert.count,
                state="pending",
                attempts=0,
                due_at=now,
                created_at=now,
            )
            for channel in channels
        )

    async def due_posts(self, now: datetime) -> list[tuple[AlertPost, Alert]]:
        """What is to be told now, with what it is about, in order."""
        query = select(AlertPost, Alert).join(Alert, Alert.id == AlertPost.alert_id)
        rows = await self._session.execute(
            query.where(UNSENT_POST, AlertPost.due_at <= now).order_by(AlertPost.id).limit(BATCH)
        )
        return [(row[0], row[1]) for row in rows]

    async def refused(self) -> tuple[int, str | None]:
        """How many posts wait to be told again, and why one of them does."""
        query = select(func.count(), func.max(AlertPost.error)).where(UNSENT_POST, AlertPost.attempts > 0)
        count, error = (await self._session.execute(query)).one()
        return count, error

    async def settle(self, post_id: int, **values: Any) -> None:
        """What became of a post."""
        await self._session.execute(update(AlertPost).where(AlertPost.id == post_id).values(**values))

    async def spread(self, alert_id: int) -> tuple[int, int]:
        """In how many conversations it happened, and of how many merchants."""
        seen = AlertOccurrence
        query = select(func.count(seen.conversation_id.distinct()), func.count(seen.merchant_id.distinct()))
        row = (await self._session.execute(query.where(seen.alert_id == alert_id))).one()
        return int(row[0]), int(row[1])

    async def store_name(self, merchant_id: int) -> str | None:
        """What the merchant is called."""
        return await self._session.scalar(select(Merchant.name).where(Merchant.id == merchant_id))

    async def person(self, merchant_id: int, conversation_id: int) -> Person | None:
        """Whom a conversation of this merchant is with."""
        query = (
            select(Contact.name, Contact.phone, Conversation.api_context)
            .join(Conversation, Conversation.contact_id == Contact.id)
            .where(Conversation.merchant_id == merchant_id, Conversation.id == conversation_id)
        )
        row = (await self._session.execute(query)).one_or_none()
        return Person(row[0], row[1], row[2] or {}) if row else None

    async def issue(self, fingerprint: str, issue_id: str, now: datetime) -> AlertIssue:
        """The issue of a fingerprint: there already, or to be made under this id."""
        values = {"fingerprint": fingerprint, "issue_id": issue_id, "created_at": now}
        await self._session.execute(insert_new(AlertIssue, self._is_sqlite).values(**values))
        return (await self._session.scalars(select(AlertIssue).where(AlertIssue.fingerprint == fingerprint))).one()

    async def issue_made(self, fingerprint: str, identifier: str, url: str) -> None:
        """It is there."""
        made = update(AlertIssue).where(AlertIssue.fingerprint == fingerprint)
        await self._session.execute(made.values(identifier=identifier, url=url))

    async def forget(self, until: datetime) -> None:
        """What was over by then is of no use any more."""
        old = select(Alert.id).where(Alert.ended_at.is_not(None), Alert.last_at < until).order_by(Alert.id).limit(BATCH)
        ids = list(await self._session.scalars(old))
        if not ids:
            return
        for table in (AlertOccurrence, AlertPost):
            await self._session.execute(delete(table).where(table.alert_id.in_(ids)))
        await self._session.execute(delete(Alert).where(Alert.id.in_(ids)))

    async def newest(self, limit: int, *, only_open: bool) -> list[Alert]:
        """The latest alerts, newest first."""
        query = select(Alert).order_by(Alert.last_at.desc(), Alert.id.desc()).limit(limit)
        return list(await self._session.scalars(query.where(OPEN_ALERT) if only_open else query))
