"""Which members of the staff are asked, and where each of them is reached."""

from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from recado.clock import Clock
from recado.db.models import Contact, Conversation, Merchant
from recado.notifications.request_repository import Person, RequestRepository, Staff
from recado.sync.entries import SyncEntries
from recado.text import fold

log = structlog.get_logger(__name__)

ADMIN = "admin"

NO_STAFF = "the merchant has no staff: add some to its YAML and run `recado apply`"
NOWHERE = (
    "the merchant has no active account on WhatsApp, and nobody of its staff has linked where they write from: add a "
    "WhatsApp account to its YAML and run `recado apply`, or have them link themselves"
)
OPTED_OUT = (
    "everybody of the staff who could be asked has opted out of messages: have one of them write START to the "
    "merchant's number, or add somebody else to its YAML and run `recado apply`"
)


def choose(people: Sequence[Person], types: Sequence[str]) -> list[Person]:
    """Those of any of these types, all without any. Nobody is of them: the admins, and without admins whoever is there.

    A customer waits: better the wrong member of the staff is asked than none.
    """
    if not types:
        return list(people)
    return _of(people, types) or _of(people, [ADMIN]) or list(people)


def _of(people: Sequence[Person], types: Sequence[str]) -> list[Person]:
    wanted = {_key(name) for name in types}
    return [found for found in people if wanted & {_key(name) for name in found[0].types}]


def _key(user_type: str) -> str:
    return fold(user_type).strip()


def _has_opted_out(person: Person) -> bool:
    contact = person[1]
    return contact is not None and contact.opt_out is not None


def _reachable(staff: Staff) -> list[Person]:
    """Those who can be asked: in the conversation that they have, or in one that can be made by their number."""
    return [
        person
        for person in staff.people
        if not _has_opted_out(person) and (person[2] is not None or staff.account_id is not None)
    ]


class Recipients:
    """Finds the staff's conversations, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._requests = RequestRepository(session, merchant_id)
        self._merchant_id = merchant_id
        self._clock = clock
        self._sync = SyncEntries(session, merchant_id)

    async def find(
        self, conversation_id: int, types: Sequence[str]
    ) -> tuple[Merchant, list[tuple[Contact, Conversation]]]:
        """The merchant, and whom to ask on behalf of a conversation: see `RequestRepository.staff` for where.

        Who has opted out is not asked; the others of these types are, and without any the admins. Contacts and
        conversations are made for those who never wrote. Raises ConversationNotFound.
        """
        staff = await self._requests.staff(conversation_id)
        people = await self._open(staff, choose(_reachable(staff), types))
        if any(conversation is None for _, _, conversation in people):
            # Another process made theirs in the same moment: they are there now.
            staff = await self._requests.staff(conversation_id)
            people = choose(_reachable(staff), types)
        found = []
        for person, contact, conversation in people:
            if contact is None or conversation is None:
                log.error("a member of staff has no conversation", merchant_id=self._merchant_id, staff_id=person.id)
                continue
            contact.name = person.name
            if staff.account_id is not None and contact.channel == staff.channel:
                conversation.channel_account_id = staff.account_id
            found.append((contact, conversation))
        return staff.merchant, found

    async def why_nobody(self, conversation_id: int) -> str:
        """Why nobody can be asked on behalf of a conversation, with the remedy. Raises ConversationNotFound."""
        staff = await self._requests.staff(conversation_id)
        if not staff.people:
            return NO_STAFF
        return OPTED_OUT if any(_has_opted_out(person) for person in staff.people) else NOWHERE

    async def _open(self, staff: Staff, people: Sequence[Person]) -> list[Person]:
        now = self._clock.now()
        contacts = await self._requests.add_contacts(
            [
                {
                    "channel": staff.channel,
                    "channel_user_id": person.phone,
                    "phone": person.phone,
                    "name": person.name,
                    "created_at": now,
                }
                for person, contact, _ in people
                if contact is None
            ]
        )
        by_phone = {contact.phone: contact for contact in contacts}
        known = [(person, contact or by_phone.get(person.phone), found) for person, contact, found in people]
        conversations = await self._requests.add_conversations(
            [
                {"contact_id": contact.id, "channel_account_id": staff.account_id, "created_at": now}
                for _, contact, found in known
                if contact is not None and found is None
            ]
        )
        await self._sync.opened([conversation.id for conversation in conversations], now)
        by_contact = {conversation.contact_id: conversation for conversation in conversations}
        return [
            (person, contact, found or (by_contact.get(contact.id) if contact else None))
            for person, contact, found in known
        ]
