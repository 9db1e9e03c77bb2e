"""What a merchant knows, and what its staff is asked."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime

WAITING_NOTIFICATION = text("status = 'requested' AND announced_at IS NOT NULL AND escalated_at IS NULL")
"""One that staff was asked and that has a reminder or an escalation before it. Queries must use this very condition."""

UNFINISHED_NOTIFICATION = text("(announced_at IS NULL OR (status = 'answered' AND returned_at IS NULL))")
"""One whose job has work left. Queries must use this very condition: SQLite takes a partial index for no other."""

OPEN_NOTIFICATION = text("status = 'requested'")
"""One that nobody has answered."""

ANSWERING_DOCUMENT = text("category IN ('faq', 'user_question') AND content <> '' AND retired_at IS NULL")
"""One that customers are answered from. Queries must use this very condition: SQLite takes a partial index for no
other, and only these are in the full-text index."""

YAML_SOURCE = "yaml"
"""The source of a document that a YAML file holds: it is changed there, and applied."""


class Document(Base):
    """One piece of the merchant's knowledge: FAQ, answered user question, support classification."""

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("merchant_id", "key"),
        Index("ix_documents_merchant_id_category", "merchant_id", "category"),
        Index(
            "ix_documents_answering",
            "merchant_id",
            "updated_at",
            "id",
            postgresql_where=ANSWERING_DOCUMENT,
            sqlite_where=ANSWERING_DOCUMENT,
        ),
        Index("ix_documents_vectors", "merchant_id", "embedded_with", "retired_at", "updated_at"),
        Index(
            "ix_documents_embedded_with",
            "embedded_with",
            postgresql_where=ANSWERING_DOCUMENT,
            sqlite_where=ANSWERING_DOCUMENT,
        ),
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
    """The words of title and content, as `recado.text.searchable` gives them. The full-text index is made of it."""
    notification_id: Mapped[int | None]
    """The notification whose answer it holds."""
    answered_by: Mapped[int | None]
    """The member of staff whose answer it holds; None also for answers that came over the API."""
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when it is not used any more."""
    embedding: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The meaning of title and content: float32, little-endian. None where there is none (yet)."""
    embedded_with: Mapped[str | None]
    """The model that was given title and content, and the vector's length. None: it has to be made (anew)."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Notification(Base):
    """A question or support request put to staff. Status: requested, answered."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("merchant_id", "request_key"),
        Index("ix_notifications_merchant_id_status", "merchant_id", "status"),
        Index(
            "ix_notifications_waiting",
            "announced_at",
            postgresql_where=WAITING_NOTIFICATION,
            sqlite_where=WAITING_NOTIFICATION,
        ),
        Index(
            "ix_notifications_unfinished",
            "id",
            postgresql_where=UNFINISHED_NOTIFICATION,
            sqlite_where=UNFINISHED_NOTIFICATION,
        ),
        Index(
            "ix_notifications_open",
            "merchant_id",
            postgresql_where=OPEN_NOTIFICATION,
            sqlite_where=OPEN_NOTIFICATION,
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
    joined_to_id: Mapped[int | None] = mapped_column(index=True)
    """The open notification that asked the same before. The staff sees only that one; its answer closes this one too,
    and goes to this one's customer."""
    request_key: Mapped[str]
    """Makes asking again harmless: the turn and tool call that asked."""
    answer_key: Mapped[str | None]
    """The turn and tool call whose answer was accepted."""
    answered_by: Mapped[int | None] = mapped_column(ForeignKey("merchant_users.id"))
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the staff had been asked. None: the request job has work left."""
    returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the answer was on its way to the customer. None once answered: the answer job has work left."""
    reminded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the staff that was asked was reminded, once."""
    escalated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the admins were asked as well and the customer was told that nobody has replied yet, once."""
    failures: Mapped[int] = mapped_column(default=0)
    trace_id: Mapped[str | None]
    """The trace of the turn that asked, as 32 hex digits; `answer_trace_id` is that of the turn that answered."""
    answer_trace_id: Mapped[str | None]
    request_steps: Mapped[list[dict[str, Any]] | None]
    """What the graph that asked did, in order, as `recado.telemetry.steps.Step.as_row` gives it; `answer_steps` is the
    same of the one that took the answer back."""
    answer_steps: Mapped[list[dict[str, Any]] | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SupportClassification(Base):
    """What the model said of a support request, kept so that the same reason is not paid for twice."""

    __tablename__ = "support_classifications"
    __table_args__ = (UniqueConstraint("merchant_id", "reason_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    reason_hash: Mapped[str]
    """SHA-256 of the reason without case, accents and extra spaces."""
    documents_hash: Mapped[str]
    """SHA-256 of the documents that it was classified against: with others it is classified anew."""
    target_user_type: Mapped[str | None]
    support_request_type: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
