"""Opening conversations, and writing what was said in them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from recado.channels.base import InboundMessage, OutboundMedia, Template
from recado.channels.rules import RULES, ChannelRules
from recado.clock import Clock
from recado.conversations.identity import Identities, Known
from recado.conversations.repository import ConversationRepository
from recado.conversations.window import is_open, opens_window
from recado.db.models import Contact, Conversation, MediaFile, Message
from recado.intents import Intent, Progress
from recado.merchants.account import Account
from recado.sync.entries import SyncEntries
from recado.telemetry.tracing import current_trace_id
from recado.text import clean_text, split_text


@dataclass(frozen=True, slots=True)
class Reply:
    """Something to say to a person. `key` makes saying it again harmless.

    `text` goes while the window is open, `template` when it is closed; at least one is given. A template that only
    announces the text has it held until the person opens the window.
    """

    key: str
    text: str | None
    template: Template | None = None
    buttons: Sequence[dict[str, str]] = ()
    other_data: dict[str, Any] = field(default_factory=dict)
    prompt: str | None = None
    turn_id: int | None = None
    by_human: bool = False
    """A person wrote it."""
    media: OutboundMedia | None = None
    role: str = "response"
    """`admin` when a person typed it on the dashboard."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came of an inbound message. `released`: deliveries that were held for it may go, the caller nudges them;
    so they may in `others`, conversations from when this person was taken for somebody else.
    """

    contact: Contact
    conversation: Conversation
    message: Message
    released: bool
    others: tuple[int, ...] = ()


class ConversationService:
    """One merchant's conversations, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self.repository = ConversationRepository(session, merchant_id)
        self.identities = Identities(session, merchant_id)
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock
        self._sync = SyncEntries(session, merchant_id)

    async def open(
        self, account: Account, channel_user_id: str, phone: str | None, name: str | None, *, to_change: bool = False
    ) -> tuple[Contact, Conversation]:
        """The person and their conversation on this account, made when they are new. `to_change` locks the latter."""
        known = await self._open(account, channel_user_id, phone, name, to_change=to_change)
        return known.contact, known.conversation

    async def _open(
        self, account: Account, channel_user_id: str, phone: str | None, name: str | None, *, to_change: bool
    ) -> Known:
        known = await self.identities.find(account.channel, channel_user_id, phone, to_change=to_change)
        if known is not None:
            if name and known.contact.name != name:
                known.contact.name = name
            if known.conversation.channel_account_id != account.id:
                known.conversation.channel_account_id = account.id
            return known
        now = self._clock.now()
        contact = Contact(
            merchant_id=self._merchant_id,
            channel=account.channel,
            channel_user_id=channel_user_id,
            phone=phone,
            name=name,
            created_at=now,
        )
        self._session.add(contact)
        await self._session.flush()
        conversation = Conversation(
            merchant_id=self._merchant_id,
            contact_id=contact.id,
            channel_account_id=account.id,
            created_at=now,
        )
        self._session.add(conversation)
        await self._session.flush()
        await self._sync.opened([conversation.id], now)
        return Known(contact, conversation)

    async def receive(self, account: Account, inbound: InboundMessage, received_at: datetime) -> Received:
        """Write down what a person sent, and that the window is open for 24 hours from when they sent it."""
        name = clean_text(inbound.name)[:200] if inbound.name else None
        known = await self._open(account, inbound.channel_user_id, inbound.phone, name, to_change=True)
        conversation = known.conversation
        message = Message(
            merchant_id=self._merchant_id,
            conversation_id=conversation.id,
            role="user",
            kind=inbound.kind,
            text=clean_text(inbound.text),
            key=inbound_key(account, inbound.provider_message_id),
            provider_message_id=inbound.provider_message_id,
            quoted_provider_message_id=inbound.quoted_provider_message_id,
            attachments=[asdict(attachment) for attachment in inbound.attachments],
            other_data=_other_data(inbound),
            sent_at=inbound.sent_at,
            trace_id=current_trace_id(),
            created_at=received_at,
        )
        self._session.add(message)
        await self._session.flush()
        for position in range(len(inbound.attachments)):
            self._session.add(
                MediaFile(
                    merchant_id=self._merchant_id, message_id=message.id, position=position, created_at=received_at
                )
            )
        await self._sync.said([(conversation.id, message.id)], [], received_at)
        released = await self._open_window(conversation, inbound, received_at)
        # The window is the person's, whichever of their conversations something is held in.
        others = [other.id for other in known.others if await self._open_window(other, inbound, received_at)]
        return Received(known.contact, conversation, message, released, tuple(others))

    async def _open_window(self, conversation: Conversation, inbound: InboundMessage, received_at: datetime) -> bool:
        """Whether deliveries that were held for this may go now."""
        if not opens_window(inbound.kind):
            return False
        written_at = min(inbound.sent_at or received_at, received_at)
        last = conversation.last_inbound_at
        if last is None or written_at > last:
            conversation.last_inbound_at = written_at
        was_closed = not is_open(last, received_at) and is_open(conversation.last_inbound_at, received_at)
        if not was_closed and inbound.button is None:
            return False
        # The window first: who is about to hold something looks at it again, and waits for us or we for them.
        await self._session.flush()
        return await self.repository.release(conversation.id, received_at)

    async def instruct(self, conversation_id: int, key: str, text: str, other_data: dict[str, Any]) -> None:
        """Leave an instruction that only the agent reads, once."""
        await self.instruct_all([(conversation_id, key)], text, other_data)

    async def instruct_all(self, places: Sequence[tuple[int, str]], text: str, other_data: dict[str, Any]) -> None:
        """Leave the same instruction in several conversations, (id, key) each, once."""
        rows = [self._message(conversation_id, "assistant", key, text, other_data) for conversation_id, key in places]
        await self.repository.add_messages(rows)

    async def say(self, conversation: Conversation, contact: Contact, reply: Reply) -> tuple[int, bool]:
        """Write a message to the person and the deliveries that carry it, once. The caller nudges them.

        Returns the message's id, and whether it is new.
        """
        new = await self.say_all([(conversation, contact, reply)])
        if reply.key in new:
            return new[reply.key], True
        return await self.repository.message_id(reply.key), False

    async def say_all(self, said: Sequence[tuple[Conversation, Contact, Reply]]) -> dict[str, int]:
        """The same for several people at once. Returns the ids of the messages that are new, by their keys."""
        rows = []
        for conversation, _, reply in said:
            text = reply.text or (reply.template.text if reply.template else "")
            row = self._message(conversation.id, reply.role, reply.key, text, dict(reply.other_data))
            row |= {"kind": "text" if reply.text else "template", "prompt": reply.prompt, "turn_id": reply.turn_id}
            rows.append(row)
        new = await self.repository.add_messages(rows)
        await self.repository.add_deliveries(
            [
                delivery
                for conversation, contact, reply in said
                if reply.key in new
                for delivery in self._deliveries(conversation, contact, reply, new[reply.key])
            ]
        )
        written = {new[reply.key]: conversation for conversation, _, reply in said if reply.key in new}
        talks = {conversation.id: conversation for conversation in written.values()}
        await self._sync.said(
            [(conversation.id, message_id) for message_id, conversation in written.items()],
            [(conversation_id, state_of(conversation)) for conversation_id, conversation in talks.items()],
            self._clock.now(),
        )
        return new

    async def progressed(self, conversation: Conversation, states: Sequence[Progress]) -> None:
        """Tell the conversation API where a person stands, after all that was said so far."""
        await self._sync.said([], [(conversation.id, state) for state in states], self._clock.now())

    async def link_order(self, conversation_id: int, order_id: str) -> None:
        """An order belongs to this conversation. The caller nudges. Raises ConversationNotFound or SyncOff."""
        conversation, _, _ = await self.repository.get(conversation_id)
        await self._sync.ordered(conversation.id, order_id, self._clock.now())

    def _deliveries(
        self, conversation: Conversation, contact: Contact, reply: Reply, message_id: int
    ) -> list[dict[str, Any]]:
        rules = RULES[contact.channel]
        parts: list[str | None] = [*split_text(reply.text or "", rules.text, rules.size)] or [None]
        if reply.template and reply.template.announces and reply.text:
            parts = [None, *parts]  # the announcement goes alone, and only if the window is closed
        elif reply.media and parts[0] and not _carries(reply.media, parts[0], rules):
            parts = [None, *parts]  # or what fails with one of them would be sent again with both
        now = self._clock.now()
        return [
            {
                "conversation_id": conversation.id,
                "message_id": message_id,
                "channel_account_id": conversation.channel_account_id,
                "part": number,
                "text": part,
                # One template stands for the whole text, however many parts that has.
                "template": stored_template(reply.template) if number == 0 and reply.template else None,
                "buttons": list(reply.buttons) if number == len(parts) - 1 else [],
                "media": asdict(reply.media) if reply.media and number == 0 else None,
                "by_human": reply.by_human,
                "due_at": now,
            }
            for number, part in enumerate(parts)
        ]

    def _message(
        self, conversation_id: int, role: str, key: str, text: str, other_data: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "conversation_id": conversation_id,
            "role": role,
            "kind": "text",
            "text": text,
            "key": key,
            "attachments": [],
            "other_data": other_data,
            "prompt": None,
            "turn_id": None,
            "trace_id": current_trace_id(),
            "created_at": self._clock.now(),
        }


