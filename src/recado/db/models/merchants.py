"""The tenant and what is configured for it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, EncryptedJSON, UtcDateTime


class Merchant(Base):
    """The tenant. `sub_domain` is its name in the conversation API."""

    __tablename__ = "merchants"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sub_domain: Mapped[str] = mapped_column(unique=True)
    local_id: Mapped[str | None]
    bot_id: Mapped[str | None]
    language: Mapped[str] = mapped_column(default="es")
    timezone: Mapped[str] = mapped_column(default="UTC")
    reminder_minutes: Mapped[int] = mapped_column(default=15, server_default="15")
    """How long the staff that was asked may be silent before it is reminded."""
    escalation_minutes: Mapped[int] = mapped_column(default=60, server_default="60")
    """How long until all admins are asked as well, and the customer hears that nobody has replied yet."""
    template_texts: Mapped[dict[str, Any] | None]
    """The merchant's own words for templates: {template name: {language: text}}."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ChannelAccount(Base):
    """One address of a merchant on one channel, with its own credentials. Merchants that share one have a row each."""

    __tablename__ = "channel_accounts"
    # In this order, because ingest looks for the accounts of an address.
    __table_args__ = (UniqueConstraint("channel", "address", "merchant_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"), index=True)
    channel: Mapped[str]
    address: Mapped[str]
    credentials: Mapped[dict[str, Any]] = mapped_column(EncryptedJSON)
    templates: Mapped[dict[str, Any]]
    """Provider ids of approved templates: {template name: id, or {language: id}}."""
    active: Mapped[bool] = mapped_column(default=True)
    shared: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether other merchants may have the same address, which then say so too."""


class MerchantUser(Base):
    """A member of the merchant's staff. Inactive once the merchant's YAML no longer names them."""

    __tablename__ = "merchant_users"
    __table_args__ = (UniqueConstraint("merchant_id", "phone"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    name: Mapped[str]
    phone: Mapped[str]
    types: Mapped[list[str]]
    active: Mapped[bool] = mapped_column(default=True)


class ApiKey(Base):
    """A key of one merchant for the REST API. Only its hash is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("key_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"), index=True)
    name: Mapped[str]
    hint: Mapped[str]
    """The key's first characters, to tell keys apart by."""
    key_hash: Mapped[str]
    """SHA-256 in hex: the key is random, so no slower hash is needed."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
