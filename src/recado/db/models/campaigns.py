"""A merchant's named template messages, and who was sent them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime


class Campaign(Base):
    """A named template message of a merchant and how it is sent. Type: `service`."""

    __tablename__ = "campaigns"
    __table_args__ = (UniqueConstraint("merchant_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    name: Mapped[str]
    """Also the name of its template."""
    campaign_type: Mapped[str] = mapped_column(default="service")
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CampaignLead(Base):
    """One recipient of one send of a campaign."""

    __tablename__ = "campaign_leads"
    __table_args__ = (
        UniqueConstraint("message_id"),
        Index("ix_campaign_leads_campaign_id_id", "campaign_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id"))
    """The recipient: `conversation_user_id` to the outside."""
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"))
    variables: Mapped[dict[str, Any]]
    """The template's variables, as they were filled in."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
