"""How a story names people, and what it shows of what they wrote."""

from collections.abc import Sequence
from datetime import datetime

from recado.db.models import Contact, Message
from recado.notifications.types import add_prefix
from recado.stories.gathering import Material
from recado.stories.repository import Member
from recado.text import mask_phone, mask_phones


class Names:
    """`texts`: show what was written, names of customers and whole phone numbers."""

    def __init__(self, material: Material, *, texts: bool) -> None:
        self._material = material
        self._texts = texts

    def person(self, conversation_id: int) -> str:
        """Whose conversation it is."""
        _, contact = self._material.people[conversation_id]
        address = contact.phone or contact.channel_user_id
        shown = address if self._texts else mask_phone(address)
        member = self._member(contact)
        if member is not None:
            return f"{member.name} of the staff ({shown})"
        name = f" {contact.name}" if self._texts and contact.name else ""
        return f"the customer{name} ({shown})"

    def channel(self, conversation_id: int) -> str:
        """Where it is held."""
        return self._material.people[conversation_id][1].channel

    def member(self, member_id: int | None) -> str:
        """Who of the staff answered; over the API, nobody is named."""
        return next((one.name for one in self._material.staff if one.id == member_id), "somebody")

    def masked(self, told: str) -> str:
        """An error or description in one line: it may name a number."""
        line = " ".join(told.split())
        return line if self._texts else mask_phones(line)

    def text(self, written: str) -> str | None:
        """What somebody wrote."""
        return written if self._texts and written else None

    def chapter(self, message: Message) -> str:
        """The chapter of a message."""
        person = self.person(message.conversation_id)
        way = (
            "from" if message.role == "user" else "to" if message.role in ("response", "admin") else "for the agent of"
        )
        return f"message {message.id} {way} {person}"

    def notification_of(self, message: Message) -> int | None:
        """The notification that a message is about, if it is one of this story."""
        named = message.other_data.get("notification_id")
        known = {row.id for row in (*self._material.notifications, *self._material.shown)}
        return named if isinstance(named, int) and named in known else None

    def instructed_about(self, message: Message) -> int | None:
        """The notification that an instruction for the agent is about. None: it is another message."""
        return self.notification_of(message) if message.role == "assistant" else None

    def _member(self, contact: Contact) -> Member | None:
        linked = (contact.channel, contact.channel_user_id)
        known: Sequence[Member] = self._material.staff
        by_link = next((one for one in known if (one.channel, one.channel_user_id) == linked), None)
        return by_link or next((one for one in known if contact.phone and one.phone == contact.phone), None)


def turn_chapter(turn_id: int) -> str:
    """The chapter of a turn."""
    return f"turn {turn_id}"


def milliseconds(since: datetime | None, until: datetime | None) -> float | None:
    """From one to the other. None: one is not known, or the other was before it."""
    if since is None or until is None or until < since:
        return None
    return round((until - since).total_seconds() * 1e3, 1)


def asking(notification_id: int) -> str:
    """The chapter in which the staff is asked."""
    return f"{add_prefix(notification_id)}: the staff is asked"


def waiting(notification_id: int) -> str:
    """The chapter in which nothing is answered."""
    return f"{add_prefix(notification_id)}: it waits for an answer"


def answering(notification_id: int) -> str:
    """The chapter in which an answer is taken to the customer."""
    return f"{add_prefix(notification_id)}: the answer is taken back"
