"""What the team has to know of, and how far it has been told."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime

UNCOUNTED = text("alert_id IS NULL")
"""An occurrence that no alert counts yet. Queries must use this very condition: SQLite takes a partial index for no
other."""

OPEN_ALERT = text("ended_at IS NULL")
"""An alert whose error may still go on."""

UNSENT_POST = text("state = 'pending'")
"""A post that a channel has not taken yet."""

OF_A_CONVERSATION = text("conversation_id IS NOT NULL")


class Alert(Base):
    """One error, from when it first happened until it was quiet for a while, however often it happened in between."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index(
            "ix_alerts_open",
            "fingerprint",
            unique=True,
            postgresql_where=OPEN_ALERT,
            sqlite_where=OPEN_ALERT,
        ),
        Index("ix_alerts_last_at", "last_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    """What makes errors the same: 32 hex digits."""
    condition: Mapped[str]
    """A name in `recado.alerts.conditions.CONDITIONS`."""
    description: Mapped[str] = mapped_column(Text)
    """Of the first occurrence, as are the ids and the context."""
    merchant_id: Mapped[int | None] = mapped_column(ForeignKey("merchants.id"))
    conversation_id: Mapped[int | None]
    trace_id: Mapped[str | None]
    context: Mapped[dict[str, Any]]
    count: Mapped[int] = mapped_column(default=0)
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    told_count: Mapped[int] = mapped_column(default=0)
    """How many the team has been told of."""
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertOccurrence(Base):
    """An error happened, `count` times. Written in the transaction in which it did, so that it is not lost."""

    __tablename__ = "alert_occurrences"
    __table_args__ = (
        Index("ix_alert_occurrences_uncounted", "id", postgresql_where=UNCOUNTED, sqlite_where=UNCOUNTED),
        Index("ix_alert_occurrences_alert_id", "alert_id"),
        Index(
            "ix_alert_occurrences_conversation_id",
            "conversation_id",
            postgresql_where=OF_A_CONVERSATION,
            sqlite_where=OF_A_CONVERSATION,
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    condition: Mapped[str]
    description: Mapped[str] = mapped_column(Text)
    merchant_id: Mapped[int | None]
    conversation_id: Mapped[int | None]
    trace_id: Mapped[str | None]
    context: Mapped[dict[str, Any]]
    """Other ids: turn_id, delivery_id, event_id, …"""
    count: Mapped[int] = mapped_column(default=1)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("alerts.id"))


class AlertPost(Base):
    """One thing to tell in one channel. Kind: `first`, `ongoing` or `summary`. State: pending, sent, failed."""

    __tablename__ = "alert_posts"
    __table_args__ = (
        Index("ix_alert_posts_unsent", "id", postgresql_where=UNSENT_POST, sqlite_where=UNSENT_POST),
        Index("ix_alert_posts_alert_id", "alert_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id"))
    channel: Mapped[str]
    kind: Mapped[str]
    count: Mapped[int]
    """How often the error had happened by then."""
    state: Mapped[str] = mapped_column(default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertIssue(Base):
    """The issue in the team's tracker for all alerts of one fingerprint."""

    __tablename__ = "alert_issues"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    issue_id: Mapped[str]
    """Chosen here and written down before the tracker is asked, so that asking again makes no second one."""
    identifier: Mapped[str | None]
    """As people say it: `ENG-123`. None: it is not made yet."""
    url: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
