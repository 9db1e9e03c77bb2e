"""What providers delivered, and the agent's handling of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime

RECEIVED_EVENT = text("state = 'received'")
"""An event that waits. Queries must use this very condition: SQLite takes a partial index for no other."""

ROUTING_EVENT = text("due_at IS NOT NULL")
"""An event at a shared address that waits for its merchant."""

STATUS_EVENT = text("delivery_id IS NOT NULL")

MESSAGE_EVENT = text("message_id IS NOT NULL")

RUNNING_TURN = text("state = 'running'")
"""A turn that has not ended."""


class InboxEvent(Base):
    """One thing that a provider delivered, stored before it is acknowledged.

    State: `received`; then `done` (a message row or a status holds it), `unrouted` (nobody's: `error` says why) or
    `dead` (could not be read). At a shared address a message is `routing` until its merchant is known, then `received`
    again.
    """

    __tablename__ = "inbox_events"
    __table_args__ = (
        UniqueConstraint("channel", "address", "provider_event_id"),
        Index(
            "ix_inbox_events_received",
            "id",
            postgresql_where=RECEIVED_EVENT,
            sqlite_where=RECEIVED_EVENT,
        ),
        Index(
            "ix_inbox_events_routing",
            "channel_user_id",
            postgresql_where=ROUTING_EVENT,
            sqlite_where=ROUTING_EVENT,
        ),
        Index("ix_inbox_events_due_at", "due_at", postgresql_where=ROUTING_EVENT, sqlite_where=ROUTING_EVENT),
        Index("ix_inbox_events_delivery_id", "delivery_id", postgresql_where=STATUS_EVENT, sqlite_where=STATUS_EVENT),
        Index("ix_inbox_events_message_id", "message_id", postgresql_where=MESSAGE_EVENT, sqlite_where=MESSAGE_EVENT),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[str]
    address: Mapped[str]
    """The channel account's address, as the provider named it."""
    provider_event_id: Mapped[str]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(default="received")
    error: Mapped[str | None] = mapped_column(Text)
    merchant_id: Mapped[int | None] = mapped_column(ForeignKey("merchants.id"))
    """Whose it is: of an event that is done, or that was routed."""
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    channel_user_id: Mapped[str | None]
    """Who sent it, at a shared address."""
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its merchant is to be found out, or again. None: that is not to be done (any more)."""
    message_id: Mapped[int | None]
    """The message that it brought."""
    delivery_id: Mapped[int | None]
    """The delivery whose status it told."""


class Turn(Base):
    """The agent's handling of all that a conversation has received since the last one. State: running, done, failed."""

    __tablename__ = "turns"
    __table_args__ = (
        # At most one turn at a time per conversation, whoever tries.
        Index(
            "ix_turns_running",
            "conversation_id",
            unique=True,
            postgresql_where=RUNNING_TURN,
            sqlite_where=RUNNING_TURN,
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"), index=True)
    state: Mapped[str] = mapped_column(default="running")
    draft: Mapped[int] = mapped_column(default=1)
    """Counts up each time that the draft is dropped because new messages arrived meanwhile."""
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    claimed_by: Mapped[str | None]
    """The process that runs it, until `claimed_until`."""
    claimed_until: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    trace_id: Mapped[str | None]
    """That of the first message that it answers: 32 hex digits."""
    steps: Mapped[list[dict[str, Any]] | None]
    """What the agent did, in order, as `recado.telemetry.steps.Step.as_row` gives it."""
