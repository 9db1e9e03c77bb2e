"""What a human of the merchant writes to a person, over HTTP."""

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self, cast
from uuid import uuid4

from fastapi import APIRouter, Response
from pydantic import AnyUrl, ConfigDict, Field, UrlConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns import templates
from recado.channels.base import OutboundMedia, Template, template_id
from recado.channels.rules import RULES
from recado.conversations import window
from recado.conversations.listing import ConversationListing, ListedMessage
from recado.conversations.service import ConversationService, Reply
from recado.db.models import Contact, Conversation, Merchant
from recado.errors import CannotWrite, InvalidInput
from recado.http.api.common import Body, Name, PathId, Text
from recado.http.api.conversations import MessageSchema, message_schema
from recado.http.api.notifications import IdempotencyKey
from recado.http.auth import MerchantId
from recado.http.errors import MEDIA_TYPE
from recado.http.services import HttpServices
from recado.merchants.account import Account
from recado.merchants.repository import MerchantRepository

ADMIN = "admin"
MAX_BUTTONS = 10
"""The rows of a list on WhatsApp."""
LONGEST_TITLE = 20
LONGEST_DESCRIPTION = 72
NO_TEMPLATE = f"this goes only as free text (a text could be announced by the template {templates.ANSWER_READY})"

CLOSED = {
    "type": "about:blank",
    "title": "Cannot write to them now",
    "status": 409,
    "detail": "the window is closed since 2026-05-02 12:00 UTC, 24 hours after their last message, and "
    f"{NO_TEMPLATE}: wait until they write",
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {
        "description": "The window is closed, or the person has opted out",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": CLOSED}},
    }
}


class NewMedia(Body):
    """A file that the channel fetches for the person."""

    kind: Literal["image", "audio", "video", "document"]
    url: Annotated[AnyUrl, UrlConstraints(max_length=2_000, allowed_schemes=["https"], host_required=True)]
    filename: Name | None = None


class NewButton(Body):
    """A choice that the person can tap. `id` comes back with the tap; the description is shown in lists only."""

    id: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
    title: Annotated[Text, Field(max_length=LONGEST_TITLE)]
    description: Annotated[Text, Field(max_length=LONGEST_DESCRIPTION)] | None = None


