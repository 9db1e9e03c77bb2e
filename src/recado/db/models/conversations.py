"""People, their threads, and what was said and sent in them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from recado.db.base import Base, UtcDateTime

PENDING_MESSAGE = text("role = 'user' AND turn_id IS NULL")
"""A message that no turn has taken. Queries must use this very condition: SQLite takes a partial index for no other."""

OF_A_TURN = text("turn_id IS NOT NULL")

UNSENT_DELIVERY = text("state IN ('pending', 'sending')")
"""A delivery that is not sent yet."""

HELD_DELIVERY = text("state = 'held'")
"""Free text that waits for the person to open the window: a template has told them that it is ready."""


class Contact(Base):
    """A person on a channel. The phone number is an attribute and may be missing.

    `channel_user_id` changes when the provider says so: a phone number turns out to have a business-scoped user id, or
    a person has another number.
    """

    __tablename__ = "contacts"
    __table_args__ = (UniqueConstraint("merchant_id", "channel", "channel_user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    channel: Mapped[str]
    channel_user_id: Mapped[str]
    phone: Mapped[str | None] = mapped_column(index=True)
    name: Mapped[str | None]
    opt_out: Mapped[str | None]
    """`all`: they want no messages. `marketing`: they want nothing that they did not ask for. None: neither."""
    opt_out_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When `opt_out` was last changed."""
    superseded_by_id: Mapped[int | None]
    """The contact that is used for this person instead: they were here twice, with and without their number."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Conversation(Base):
    """The endless thread between one contact and one merchant on one channel."""

    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"), index=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id"), unique=True)
    channel_account_id: Mapped[int] = mapped_column(ForeignKey("channel_accounts.id"))
    language: Mapped[str | None]
    summary: Mapped[str] = mapped_column(Text, default="")
    summarised_through: Mapped[int] = mapped_column(default=0)
    """The id of the last message that `summary` covers."""
    intent: Mapped[str | None]
    """What the person is about, one of `recado.intents.INTENTS`. None: no turn has told yet."""
    step: Mapped[str | None]
    """How far they have come with that, as one word: `waiting_for_team`."""
    api_context: Mapped[dict[str, Any] | None]
    """What the conversation API last said of them in its own keys, but the messages: cart, address, payment, orders."""
    last_inbound_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the person last wrote: WhatsApp's window is open for 24 hours from then. None: it is closed, because they
    never did, or because the provider said so."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Message(Base):
    """One row of a conversation. Role: `user`, `response`, `assistant` or `admin`."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("merchant_id", "key"),
        Index("ix_messages_conversation_id_id", "conversation_id", "id"),
        Index(
            "ix_messages_pending",
            "conversation_id",
            postgresql_where=PENDING_MESSAGE,
            sqlite_where=PENDING_MESSAGE,
        ),
        Index("ix_messages_turn_id", "turn_id", postgresql_where=OF_A_TURN, sqlite_where=OF_A_TURN),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    role: Mapped[str]
    kind: Mapped[str] = mapped_column(default="text")
    text: Mapped[str] = mapped_column(Text)
    key: Mapped[str]
    """Makes writing it again harmless: an inbound message's provider id, an outbound one's turn and step."""
    provider_message_id: Mapped[str | None]
    quoted_provider_message_id: Mapped[str | None]
    attachments: Mapped[list[dict[str, Any]]]
    other_data: Mapped[dict[str, Any]]
    prompt: Mapped[str | None]
    """The prompt that produced it: its name and the first 12 hex digits of its SHA-256."""
    turn_id: Mapped[int | None] = mapped_column(ForeignKey("turns.id"))
    """The turn that answers (an inbound message) or made it (an outbound one)."""
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the person sent it, by the provider's clock; `created_at` is when it arrived here."""
    trace_id: Mapped[str | None]
    """The trace in which it was received or written: 32 hex digits."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Delivery(Base):
    """One outbound send. State: pending, sending, sent, delivered, read, failed; or held, until the window opens; or
    skipped, when it turned out not to be needed.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("message_id", "part"),
        Index(
            "ix_deliveries_unsent",
            "conversation_id",
            "id",
            postgresql_where=UNSENT_DELIVERY,
            sqlite_where=UNSENT_DELIVERY,
        ),
        Index("ix_deliveries_held", "conversation_id", postgresql_where=HELD_DELIVERY, sqlite_where=HELD_DELIVERY),
        Index("ix_deliveries_provider_message_id", "provider_message_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"))
    channel_account_id: Mapped[int] = mapped_column(ForeignKey("channel_accounts.id"))
    part: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(default="pending")
    text: Mapped[str | None] = mapped_column(Text)
    """Free text, for an open window. None: this may only go as its template."""
    template: Mapped[dict[str, Any] | None]
    """{name, language, variables, text, buttons, announces}, for a closed window. None: there is no way outside it.
    `announces`: it only tells that the message is ready; the message's other parts are held until the window opens."""
    buttons: Mapped[list[dict[str, Any]]]
    """{id, title, description?}: up to three are buttons, more are the rows of a list."""
    media: Mapped[dict[str, Any] | None]
    """{kind, url, filename}: a file that goes with the text."""
    by_human: Mapped[bool] = mapped_column(default=False, server_default=false())
    """A person wrote it, which some channels take for longer than 24 hours."""
    sent_as: Mapped[str | None]
    """`text`, `human` (text outside the window that a person wrote) or `template`, decided at the moment of sending."""
    slot_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the limits let it go. None: they have not been asked yet."""
    provider_message_id: Mapped[str | None]
    provider_code: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    claimed_by: Mapped[str | None]
    """The process that is sending it."""
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sending_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class MediaFile(Base):
    """A file that a person sent. State: `pending`; then `stored`, `refused` (it must not be kept) or `failed` (it could
    not be fetched); `removed` once the person has taken it back. `error` says why.
    """

    __tablename__ = "media_files"
    __table_args__ = (UniqueConstraint("message_id", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"))
    position: Mapped[int]
    """Which of the message's attachments it is, from 0."""
    state: Mapped[str] = mapped_column(default="pending", server_default="pending")
    content_type: Mapped[str | None]
    """What its bytes are, once it is stored."""
    size: Mapped[int | None]
    sha256: Mapped[str | None]
    path: Mapped[str | None]
    """Where it is under MEDIA_DIR."""
    transcript: Mapped[str | None] = mapped_column(Text)
    """What is said in it. Empty: nothing; None: nobody has listened."""
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
