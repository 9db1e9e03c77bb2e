"""Who somebody is on a channel: their id there may change, and may be known beside their phone number or alone.

Only what the verified channel says counts, and nobody is ever the same person on two channels or for two merchants.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import Contact, Conversation, StaffLink


@dataclass(frozen=True, slots=True)
class Known:
    """A person and their conversation. `others`: conversations of theirs from when they were taken for two people."""

    contact: Contact
    conversation: Conversation
    others: tuple[Conversation, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A person under their new id. `phone`: the number that was known of them before."""

    contact: Contact
    phone: str | None


class Identities:
    """One merchant's people, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def find(
        self, channel: str, channel_user_id: str, phone: str | None, *, to_change: bool = False
    ) -> Known | None:
        """The person with this id, whose conversations `to_change` locks; what is told of them is kept.

        Somebody who was only known by their phone number has their id from now on.
        """
        keys = [channel_user_id] if phone is None else list(dict.fromkeys((channel_user_id, phone)))
        rows = await self._rows(channel, Contact.channel_user_id.in_(keys), to_change=to_change)
        found = {known.contact.channel_user_id: known for known in rows}
        mine, numbered = found.get(channel_user_id), found.get(phone or "")
        if mine is None and numbered is None:
            # They may be known by an id that this message does not bring.
            return await self._by_phone(channel, channel_user_id, to_change=to_change) if keys == [phone] else None
        if mine is None:
            mine = await self._rekeyed(numbered, channel_user_id) if numbered else None
        elif mine.contact.superseded_by_id is not None:
            mine = await self._successor(mine, to_change=to_change)
        elif numbered is not None and numbered is not mine:
            mine = await self._with(mine, numbered)
        else:
            mine = await self._with_older(channel, mine, keys, to_change=to_change)
        if mine is not None and phone and mine.contact.phone != phone:
            mine.contact.phone = phone
        return mine

    async def move(self, channel: str, channel_user_id: str, new_id: str, phone: str | None) -> Moved | None:
        """A person has another id; None: nobody here has the one or the other."""
        number = channel_user_id if channel_user_id.startswith("+") else None
        old = await self.find(channel, channel_user_id, number, to_change=True)
        rows = await self._rows(channel, Contact.channel_user_id == new_id, to_change=True)
        new = rows[0] if rows else None
        if new is not None and new.contact.superseded_by_id is not None:
            new = await self._successor(new, to_change=True)
        known = new or old
        if known is None:
            return None
        before, told = (old or known).contact.phone, new.contact.phone if new else None
        if old is not None and new is not None and old.contact is not new.contact:
            await self.supersede(old, new)
        elif old is not None and new is None and old.contact.channel_user_id == channel_user_id:
            await self._rekey(old.contact, new_id)
        if phone is not None:
            known.contact.phone = phone
        elif old is not None and number is None:
            # Such an id goes with a number: the one that was known under the old id is not theirs any more.
            known.contact.phone = told
        await self._session.flush()
        return Moved(known.contact, before)

    async def supersede(self, old: Known, new: Known) -> None:
        """Two contacts are one person: `new` is used from now on. The old conversation stays, and can be reached."""
        old.contact.superseded_by_id = new.contact.id
        new.contact.phone = new.contact.phone or old.contact.phone
        mine, theirs = new.contact.opt_out_at, old.contact.opt_out_at
        if theirs is not None and (mine is None or theirs > mine):
            new.contact.opt_out, new.contact.opt_out_at = old.contact.opt_out, theirs
        new.conversation.language = new.conversation.language or old.conversation.language
        await self._session.flush()
        await self._session.execute(
            update(Contact)
            .where(Contact.merchant_id == self._merchant_id, Contact.superseded_by_id == old.contact.id)
            .values(superseded_by_id=new.contact.id)
        )
        await self._move_link(old.contact, new.contact.channel_user_id)

    async def _with(self, mine: Known, numbered: Known) -> Known:
        """The person with what was known under their number, if that was them."""
        if numbered.contact.superseded_by_id is None:
            await self.supersede(numbered, mine)
        elif numbered.contact.superseded_by_id != mine.contact.id:
            return mine
        return Known(mine.contact, mine.conversation, (numbered.conversation,))

    async def _with_older(self, channel: str, mine: Known, keys: Sequence[str], *, to_change: bool) -> Known:
        """Somebody who hides the number that they were known by: what is held there goes out with this message too."""
        phone = mine.contact.phone
        if not to_change or phone is None or phone in keys:
            return mine
        rows = await self._rows(
            channel,
            (Contact.channel_user_id == phone) & (Contact.superseded_by_id == mine.contact.id),
            to_change=to_change,
        )
        return Known(mine.contact, mine.conversation, tuple(known.conversation for known in rows))

    async def _rekeyed(self, numbered: Known, channel_user_id: str) -> Known | None:
        """Who was known by their number alone, with their id. None: that number was another person's before."""
        if numbered.contact.superseded_by_id is not None:
            return None
        await self._rekey(numbered.contact, channel_user_id)
        return numbered

    async def _rekey(self, contact: Contact, channel_user_id: str) -> None:
        await self._move_link(contact, channel_user_id)
        contact.channel_user_id = channel_user_id
        await self._session.flush()

    async def _move_link(self, contact: Contact, channel_user_id: str) -> None:
        """Whom the staff has linked stays linked under their new id."""
        of_channel = (StaffLink.merchant_id == self._merchant_id) & (StaffLink.channel == contact.channel)
        old = of_channel & (StaffLink.channel_user_id == contact.channel_user_id)
        there = select(StaffLink.id).where(of_channel, StaffLink.channel_user_id == channel_user_id)
        if await self._session.scalar(there) is not None:
            await self._session.execute(delete(StaffLink).where(old))
        else:
            await self._session.execute(update(StaffLink).where(old).values(channel_user_id=channel_user_id))

    async def _successor(self, known: Known, *, to_change: bool) -> Known:
        rows = await self._rows(
            known.contact.channel, Contact.id == known.contact.superseded_by_id, to_change=to_change
        )
        return Known(rows[0].contact, rows[0].conversation, (known.conversation,))

    async def _by_phone(self, channel: str, phone: str, *, to_change: bool) -> Known | None:
        whose = (Contact.phone == phone) & Contact.superseded_by_id.is_(None)
        rows = await self._rows(channel, whose, to_change=to_change)
        return rows[-1] if rows else None

    async def _rows(self, channel: str, which: ColumnElement[bool], *, to_change: bool) -> list[Known]:
        query = (
            select(Contact, Conversation)
            .join(Conversation, Conversation.contact_id == Contact.id)
            .where(Contact.merchant_id == self._merchant_id, Contact.channel == channel, which)
            .order_by(Contact.id)
        )
        if to_change:
            query = query.with_for_update(of=Conversation, key_share=True)
        return [Known(row[0], row[1]) for row in await self._session.execute(query)]
