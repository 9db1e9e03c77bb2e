"""What the agent is told at the start of a turn: who is there, what was said, what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict  # Pydantic, and so Studio's schemas, need this one before Python 3.12

from recado.clock import Clock
from recado.conversations.repository import ConversationRepository
from recado.conversations.service import ConversationService, state_of
from recado.conversations.window import opens_window
from recado.db.models import MediaFile, Merchant, Message
from recado.documents.knowledge import Knowledge
from recado.errors import NotFound
from recado.intents import Intent
from recado.language import clear_language
from recado.media.repository import MediaRepository
from recado.merchants.repository import MerchantRepository
from recado.notifications.schemas import Pending
from recado.notifications.service import NotificationService
from recado.notifications.types import add_prefix, read_prefixed
from recado.sync.mapping import order_facts
from recado.text import shorten
from recado.turns.reading import MAX_CHARACTERS, read_message
from recado.turns.repository import TurnRepository

SHOW_ANSWER, ANSWER = "show_answer", "answer"
"""What a tap brings back: of the button that opens a long answer, and of the one under a request to the staff."""

TAPPED, ASKED_FOR = "tapped", "asked for"
"""Why a notification is meant: its *Answer* button was tapped; the agent asked for its answer then."""


Files = Mapping[int, Sequence[MediaFile]]
"""The files that came with messages, by the messages' ids."""


class Incoming(TypedDict):
    """One message that waits for an answer. `quoted`: the notification whose message it quotes. `button`: the id of
    the one that was tapped.

    `words`: what the person said, where `text` has notes of ours as well. `images`: media ids of what the model is
    shown. `handled`: it was dealt with when it arrived, and needs no answer.
    """

    kind: str
    text: str
    quoted: str | None
    button: NotRequired[str]
    words: NotRequired[str]
    images: NotRequired[list[int]]
    handled: NotRequired[str]


class Line(TypedDict):
    """One line of the history. Role: user, assistant, or system for an instruction."""

    id: int
    role: Literal["user", "assistant", "system"]
    text: str


class Loaded(TypedDict):
    """The start of a turn, as plain data.

    `current_intent`, `current_step`: where a customer stands; `order`: what the conversation API knows of their cart,
    address, payment and orders. Staff have none of these.
    """

    merchant_id: int
    merchant: str
    conversation_id: int
    language: str
    role: Literal["customer", "staff"]
    person_name: str | None
    merchant_user_id: int | None
    summary: str
    history: list[Line]
    incoming: list[Incoming]
    documents: list[dict[str, str]]
    pending: list[Pending]
    target: dict[str, str] | None
    answerable: list[str] | None
    current_intent: Intent | None
    current_step: str | None
    order: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """What a run starts from: a turn (in production), or a text from a phone (in Studio)."""

    merchant_id: int
    conversation_id: int
    turn_id: int | None = None
    text: str | None = None


async def open_by_phone(session: AsyncSession, clock: Clock, sub_domain: str, phone: str) -> tuple[int, int]:
    """(merchant id, conversation id) of a phone with a merchant's first account, made when new. Raises NotFound."""
    merchant = await session.scalar(select(Merchant).where(Merchant.sub_domain == sub_domain))
    if merchant is None:
        raise NotFound(f"no merchant {sub_domain!r}: run `recado apply` with it")
    account = await MerchantRepository(session, merchant.id).first_account()
    if account is None:
        raise NotFound(f"merchant {sub_domain!r} has no channel")
    _, conversation = await ConversationService(session, merchant.id, clock).open(account, phone, phone, None)
    return merchant.id, conversation.id


async def load_context(session: AsyncSession, clock: Clock, given: Given, window: int) -> Loaded:
    """Everything that a turn needs, in a handful of queries whatever the length of the thread.

    Raises ConversationNotFound.
    """
    conversations = ConversationRepository(session, given.merchant_id)
    conversation, contact, merchant = await conversations.get(given.conversation_id)
    person = await MerchantRepository(session, given.merchant_id).staff_of(contact)
    messages = await TurnRepository(session, given.merchant_id).messages(given.turn_id) if given.turn_id else []
    history = await conversations.history(conversation.id, conversation.summarised_through, window)
    brought = [message.id for message in (*history, *messages) if message.attachments]
    files = await MediaRepository(session, given.merchant_id).of_messages(brought)
    incoming = await _incoming(conversations, conversation.id, messages, files)
    if given.text is not None:
        incoming.append(Incoming(kind="text", text=given.text, quoted=None))
    loaded = Loaded(
        merchant_id=merchant.id,
        merchant=merchant.name,
        conversation_id=conversation.id,
        language=heard_language(incoming) or conversation.language or merchant.language,
        role="staff" if person else "customer",
        person_name=person.name if person else contact.name,
        merchant_user_id=person.id if person else None,
        summary=conversation.summary,
        history=_lines(history, given.turn_id, files),
        incoming=incoming,
        documents=[],
        pending=[],
        target=None,
        answerable=None,
        current_intent=None,
        current_step=None,
        order={},
    )
    if person is None:
        stands = state_of(conversation)
        loaded["current_intent"], loaded["current_step"] = stands["intent"], stands["step"]
        loaded["order"] = order_facts(conversation.api_context or {})
    else:
        pending = await NotificationService(session, given.merchant_id, clock).pending()
        loaded["pending"] = pending
        loaded["target"], loaded["answerable"] = which_notification(incoming, pending, **_asked(history))
    return loaded


