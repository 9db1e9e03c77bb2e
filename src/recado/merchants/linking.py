"""Linking a member of the staff to an account of theirs on a channel that shows no phone number.

Somebody who may change the staff has a code made, and gives it to the member; the member writes it to the merchant from
the account that is to be linked. What the channel verifies is the account, what the code proves is the person.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.clock import Clock
from recado.db.models import Contact, LinkCode, MerchantUser, SendLimit, StaffLink
from recado.errors import InvalidInput, NotFound
from recado.merchants.staff import Staff

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: no I, L, O and U. Read back, an O is a 0, an I and an L are a 1. https://www.crockford.com/base32.html"""
GROUP = 4
"""Two groups of as many characters of five random bits each: 40 bits."""
LASTS = timedelta(minutes=15)
WRONG_TRIES = 5
"""How often one person may be wrong within `LASTS`. With 40 bits that leaves nothing to guess."""
MASK = "[code]"

_BETWEEN = r"[\s\-\u2010-\u2015\u2212_.:*~]{0,3}"
_CODE = re.compile(
    rf"(?<![^\W_])LINK({_BETWEEN})([0-9A-TV-Z]{{4}})({_BETWEEN})([0-9A-TV-Z]{{4}})(?![^\W_])", re.IGNORECASE
)
_LOOK_ALIKES = str.maketrans("OIL", "011")


@dataclass(frozen=True, slots=True)
class Written:
    """A code in a text, and the text without it. `certain`: those can be no ordinary words ("link para este")."""

    code: str = ""
    masked: str = ""
    certain: bool = False


def find_code(text: str) -> Written | None:
    """The first code in a text, in the form in which it is hashed."""
    match = _CODE.search(text)
    if match is None:
        return None
    code = (match[2] + match[4]).upper()
    certain = any(c.isdigit() for c in code) or not any(c.isspace() for c in match[1] + match[3])
    return Written(code.translate(_LOOK_ALIKES), _CODE.sub(MASK, text), certain)


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


class StaffLinks:
    """One merchant's codes and links, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock

    async def new_code(self, user_id: int) -> tuple[str, datetime]:
        """A code for this member and when it ends; those that they had are void. Only its hash is kept.

        Raises MerchantUserNotFound, or InvalidInput for a member who is not active.
        """
        member = await Staff(self._session, self._merchant_id).get(user_id)
        if not member.active:
            raise InvalidInput(f"merchant user {user_id} is not active")
        code = "".join(secrets.choice(ALPHABET) for _ in range(2 * GROUP))
        now = self._clock.now()
        await self._session.execute(
            delete(LinkCode).where(LinkCode.merchant_id == self._merchant_id, LinkCode.merchant_user_id == user_id)
        )
        self._session.add(
            LinkCode(
                merchant_id=self._merchant_id,
                merchant_user_id=user_id,
                code_hash=_hash(code),
                expires_at=now + LASTS,
                created_at=now,
            )
        )
        await self._session.flush()
        return f"LINK-{code[:GROUP]}-{code[GROUP:]}", now + LASTS

    async def is_known(self, code: str) -> bool:
        """Whether this is or was a code of this merchant."""
        query = select(LinkCode.id).where(LinkCode.merchant_id == self._merchant_id, LinkCode.code_hash == _hash(code))
        return await self._session.scalar(query) is not None

    async def redeem(self, code: str, contact: Contact) -> MerchantUser | None:
        """Link who wrote this code to the member whom it is for. None: it is wrong, used, too old, or of another
        merchant; which of these is nobody's business.
        """
        now = self._clock.now()
        used = await self._session.execute(
            update(LinkCode)
            .where(
                LinkCode.merchant_id == self._merchant_id,
                LinkCode.code_hash == _hash(code),
                LinkCode.used_at.is_(None),
                LinkCode.expires_at > now,
                LinkCode.merchant_user_id.in_(
                    select(MerchantUser.id).where(MerchantUser.merchant_id == self._merchant_id, MerchantUser.active)
                ),
            )
            .values(used_at=now)
            .returning(LinkCode.merchant_user_id)
        )
        user_id = used.scalar()
        if user_id is None:
            return None
        link = await self._session.scalar(
            select(StaffLink).where(
                StaffLink.merchant_id == self._merchant_id,
                StaffLink.channel == contact.channel,
                StaffLink.channel_user_id == contact.channel_user_id,
            )
        )
        if link is None:
            place = {"channel": contact.channel, "channel_user_id": contact.channel_user_id}
            link = StaffLink(merchant_id=self._merchant_id, **place)
            self._session.add(link)
        link.merchant_user_id, link.linked_at = user_id, now
        await self._session.flush()
        return await Staff(self._session, self._merchant_id).get(user_id)

    async def may_try(self, contact: Contact) -> bool:
        """Whether this person has been wrong less often than they may."""
        return await self._free_slot(contact) is not None

    async def was_wrong(self, contact: Contact) -> None:
        """Count a wrong code."""
        slot = await self._free_slot(contact)
        if slot is not None:
            await self._session.merge(SendLimit(key=slot, until=self._clock.now() + LASTS))
            await self._session.flush()

    async def links(self, user_id: int | None = None) -> Sequence[tuple[StaffLink, MerchantUser]]:
        """The linked accounts, of one member or of all, each with its member. Raises MerchantUserNotFound."""
        query = (
            select(StaffLink, MerchantUser)
            .join(MerchantUser, MerchantUser.id == StaffLink.merchant_user_id)
            .where(StaffLink.merchant_id == self._merchant_id)
        )
        if user_id is not None:
            await Staff(self._session, self._merchant_id).get(user_id)
            query = query.where(StaffLink.merchant_user_id == user_id)
        return [(row[0], row[1]) for row in await self._session.execute(query.order_by(StaffLink.id))]

    async def unlink(self, link_id: int, user_id: int | None = None) -> None:
        """Who writes from that account is a customer again. Raises NotFound."""
        query = delete(StaffLink).where(StaffLink.merchant_id == self._merchant_id, StaffLink.id == link_id)
        if user_id is not None:
            query = query.where(StaffLink.merchant_user_id == user_id)
        if (await self._session.execute(query.returning(StaffLink.id))).scalar() is None:
            raise NotFound(f"Link {link_id} not found")

    def _key(self, contact: Contact) -> str:
        return f"link:{self._merchant_id}:{contact.id}"

    async def _free_slot(self, contact: Contact) -> str | None:
        """Each wrong try takes one of so many slots for so long."""
        slots = [f"{self._key(contact)}:{number}" for number in range(WRONG_TRIES)]
        taken = select(SendLimit.key).where(SendLimit.key.in_(slots), SendLimit.until > self._clock.now())
        used = set(await self._session.scalars(taken))
        return next((slot for slot in slots if slot not in used), None)


async def merchant_of_code(session: AsyncSession, merchant_ids: Sequence[int], code: str, now: datetime) -> int | None:
    """Whose code this is, of merchants that share an address. Whoever has one that is good writes to that merchant."""
    query = select(LinkCode.merchant_id).where(
        LinkCode.merchant_id.in_(merchant_ids),
        LinkCode.code_hash == _hash(code),
        LinkCode.used_at.is_(None),
        LinkCode.expires_at > now,
    )
    return await session.scalar(query)
