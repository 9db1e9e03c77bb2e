"""Conversations and what was said in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from recado.clock import Clock
from recado.conversations import window
from recado.conversations.listing import ConversationListing, ListedMessage
from recado.conversations.service import ConversationService
from recado.db.models import Contact, Conversation, MediaFile
from recado.http.api.common import DEFAULT_PAGE_SIZE, Name, Page, PageSize, PathId, PhoneNumber, WantedPage
from recado.http.auth import MAX_ID, MerchantId
from recado.http.services import HttpServices
from recado.intents import INTENTS
from recado.media.repository import MediaRepository


def _with_plus(phone: Any) -> Any:
    """In a query an unescaped + means a space."""
    return f"+{phone.strip()}" if isinstance(phone, str) and phone.strip().isdecimal() else phone


QueriedPhone = Annotated[
    PhoneNumber,
    BeforeValidator(_with_plus),
    Query(description="E.164: +51911111111, its + escaped as %2B or left out", examples=["51911111111"]),
]


class PersonSchema(BaseModel):
    """The person on the other side. The phone number may be missing: WhatsApp users can hide it."""

    conversation_user_id: int
    channel: str
    channel_user_id: str
    phone: str | None
    name: str | None
    opt_out: str | None = Field(
        None, description="`all`: they want no messages; `marketing`: nothing that they did not ask for"
    )


class ConversationSchema(BaseModel):
    """The endless thread with one person. Free text may be sent while `window_open`; what a human writes on Instagram
    for seven days after their last message; templates always, where the channel has them.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 3,
                    "person": {
                        "conversation_user_id": 3,
                        "channel": "twilio",
                        "channel_user_id": "+51911111111",
                        "phone": "+51911111111",
                        "name": "Ana",
                        "opt_out": None,
                    },
                    "language": "es",
                    "intent": "info",
                    "step": "waiting_for_team",
                    "last_inbound_at": "2026-05-01T12:00:00Z",
                    "window_open": True,
                    "created_at": "2026-04-30T09:30:00Z",
                }
            ]
        }
    )

    id: int
    person: PersonSchema
    language: str | None
    intent: str | None = Field(description=f"What a customer is about: {', '.join(INTENTS)}; null: not known yet")
    step: str | None = Field(description="How far they have come with it")
    last_inbound_at: datetime | None
    window_open: bool
    created_at: datetime


class AttachmentSchema(BaseModel):
    """A file that came with a message. State: `pending`, `stored` (`GET /media/{id}` has it), `refused`, `failed`, or
    `removed`, when the person has taken it back. `transcript`: what is said in it.
    """

    model_config = ConfigDict(from_attributes=True)

    id: int
    state: str
    content_type: str | None
    size: int | None
    transcript: str | None
    error: str | None


class MessageSchema(BaseModel):
    """One message. Role: `user` (from the person), `response` (to the person), `assistant` (an instruction that only
    the agent reads) or `admin` (typed by a human). `delivery_state` is that of the part that came least far; null for
    what is not sent to anybody.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 21,
                    "role": "response",
                    "kind": "text",
                    "text": "Sí, abrimos los domingos de 9 a 13.",
                    "other_data": {"notification_id": 12, "notification_id_prefixed": "NOTIF_12"},
                    "delivery_state": "read",
                    "attachments": [],
                    "created_at": "2026-05-01T12:00:00Z",
                }
            ]
        }
    )

    id: int
    role: str
    kind: str
    text: str
    other_data: dict[str, Any]
    delivery_state: str | None
    attachments: list[AttachmentSchema] = []
    created_at: datetime


class LinkedOrder(BaseModel):
    """An order, by the id that it has where orders are kept."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"order_id": "66f2a1c09b1e8a0012ab34cd"}]}
    )

    order_id: Name


class MessagesPage(BaseModel):
    """Messages in the order in which they were written. `next_before` leads to the older ones; null: there are none."""

    items: list[MessageSchema]
    total: int
    page_size: int
    next_before: int | None = Field(description="Pass it as `before`")