class NewMessage(Body):
    """A text, a file, or both. Up to three buttons are buttons, more are a list; they need a text."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"text": "Hola, Ana: soy Rosa, de la bodega. Tu pedido sale hoy.", "key": "order-17-sent"},
                {"text": "El menú", "media": {"kind": "document", "url": "https://example.com/menu.pdf"}},
                {"text": "¿Cuándo?", "buttons": [{"id": "today", "title": "Hoy"}, {"id": "later", "title": "Mañana"}]},
            ]
        },
    )

    text: Text | None = None
    media: NewMedia | None = None
    buttons: Annotated[list[NewButton], Field(default_factory=list, max_length=MAX_BUTTONS)]
    key: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")] | None = Field(
        default=None, description="The same as the header Idempotency-Key"
    )

    @model_validator(mode="after")
    def _something_to_say(self) -> Self:
        if self.text is None and (self.media is None or self.buttons):
            raise ValueError("buttons need a text" if self.buttons else "there is nothing to say: give text or media")
        if len({button.id for button in self.buttons}) < len(self.buttons):
            raise ValueError("two buttons have the same id")
        return self

    def reply(self, key: str) -> Reply:
        """As the conversation takes it."""
        named = self.media
        media = OutboundMedia(named.kind, str(named.url), named.filename) if named else None
        buttons = [button.model_dump(exclude_none=True) for button in self.buttons]
        shown: dict[str, Any] = {"media": asdict(media)} if media else {}
        shown |= {"buttons": buttons} if buttons else {}
        return Reply(key, self.text, buttons=buttons, other_data=shown, by_human=True, media=media, role=ADMIN)


def router(services: HttpServices) -> APIRouter:
    """The route, on these services."""
    routes = APIRouter(prefix="/conversation/conversations", tags=["conversations"])
    routes.add_api_route(
        "/{conversation_id}/messages",
        RepliesApi(services).write_message,
        methods=["POST"],
        status_code=201,
        responses=CONFLICT,
        summary="Write to the person",
    )
    return routes


class RepliesApi:
    """The handler."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._clock = services.clock
        self._nudges = services.nudges

    async def write_message(
        self,
        merchant_id: MerchantId,
        conversation_id: PathId,
        body: NewMessage,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> MessageSchema:
        """A human of the merchant writes. While the window is closed it goes by what the channel has for that: on
        Instagram for seven days; on WhatsApp a template tells that it is there, and the tap on its button shows it.
        """
        named = idempotency_key or body.key
        key = f"{ADMIN}:{named or uuid4().hex}"
        async with self._database.transaction() as session:
            listing = ConversationListing(session, merchant_id)
            found = await listing.by_key(key) if named else None
            if found is None:
                found = await self._write(session, merchant_id, conversation_id, body.reply(key))
        _check_same(found, conversation_id, body.reply(key))
        await self._nudges.deliver(conversation_id, merchant_id)
        return message_schema(found)

    async def _write(
        self, session: AsyncSession, merchant_id: int, conversation_id: int, reply: Reply
    ) -> ListedMessage:
        service = ConversationService(session, merchant_id, self._clock)
        conversation, contact, merchant = await service.repository.get(conversation_id)
        account = await MerchantRepository(session, merchant_id).account(conversation.channel_account_id)
        now = self._clock.now()
        _check_wanted(contact)
        if not window.is_open(conversation.last_inbound_at, now):
            reply = replace(reply, template=_announcement(reply, conversation, contact, merchant, account))
        if _way(reply, conversation, contact, now) is None:
            raise CannotWrite(_why_not(conversation, contact))
        await service.say(conversation, contact, reply)
        # It is there by now, from here or from another request with the same key.
        return cast(ListedMessage, await ConversationListing(session, merchant_id).by_key(reply.key))


def _check_wanted(contact: Contact) -> None:
    """Raises CannotWrite where the person, or this contact of theirs, is not to be written to."""
    if contact.opt_out == "all":
        raise CannotWrite("the person has opted out of messages: they have to write START first")
    if contact.superseded_by_id is not None:
        raise CannotWrite(
            f"this person is conversation_user_id {contact.superseded_by_id} by now: write in the conversation of that"
        )


def _announcement(
    reply: Reply, conversation: Conversation, contact: Contact, merchant: Merchant, account: Account
) -> Template | None:
    """The template that tells of a text while the window is closed. None: the channel or the account has none, or it is
    a file, which would have to go with it.
    """
    language = conversation.language or merchant.language
    name = contact.name or templates.CUSTOMER[templates.language_of(templates.ANSWER_READY, language)]
    template = templates.fill(templates.ANSWER_READY, language, {"lead_name": name}, merchant.template_texts)
    is_there = template_id(account, template.name, template.language) is not None
    return template if is_there and RULES[contact.channel].templates and reply.media is None else None


def _way(reply: Reply, conversation: Conversation, contact: Contact, now: datetime) -> window.Way | None:
    has_template = reply.template is not None
    return window.way(contact.channel, conversation.last_inbound_at, now, has_template=has_template, by_human=True)


def _why_not(conversation: Conversation, contact: Contact) -> str:
    """Why the person cannot be written to, and until when it was possible."""
    rules, last = RULES[contact.channel], conversation.last_inbound_at
    if last is None:
        return "the person has never written, so the window has never been open: wait until they write"
    longest = max(window.WINDOW, rules.human or window.WINDOW)
    until = f"{last + longest:%Y-%m-%d %H:%M} UTC, {longest / timedelta(hours=1):.0f} hours after their last message"
    without = f"{contact.channel} has no templates" if not rules.templates else NO_TEMPLATE
    return f"the window is closed since {until}, and {without}: wait until they write"


def _check_same(found: ListedMessage, conversation_id: int, reply: Reply) -> None:
    """A key stands for one message. Raises InvalidInput."""
    message = found.message
    same = (message.conversation_id, message.text, message.other_data)
    if same != (conversation_id, reply.text or "", reply.other_data):
        raise InvalidInput("this key was used for another message", "Idempotency-Key")
