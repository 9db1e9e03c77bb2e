"""The moments of messages: how they came in, what waited, how they were sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from recado.channels.base import Channel, StatusUpdate
from recado.db.models import Delivery, InboxEvent, MediaFile, Message, SyncEntry
from recado.errors import RecadoError
from recado.notifications.types import add_prefix
from recado.stories.gathering import OF_A_MESSAGE, Material, said_with
from recado.stories.names import Names, milliseconds, turn_chapter
from recado.stories.schemas import Moment

WAYS: Mapping[str, str] = {"text": "as text", "human": "as what a human wrote"}
UNSENT: Mapping[str, str] = {
    "pending": "waits to be sent",
    "sending": "is being sent",
    "held": "is held until the person opens the window",
    "skipped": "was not needed",
}


class MessageMoments:
    """Tells of a story's messages."""

    def __init__(self, material: Material, names: Names, channels: Mapping[str, Channel]) -> None:
        self._material = material
        self._names = names
        self._channels = channels
        self._turns = {turn.id: turn for turn in material.turns}

    def received(self) -> list[Moment]:
        """Of those that people sent, each in a chapter of its own."""
        received = [one for one in self._material.messages if one.role == "user"]
        return [moment for message in received for moment in self._received(message)]

    def sent(self) -> list[Moment]:
        """Of the others, and what the conversation API was told of all."""
        others = [
            one for one in self._material.messages if one.role != "user" and self._names.instructed_about(one) is None
        ]
        found = [moment for message in others for moment in self._sent(message)]
        return found + [self._synced(entry) for entry in self._material.sync]

    def _received(self, message: Message) -> list[Moment]:
        event = next((one for one in self._material.events if one.message_id == message.id), None)
        arrived = message.created_at
        ids = {"message_id": message.id, "conversation_id": message.conversation_id}
        ids |= {"event_id": event.id} if event is not None else {}
        found = []
        if message.sent_at is not None:
            sent_at = min(message.sent_at, arrived)
            found.append(self._moment(message, sent_at, "received", "sent, by the provider's clock", ids))
        delay = milliseconds(message.sent_at, arrived) if message.sent_at else None
        after = f", {delay / 1e3:,.1f} s after it was sent" if delay is not None else ""
        brought = f"arrived as event {event.id}" if event is not None else "arrived"
        place = self._names.channel(message.conversation_id)
        what = f"{brought} over {place}{after}: {message.provider_message_id}"
        facts: dict[str, Any] = {"provider_message_id": message.provider_message_id}
        facts |= {"delay_seconds": round(delay / 1e3, 3)} if delay is not None else {}
        found.append(self._moment(message, arrived, "received", what, ids, facts=facts))
        said = self._moment(message, arrived, "said", _described(message), ids, facts=_said(message))
        said.text = self._names.text(message.text)
        found.append(said)
        files = [one for one in self._material.files if one.message_id == message.id]
        found += [self._moment(message, arrived, "file", *_file(one, ids)) for one in files]
        return [*found, *self._waited(message, ids)]

    def _waited(self, message: Message, ids: dict[str, int]) -> list[Moment]:
        found, arrived = [], message.created_at
        if handled := message.other_data.get("handled"):
            what = f"dealt with as {handled} when it came: no agent answers it"
            found.append(self._moment(message, arrived, "waiting", what, ids, facts={"handled": handled}))
        turn = self._turns.get(message.turn_id or 0)
        if turn is not None:
            waited = milliseconds(arrived, turn.started_at)
            what = f"waits until {turn_chapter(turn.id)} begins" if waited is not None else ""
            what = what or f"comes while {turn_chapter(turn.id)} is at work"
            found.append(self._moment(message, arrived, "waiting", what, {**ids, "turn_id": turn.id}, ms=waited))
        elif not handled:
            found.append(self._moment(message, arrived, "waiting", "no turn has taken it yet", ids))
        return found

    def _sent(self, message: Message) -> list[Moment]:
        ids = {"message_id": message.id, "conversation_id": message.conversation_id}
        turn, about = self._turns.get(message.turn_id or 0), self._names.notification_of(message)
        ids |= {"turn_id": turn.id} if turn is not None else {}
        ids |= {"notification_id": about} if about is not None else {}
        by = f" by {turn_chapter(turn.id)}" if turn is not None else ""
        by = by or (f" for {add_prefix(about)}" if about is not None else _cause(message))
        what = f"written{by}: {_described(message)}"
        said = self._moment(message, message.created_at, "said", what, ids, facts=_said(message))
        said.text = self._names.text(message.text)
        found = [said]
        deliveries = [one for one in self._material.deliveries if one.message_id == message.id]
        for delivery in deliveries:
            found += self._delivered(message, delivery, len(deliveries))
        return found

    def _delivered(self, message: Message, delivery: Delivery, parts: int) -> list[Moment]:
        events = [one for one in self._material.events if one.delivery_id == delivery.id]
        statuses = [self._status(message, delivery, event) for event in events]
        name = f"delivery {delivery.id}" + (f", part {delivery.part + 1} of {parts}" if parts > 1 else "")
        ids = {"message_id": message.id, "delivery_id": delivery.id}
        facts, began = _delivery_facts(delivery), delivery.sending_at or message.created_at
        found = []
        if delivery.sent_at is not None:
            attempt = f" at attempt {delivery.attempts}" if delivery.attempts > 1 else ""
            what = f"{name} sent {_way(delivery)}{attempt}: {delivery.provider_message_id}"
            took = milliseconds(delivery.sending_at, delivery.sent_at)
            # From when it was being sent: a provider may report on it before it has answered.
            at = delivery.sent_at if took is None else began
            found.append(self._moment(message, at, "delivery", what, ids, facts=facts, ms=took))
        found += statuses
        last = max((one.at for one in found), default=began)
        if delivery.state == "failed" or delivery.state in UNSENT:
            what = f"{name} {self._standing(delivery)}"
            standing = self._moment(message, max(last, began), "delivery", what, ids, facts=facts)
            standing.failed = delivery.state == "failed"
            found.append(standing)
        return found

    def _standing(self, delivery: Delivery) -> str:
        """How a delivery stands that did not arrive."""
        why = ": ".join(self._names.masked(said) for said in (delivery.provider_code, delivery.error) if said)
        if delivery.state == "failed":
            return f"failed after {_attempts(delivery.attempts)}" + (f": {why}" if why else "")
        standing = UNSENT[delivery.state]
        if delivery.state == "pending" and delivery.attempts:
            standing = f"is tried again from {delivery.due_at:%H:%M:%S} UTC on, after {_attempts(delivery.attempts)}"
        return f"{standing}: {why}" if why else standing

    def _status(self, message: Message, delivery: Delivery, event: InboxEvent) -> Moment:
        ids = {"message_id": message.id, "delivery_id": delivery.id, "event_id": event.id}
        update = self._parsed(event)
        if update is None:
            return self._moment(message, event.received_at, "status", f"event {event.id} cannot be read", ids)
        why = ": ".join(self._names.masked(said) for said in (update.code, update.error, update.remedy) if said)
        what = f"{update.state}, the provider says in event {event.id}" + (f": {why}" if why else "")
        facts = {"state": update.state} | ({"code": update.code} if update.code else {})
        told = self._moment(message, event.received_at, "status", what, ids, facts=facts)
        told.failed = update.state == "failed"
        return told

    def _parsed(self, event: InboxEvent) -> StatusUpdate | None:
        channel = self._channels.get(event.channel)
        try:
            update = channel.parse(event.payload) if channel is not None else None
        except RecadoError:
            return None  # a newer version may read less than the one that took it
        return update if isinstance(update, StatusUpdate) else None

    def _synced(self, entry: SyncEntry) -> Moment:
        message = self._told_with(entry)
        stands = ", ".join(f"{name} {value}" for name, value in (entry.payload or {}).items() if value is not None)
        what = f"conversation API: {entry.kind} {entry.state}" + (f" ({stands})" if stands else "")
        what += f": {self._names.masked(entry.error)}" if entry.error else ""
        ids = {"message_id": message.id, "conversation_id": entry.conversation_id, "sync_entry_id": entry.id}
        facts = {"kind": entry.kind, "state": entry.state}
        told = self._moment(message, entry.sent_at or entry.created_at, "sync", what, ids, facts=facts)
        told.failed, told.ms = entry.state == "refused", milliseconds(entry.created_at, entry.sent_at)
        return told

    def _told_with(self, entry: SyncEntry) -> Message:
        """The message that an entry tells of, or with which it was written."""
        messages = self._material.messages
        if entry.message_id is not None:
            return next(one for one in messages if one.id == entry.message_id)
        return [one for one in messages if said_with(entry, one)][-1]

    def _moment(
        self,
        message: Message,
        at: datetime,
        kind: Any,
        what: str,
        ids: dict[str, int],
        *,
        facts: dict[str, Any] | None = None,
        ms: float | None = None,
    ) -> Moment:
        chapter = self._names.chapter(message)
        return Moment(at=at, chapter=chapter, kind=kind, what=what, ids=ids, facts=facts or {}, ms=ms)


