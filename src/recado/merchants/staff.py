"""A merchant's staff, as the dashboard and the API keep it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import MerchantUser
from recado.db.paging import page_of
from recado.errors import AlreadyThere, MerchantUserNotFound


class Staff:
    """One merchant's staff, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def page(self, active: bool | None, limit: int, offset: int) -> tuple[Sequence[MerchantUser], int]:
        """A page of the staff, by id, and how many there are; `active` leaves out the others."""
        query = select(MerchantUser).where(MerchantUser.merchant_id == self._merchant_id)
        if active is not None:
            query = query.where(MerchantUser.active.is_(active))
        rows, total = await page_of(self._session, query.order_by(MerchantUser.id), limit, offset)
        return [row[0] for row in rows], total

    async def get(self, user_id: int) -> MerchantUser:
        """One member. Raises MerchantUserNotFound."""
        query = select(MerchantUser).where(MerchantUser.merchant_id == self._merchant_id, MerchantUser.id == user_id)
        found = await self._session.scalar(query)
        if found is None:
            raise MerchantUserNotFound(f"Merchant user {user_id} not found")
        return found

    async def by_phone(self, phone: str) -> MerchantUser:
        """The member with this phone number. Raises MerchantUserNotFound."""
        found = await self._by_phone(phone)
        if found is None:
            raise MerchantUserNotFound("No merchant user has this phone number")
        return found

    async def add(self, name: str, phone: str, types: list[str]) -> MerchantUser:
        """A new member; one who was deactivated comes back. Raises AlreadyThere for a phone that a member has."""
        member = await self._by_phone(phone)
        if member is not None and member.active:
            raise AlreadyThere(f"merchant user {member.id} has this phone number")
        if member is None:
            member = MerchantUser(merchant_id=self._merchant_id, phone=phone)
            self._session.add(member)
        member.name, member.types, member.active = name, types, True
        await self._session.flush()
        return member

    async def change(self, user_id: int, values: dict[str, Any]) -> MerchantUser:
        """Change name, phone, types or active. Raises MerchantUserNotFound, or AlreadyThere for another's phone."""
        member = await self.get(user_id)
        other = await self._by_phone(values["phone"]) if "phone" in values else None
        if other is not None and other.id != member.id:
            raise AlreadyThere(f"merchant user {other.id} has this phone number")
        for name, value in values.items():
            setattr(member, name, value)
        await self._session.flush()
        return member

    async def _by_phone(self, phone: str) -> MerchantUser | None:
        query = select(MerchantUser).where(MerchantUser.merchant_id == self._merchant_id, MerchantUser.phone == phone)
        return await self._session.scalar(query)
