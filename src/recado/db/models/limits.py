"""How much may still be sent."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime


class SendLimit(Base):
    """One bucket: until when it is used up if nothing more is sent (the theoretical arrival time of GCRA).

    Keys are of our own making: `account:…`, `pair:…`, and others for what is done only once in a while.
    """

    __tablename__ = "send_limits"

    key: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime] = mapped_column(UtcDateTime)


class NewRecipient(Base):
    """A person whom a portfolio wrote to outside their window: counted for 24 hours from `at`."""

    __tablename__ = "new_recipients"
    __table_args__ = (Index("ix_new_recipients_portfolio_at", "portfolio", "at"),)

    portfolio: Mapped[str] = mapped_column(primary_key=True)
    channel_user_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