def _described(message: Message) -> str:
    size = f"{message.kind}, {len(message.text)} characters"
    extra = [f"{len(message.attachments)} files" if message.attachments else ""]
    extra.append("quotes another" if message.quoted_provider_message_id else "")
    extra.append("deleted since" if message.other_data.get("deleted") else "")
    extra.append(f"prompt {message.prompt}" if message.prompt else "")
    return ", ".join([size, *filter(None, extra)])


def _said(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "kind": message.kind, "characters": len(message.text)}
    return said | ({"prompt": message.prompt} if message.prompt else {})


def _cause(message: Message) -> str:
    """Why something was written that neither a turn nor a notification has caused."""
    if message.role == "admin":
        return " by a human, over the API"
    if named := OF_A_MESSAGE.fullmatch(message.key):
        return f" at once, because message {named[2]} was dealt with as {named[1]}"
    if message.key.startswith("preference:"):
        return " because the provider told what they want of marketing"
    campaign_id = message.other_data.get("campaign_id")
    return f" for campaign {campaign_id}" if campaign_id is not None else ""


def _file(file: MediaFile, ids: dict[str, int]) -> tuple[str, dict[str, int]]:
    said = [file.state, file.content_type or "", f"{file.size:,} bytes" if file.size is not None else ""]
    said.append(file.error or "")
    return f"file {file.id}: " + ", ".join(filter(None, said)), {**ids, "media_id": file.id}


def _way(delivery: Delivery) -> str:
    if delivery.sent_as == "template" and delivery.template:
        return f"as template {delivery.template.get('name')} ({delivery.template.get('language')})"
    return WAYS.get(delivery.sent_as or "", "")


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"


def _delivery_facts(delivery: Delivery) -> dict[str, Any]:
    named = {
        "state": delivery.state,
        "sent_as": delivery.sent_as,
        "template": delivery.template.get("name") if delivery.template and delivery.sent_as == "template" else None,
        "attempts": delivery.attempts,
        "provider_message_id": delivery.provider_message_id,
        "code": delivery.provider_code,
    }
    return {name: value for name, value in named.items() if value is not None}