def is_silent(message: Incoming) -> bool:
    """Whether nobody answers this: it is no message, or all that it asks for is done or under way already.

    Who edits a message says something new, although that opens no window.
    """
    if message.get("handled"):
        return True
    is_said = opens_window(message["kind"]) or message["kind"] == "edit"
    return not is_said or message.get("button") == SHOW_ANSWER


def words_of(message: Incoming) -> str:
    """What the person said themselves."""
    return message.get("words", message["text"])


def heard_language(incoming: list[Incoming]) -> str | None:
    """The language in which a person clearly writes now; None where the one that was kept stays."""
    written = [message for message in incoming if not is_silent(message) and "button" not in message]
    return clear_language("\n".join(map(words_of, written)))


def which_notification(
    incoming: list[Incoming], pending: list[Pending], asked_which: bool, asked_for: str | None = None
) -> tuple[dict[str, str] | None, list[str] | None]:
    """Which notification a staff member's messages are about, and which ones the agent may answer for them.

    A quoted message decides, else a named id, else the one whose answer they were just asked for, else the only open
    one. When several are open and none of these says which, nothing may be answered until the person was asked. A tap
    alone says which, and answers nothing yet.
    """
    quoted = list(dict.fromkeys(message["quoted"] for message in incoming if message["quoted"]))
    named = [add_prefix(number) for number in read_prefixed("\n".join(map(words_of, incoming)))]
    open_ids = [notification["notification_id"] for notification in pending]
    only_taps = bool(incoming) and all(message.get("button") == ANSWER for message in incoming)
    asked = [asked_for] if asked_for else []
    for because, found in (("quoted", quoted), ("named", named), (ASKED_FOR, asked), ("only one open", open_ids)):
        if len(found) == 1 and only_taps:
            is_open = found[0] in open_ids
            return {"notification_id": found[0], "because": TAPPED if is_open else f"{TAPPED}, but it is closed"}, []
        if len(found) == 1:
            return {"notification_id": found[0], "because": because}, found
        if found and because != "only one open":
            return None, [] if only_taps else found
    return None, None if asked_which and not only_taps else []


class _Asked(TypedDict):
    asked_which: bool
    asked_for: str | None


def _asked(history: list[Message]) -> _Asked:
    """What the agent has just asked a member of the staff. A request that came since then may be meant as well."""
    responses = [message for message in history if message.role == "response"]
    last = responses[-1].other_data if responses else {}
    return _Asked(asked_which=bool(last.get("asked_which")), asked_for=last.get("asked_for"))


async def _incoming(
    conversations: ConversationRepository, conversation_id: int, messages: list[Message], files: Files
) -> list[Incoming]:
    quoting = [m.quoted_provider_message_id for m in messages if m.quoted_provider_message_id]
    quoted = await conversations.quoted(conversation_id, quoting) if quoting else {}
    incoming = []
    for message in messages:
        source = quoted.get(message.quoted_provider_message_id or "")
        notification_id = source.other_data.get("notification_id_prefixed") if source else None
        read = read_message(message, files.get(message.id, ()))
        found = Incoming(kind=message.kind, text=read.text, quoted=notification_id)
        if read.words != read.text:
            found["words"] = read.words
        if read.images:
            found["images"] = list(read.images)
        if message.other_data.get("button"):
            found["button"] = str(message.other_data["button"])
        if message.other_data.get("handled"):
            found["handled"] = str(message.other_data["handled"])
        incoming.append(found)
    return incoming


def _lines(history: list[Message], turn_id: int | None, files: Files) -> list[Line]:
    roles: dict[str, Literal["user", "assistant", "system"]] = {"user": "user", "assistant": "system"}
    return [
        Line(
            id=message.id,
            role=roles.get(message.role, "assistant"),
            text=read_message(message, files.get(message.id, ())).text,
        )
        for message in history
        # What the turn answers is `incoming`; what no turn has taken yet will be another's.
        if message.role != "user" or (message.turn_id is not None and message.turn_id != turn_id)
    ]


async def load_documents(knowledge: Knowledge, loaded: Loaded) -> list[dict[str, str]]:
    """What may answer the customer. Staff, and what nobody answers, need none.

    No database session may be open meanwhile: a model may be asked what the question means.
    """
    asked = [message for message in loaded["incoming"] if not is_silent(message)]
    if loaded["role"] == "staff" or not asked:
        return []
    found = await knowledge.find(loaded["merchant_id"], "\n".join(map(words_of, asked)))
    return [{"title": document.title, "content": shorten(document.content, MAX_CHARACTERS)} for document in found]
