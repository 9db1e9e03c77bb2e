"""What a merchant knows, and what its staff is asked."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime

UNFINISHED_NOTIFICATION = text("(announced_at IS NULL OR (status = 'answered' AND returned_at IS NULL))")
"""One whose job has work left. Queries must use this very condition: SQLite takes a partial index for no other."""


class Document(Base):
    """One piece of the merchant's knowledge: FAQ, answered user question, support classification."""

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("merchant_id", "key"),
        Index("ix_documents_merchant_id_category", "merchant_id", "category"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    key: Mapped[str]
    """Makes creating it again harmless: where it came from, within the merchant."""
    category: Mapped[str]
    source: Mapped[str]
    title: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text, default="")
    """Empty while a user question waits for its answer."""
    search_text: Mapped[str] = mapped_column(Text)
    """Title and content without case and accents."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Notification(Base):
    """A question or support request put to staff. Status: requested, answered."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("merchant_id", "request_key"),
        Index("ix_notifications_merchant_id_status", "merchant_id", "status"),
        Index(
            "ix_notifications_unfinished",
            "id",
            postgresql_where=UNFINISHED_NOTIFICATION,
            sqlite_where=UNFINISHED_NOTIFICATION,
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"), index=True)
    notification_type: Mapped[str]
    status: Mapped[str] = mapped_column(default="requested")
    context: Mapped[dict[str, Any]]
    answer_model_json_schema: Mapped[dict[str, Any]]
    allow_multiple_answers: Mapped[bool] = mapped_column(default=False)
    request_key: Mapped[str]
    """Makes asking again harmless: the turn and tool call that asked."""
    answer_key: Mapped[str | None]
    """The turn and tool call whose answer was accepted."""
    answered_by: Mapped[int | None] = mapped_column(ForeignKey("merchant_users.id"))
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the staff had been asked. None: the request job has work left."""
    returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the answer was on its way to the customer. None once answered: the answer job has work left."""
    failures: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