def _carries(media: OutboundMedia, text: str, rules: ChannelRules) -> bool:
    """Whether a file can go with this text as one message. WhatsApp shows none with a sound."""
    longest = rules.text if rules.caption is None else rules.caption
    return media.kind != "audio" and rules.size(text) <= longest


def inbound_key(account: Account, provider_message_id: str) -> str:
    """The key of the message that the provider calls this."""
    return f"in:{account.channel}:{account.id}:{provider_message_id}"


def _other_data(inbound: InboundMessage) -> dict[str, Any]:
    kept: dict[str, Any] = {"button": inbound.button} if inbound.button else {}
    if inbound.about_provider_message_id:
        kept["about"] = inbound.about_provider_message_id
    if inbound.data:
        kept["data"] = dict(inbound.data)
    return kept


def state_of(conversation: Conversation) -> Progress:
    """Where the person of a conversation stands."""
    return Progress(intent=cast(Intent | None, conversation.intent), step=conversation.step)


def stored_template(template: Template) -> dict[str, Any]:
    """A template as `Delivery.template` keeps it."""
    return {
        "name": template.name,
        "language": template.language,
        "variables": dict(template.variables),
        "text": template.text,
        "buttons": [dict(button) for button in template.buttons],
        "announces": template.announces,
    }


def read_template(stored: dict[str, Any]) -> Template:
    """A template as it was before it was stored."""
    return Template(**stored | {"buttons": tuple(stored.get("buttons", ()))})
