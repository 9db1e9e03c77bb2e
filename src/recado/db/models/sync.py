"""What the conversation API has to be told, and where each conversation is there."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime

PENDING_SYNC = text("state = 'pending'")
"""An entry that the API has not been told. Queries must use this very condition: SQLite takes a partial index for no
other."""


class SyncSession(Base):
    """A conversation in the conversation API. It comes with the conversation, and is linked when the API knows it."""

    __tablename__ = "sync_sessions"

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"), primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    session_id: Mapped[str | None]
    """The API's id of it. None: not linked yet, or gone there."""
    active: Mapped[bool] = mapped_column(default=True)
    """What the API last said of `isActive`; a person who writes makes it true."""
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    looked_up_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the API was last asked which session this person has. None: never, so nothing is restored yet."""
    messages: Mapped[list[dict[str, Any]]]
    """The last 20 messages that the API was told or had itself: {role, content, timestamp}."""
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When its entries may be sent, or tried again."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often in a row that has failed."""
    error: Mapped[str | None] = mapped_column(Text)
    uncertain: Mapped[bool] = mapped_column(default=False)
    """The API may have been told more than the entries say: it is read before a message is repeated."""
    claimed_by: Mapped[str | None]
    """The process that is talking to the API about it, until `claimed_until`: one at a time, whoever tries."""
    claimed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SyncEntry(Base):
    """One thing that the API has to be told, written in the transaction in which it happened.

    Kind: `message` (what `message_id` says), `state` ({intent, step} in `payload`) or `order` ({order_id}).
    State: `pending`; then `sent`, `merged` (a later state stands for it), `skipped` (the API has no place for it) or
    `refused` (the API will not have it; `error` says why).
    """

    __tablename__ = "sync_entries"
    __table_args__ = (
        Index(
            "ix_sync_entries_pending",
            "conversation_id",
            "id",
            postgresql_where=PENDING_SYNC,
            sqlite_where=PENDING_SYNC,
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    kind: Mapped[str]
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    payload: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(default="pending", server_default="pending")
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