def router(services: HttpServices) -> APIRouter:
    """The routes, on these services."""
    api = ConversationsApi(services)
    routes = APIRouter(prefix="/conversation/conversations", tags=["conversations"])
    routes.add_api_route("", api.list_conversations, methods=["GET"], summary="Conversations, newest first")
    routes.add_api_route("/{conversation_id}", api.get_conversation, methods=["GET"], summary="One conversation")
    routes.add_api_route(
        "/{conversation_id}/messages", api.list_messages, methods=["GET"], summary="Its messages, newest last"
    )
    routes.add_api_route(
        "/{conversation_id}/orders",
        api.link_order,
        methods=["POST"],
        status_code=202,
        summary="Link an order, in the conversation API",
    )
    return routes


class ConversationsApi:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._clock = services.clock
        self._nudges = services.nudges

    async def list_conversations(
        self, merchant_id: MerchantId, paging: WantedPage, phone: QueriedPhone | None = None
    ) -> Page[ConversationSchema]:
        """The merchant's conversations with customers and staff; with `phone`, those with that person."""
        async with self._database.read() as session:
            listing = ConversationListing(session, merchant_id)
            rows, total = await listing.page(phone, paging.page_size, paging.offset)
        return paging.of((_conversation(*row, self._clock) for row in rows), total)

    async def get_conversation(self, merchant_id: MerchantId, conversation_id: PathId) -> ConversationSchema:
        """One conversation with its person."""
        async with self._database.read() as session:
            found = await ConversationListing(session, merchant_id).get(conversation_id)
        return _conversation(*found, self._clock)

    async def list_messages(
        self,
        merchant_id: MerchantId,
        conversation_id: PathId,
        before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only messages older than this one")] = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
    ) -> MessagesPage:
        """The newest messages, or with `before` the newest of those that are older."""
        async with self._database.read() as session:
            listing = ConversationListing(session, merchant_id)
            rows, total = await listing.messages(conversation_id, before, page_size + 1)
            with_files = [row.message.id for row in rows if row.message.attachments]
            files = await MediaRepository(session, merchant_id).of_messages(with_files)
        more, rows = len(rows) > page_size, rows[-page_size:]
        return MessagesPage(
            items=[message_schema(row, files.get(row.message.id, ())) for row in rows],
            total=total,
            page_size=page_size,
            next_before=rows[0].message.id if more else None,
        )

    async def link_order(self, merchant_id: MerchantId, conversation_id: PathId, order: LinkedOrder) -> LinkedOrder:
        """Becomes the conversation's current order there, and one of its history. Linking it again changes nothing."""
        async with self._database.transaction() as session:
            await ConversationService(session, merchant_id, self._clock).link_order(conversation_id, order.order_id)
        await self._nudges.sync()
        return order


def _conversation(conversation: Conversation, contact: Contact, clock: Clock) -> ConversationSchema:
    return ConversationSchema(
        id=conversation.id,
        person=PersonSchema(
            conversation_user_id=contact.id,
            channel=contact.channel,
            channel_user_id=contact.channel_user_id,
            phone=contact.phone,
            name=contact.name,
            opt_out=contact.opt_out,
        ),
        language=conversation.language,
        intent=conversation.intent,
        step=conversation.step,
        last_inbound_at=conversation.last_inbound_at,
        window_open=window.is_open(conversation.last_inbound_at, clock.now()),
        created_at=conversation.created_at,
    )


def message_schema(row: ListedMessage, files: Sequence[MediaFile] = ()) -> MessageSchema:
    """A message with its files as the API shows it."""
    message = row.message
    return MessageSchema(
        id=message.id,
        role=message.role,
        kind=message.kind,
        text=message.text,
        other_data=message.other_data,
        delivery_state=row.delivery_state,
        attachments=[AttachmentSchema.model_validate(file) for file in files],
        created_at=message.created_at,
    )
