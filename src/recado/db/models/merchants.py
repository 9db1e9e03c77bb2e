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
    waba_id: Mapped[str | None] = mapped_column(index=True)
    """Meta's WhatsApp Business Account, which owns templates. Not secret: events are found by it."""
    portfolio: Mapped[str | None]
    """The business portfolio whose cap of new recipients it shares. None: the account stands for itself."""
    per_second: Mapped[float | None]
    """How many messages a second it may send. None: what its channel allows."""
    daily_limit: Mapped[int | None]
    """How many new people its portfolio may write to within 24 hours, outside windows. None: what its channel allows;
    0: as many as it likes."""
    approvals: Mapped[dict[str, Any] | None]
    """What the provider says of templates: {name: {language: {status, id, reason, category}}}."""
    caught_up_to: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Until when all that the provider has was taken in. None: nobody has looked yet."""


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


class StaffLink(Base):
    """A channel's user id that is a member of the staff, proven with a code: their number may be hidden there."""

    __tablename__ = "staff_links"
    __table_args__ = (UniqueConstraint("merchant_id", "channel", "channel_user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    merchant_user_id: Mapped[int] = mapped_column(ForeignKey("merchant_users.id"), index=True)
    channel: Mapped[str]
    channel_user_id: Mapped[str]
    linked_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LinkCode(Base):
    """A one-time code with which a member of the staff links the account that they write from. Its hash is kept."""

    __tablename__ = "link_codes"
    __table_args__ = (UniqueConstraint("code_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    merchant_user_id: Mapped[int] = mapped_column(ForeignKey("merchant_users.id"), index=True)
    code_hash: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


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
