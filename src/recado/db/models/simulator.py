"""The simulator's own telephone network: what a provider would hold, not what Recado does."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime


class SimulatorMessage(Base):
    """A message on the simulated network. Direction `in` is from the person, `out` to the person."""

    __tablename__ = "simulator_messages"
    __table_args__ = (
        UniqueConstraint("address", "direction", "client_reference"),
        Index("ix_simulator_messages_phone_position", "phone", "position"),
    )

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(index=True)
    """The provider message id, unique per account."""
    address: Mapped[str]
    phone: Mapped[str]
    direction: Mapped[str]
    client_reference: Mapped[str]
    """What the sender calls it, so that sending it again is harmless."""
    kind: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    template: Mapped[dict[str, Any] | None]
    buttons: Mapped[list[dict[str, Any]]]
    reply_to: Mapped[str | None]
    content: Mapped[dict[str, Any] | None]
    """What is no text: {attachments?: [{kind, source, content_type, filename, voice, size}], location?: {latitude,
    longitude, name?}} of a person's, {media: {kind, url, filename}} of ours."""
    status: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class SimulatorClock(Base):
    """How far the system's clock has been advanced. One row."""

    __tablename__ = "simulator_clock"

    id: Mapped[int] = mapped_column(primary_key=True)
    offset_seconds: Mapped[float]
