"""Which rows belong to a story: what caused a message, and what it caused."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recado.agent.protocol import turn_of
from recado.db.models import (
    AlertPost,
    Contact,
    Conversation,
    Delivery,
    InboxEvent,
    MediaFile,
    Merchant,
    Message,
    Notification,
    SyncEntry,
    Turn,
)
from recado.notifications.base import RECIPIENTS
from recado.stories.repository import Member, Raised, StoryRepository

OF_A_MESSAGE = re.compile(r"([a-z_]+):(\d{1,9})")
"""The key of a notice: how a message was dealt with, and which."""
SAID_WITH = timedelta(seconds=2)
"""A state is told with the message in whose transaction it changed: it has no message of its own."""


@dataclass(slots=True)
class Material:
    """The rows of a story. `focus`: the message that is asked about; `root`: the one that it is told from.

    `notifications`: asked or answered in it, whole. `shown`: those that one of these has joined, as far as the staff
    saw them. `joined`: those that joined one of these, to be named.
    """

    merchant: Merchant
    focus: Message
    root: Message
    notifications: list[Notification] = field(default_factory=list)
    shown: list[Notification] = field(default_factory=list)
    joined: list[Notification] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    people: dict[int, tuple[Conversation, Contact]] = field(default_factory=dict)
    """By the conversation's id."""
    messages: list[Message] = field(default_factory=list)
    left_out: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    files: list[MediaFile] = field(default_factory=list)
    events: list[InboxEvent] = field(default_factory=list)
    sync: list[SyncEntry] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    posts: list[AlertPost] = field(default_factory=list)
    staff: list[Member] = field(default_factory=list)

    @property
    def by_staff(self) -> list[Notification]:
        """What the staff saw."""
        return [*(row for row in self.notifications if row.joined_to_id is None), *self.shown]


async def gather(repository: StoryRepository, message_id: int) -> Material:
    """All rows of a message's story. Raises NotFound."""
    focus, merchant = await repository.message(message_id)
    material = Material(merchant, focus, await _root(repository, focus))
    keys = await _notifications(repository, material)
    await _messages(repository, material, keys)
    await _what_became_of_them(repository, material)
    return material


async def _root(repository: StoryRepository, focus: Message) -> Message:
    """A notice that came instead of an answer is told from the message that it was for."""
    named = OF_A_MESSAGE.fullmatch(focus.key)
    if focus.role == "response" and focus.turn_id is None and named:
        return await repository.handled(focus.conversation_id, int(named[2]), named[1]) or focus
    return focus


async def _notifications(repository: StoryRepository, material: Material) -> list[str]:
    """The notifications and turns of a story. The keys of what was said instead of an answer."""
    root = material.root
    around = await repository.of_turn(root.turn_id) if root.turn_id is not None else []
    named = {one.other_data.get("notification_id") for one in (root, material.focus)}
    ids = [number for number in named if isinstance(number, int)]
    material.notifications = await repository.notifications(ids, root.turn_id, root.conversation_id)
    mine = [row.id for row in material.notifications]
    roots = [row.joined_to_id for row in material.notifications if row.joined_to_id is not None]
    for row in await repository.joined(mine, roots) if mine else []:
        if row.id in mine:
            continue
        (material.shown if row.id in roots else material.joined).append(row)
    answers = [turn_of(row.answer_key or "") for row in [*material.notifications, *material.shown]]
    asks = [turn_of(row.request_key) for row in material.notifications]
    material.turns = await repository.turns({one for one in (root.turn_id, *asks, *answers) if one is not None})
    return [f"{one.other_data['handled']}:{one.id}" for one in (root, *around) if "handled" in one.other_data]


async def _messages(repository: StoryRepository, material: Material, keys: Sequence[str]) -> None:
    rows, focus = [*material.notifications, *material.shown], material.focus
    turn_ids = [turn.id for turn in material.turns]
    recipients = {contact for row in rows for contact in row.context.get(RECIPIENTS, []) if isinstance(contact, int)}
    talks = {focus.conversation_id, material.root.conversation_id}
    talks |= {row.conversation_id for row in material.notifications}
    people = await repository.people(talks, recipients, turn_ids)
    material.people = {conversation.id: (conversation, contact) for conversation, contact in people}
    prefixes = [f"notification:{row.id}:" for row in rows]
    material.messages, material.left_out = await repository.messages(
        {focus.id, material.root.id}, turn_ids, list(material.people), prefixes, keys
    )


async def _what_became_of_them(repository: StoryRepository, material: Material) -> None:
    messages, talks = [message.id for message in material.messages], list(material.people)
    began, ended = _span(material.messages)
    material.deliveries = await repository.of_messages(Delivery, messages)
    material.files = await repository.of_messages(MediaFile, messages)
    material.events = await repository.events(messages, [delivery.id for delivery in material.deliveries])
    material.sync = await repository.of_messages(SyncEntry, messages)
    states = await repository.states(talks, began, ended + SAID_WITH)
    material.sync += [entry for entry in states if any(said_with(entry, message) for message in material.messages)]
    raised = await repository.raised(talks, began)
    material.raised = [one for one in raised if _is_of(one, material)]
    alert_ids = {one.alert.id for one in material.raised if one.alert is not None}
    material.posts = await repository.posts(alert_ids) if alert_ids else []
    contacts = [contact for _, contact in material.people.values()]
    material.staff = await repository.staff(
        {row.answered_by for row in material.notifications if row.answered_by is not None},
        {contact.phone for contact in contacts if contact.phone is not None},
        {contact.channel_user_id for contact in contacts},
    )


def _span(messages: Iterable[Message]) -> tuple[datetime, datetime]:
    times = [message.created_at for message in messages]
    return min(times), max(times)


def said_with(entry: SyncEntry, message: Message) -> bool:
    """Whether a state was written down in the transaction of this message."""
    if message.role not in ("response", "admin") or message.conversation_id != entry.conversation_id:
        return False
    return timedelta() <= entry.created_at - message.created_at <= SAID_WITH


def _is_of(raised: Raised, material: Material) -> bool:
    """Whether an alert about one of the conversations is about this story."""
    mine = {
        "turn_id": {turn.id for turn in material.turns},
        "message_id": {message.id for message in material.messages},
        "delivery_id": {delivery.id for delivery in material.deliveries},
        "event_id": {event.id for event in material.events},
        "notification_id": {row.id for row in [*material.notifications, *material.shown]},
    }
    context = raised.occurrence.context
    if any(context.get(name) in ids for name, ids in mine.items()):
        return True
    traces = {one.trace_id for one in material.messages} | {turn.trace_id for turn in material.turns}
    return raised.occurrence.trace_id is not None and raised.occurrence.trace_id in traces
