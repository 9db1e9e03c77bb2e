"""All SQL about merchants and what is configured for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import ChannelAccount, Contact, Merchant, MerchantUser, StaffLink
from recado.db.paging import page_of
from recado.merchants.account import Account, usable_templates


@dataclass(frozen=True, slots=True)
class Owner:
    """One of the merchants that have an account at an address."""

    account_id: int
    merchant_id: int
    sub_domain: str


async def accounts_at(session: AsyncSession, channel: str, address: str) -> list[Account]:
    """The active accounts at this address, oldest first: several where merchants share it.

    This is how a merchant is found, so it cannot be scoped by one.
    """
    query = select(ChannelAccount).where(
        ChannelAccount.channel == channel, ChannelAccount.address == address, ChannelAccount.active
    )
    return [to_account(row) for row in await session.scalars(query.order_by(ChannelAccount.id))]


async def find_account(session: AsyncSession, channel: str, address: str) -> Account | None:
    """The oldest active account at this address."""
    found = await accounts_at(session, channel, address)
    return found[0] if found else None


async def accounts_of_waba(session: AsyncSession, waba_id: str) -> list[Account]:
    """The active accounts of a WhatsApp Business Account, of all merchants."""
    query = select(ChannelAccount).where(ChannelAccount.waba_id == waba_id, ChannelAccount.active)
    return [to_account(row) for row in await session.scalars(query.order_by(ChannelAccount.id))]


async def owners_of(session: AsyncSession, channel: str, address: str) -> list[Owner]:
    """The merchants with an active account at this address, by the age of their accounts."""
    query = (
        select(ChannelAccount.id, ChannelAccount.merchant_id, Merchant.sub_domain)
        .join(Merchant, Merchant.id == ChannelAccount.merchant_id)
        .where(ChannelAccount.channel == channel, ChannelAccount.address == address, ChannelAccount.active)
        .order_by(ChannelAccount.id)
    )
    return [Owner(*row) for row in await session.execute(query)]


async def employers_of(
    session: AsyncSession, merchant_ids: Sequence[int], channel: str, channel_user_id: str, phone: str | None
) -> set[int]:
    """On whose active staff somebody is, of these merchants: by their phone number, or by an account that is linked."""
    linked = select(StaffLink.merchant_user_id).where(
        StaffLink.merchant_id.in_(merchant_ids),
        StaffLink.channel == channel,
        StaffLink.channel_user_id == channel_user_id,
    )
    theirs = MerchantUser.id.in_(linked)
    query = select(MerchantUser.merchant_id).where(
        MerchantUser.merchant_id.in_(merchant_ids),
        MerchantUser.active,
        theirs if phone is None else or_(theirs, MerchantUser.phone == phone),
    )
    return set(await session.scalars(query))


async def find_accounts(session: AsyncSession, channel: str) -> list[Account]:
    """Every active account of a channel, of all merchants."""
    query = select(ChannelAccount).where(ChannelAccount.channel == channel, ChannelAccount.active)
    return [to_account(row) for row in await session.scalars(query.order_by(ChannelAccount.id))]


async def merchants_page(session: AsyncSession, limit: int, offset: int) -> tuple[list[Merchant], int]:
    """A page of all merchants, by id, and how many there are."""
    rows, total = await page_of(session, select(Merchant).order_by(Merchant.id), limit, offset)
    return [row[0] for row in rows], total


async def merchant_by_sub_domain(session: AsyncSession, sub_domain: str) -> Merchant | None:
    """The merchant of this name."""
    return await session.scalar(select(Merchant).where(Merchant.sub_domain == sub_domain))


def to_account(row: ChannelAccount) -> Account:
    """The row as channels see it."""
    return Account(
        row.id,
        row.merchant_id,
        row.channel,
        row.address,
        row.credentials,
        usable_templates(row.templates, row.approvals or {}) if row.approvals else row.templates,
        portfolio=row.portfolio or f"{row.channel}:{row.address}",
        per_second=row.per_second,
        daily_limit=row.daily_limit,
        waba_id=row.waba_id,
    )


class MerchantRepository:
    """One merchant's configuration."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def get(self) -> Merchant:
        """The merchant."""
        return await self._session.get_one(Merchant, self._merchant_id)

    async def account(self, account_id: int) -> Account:
        """One of the merchant's accounts."""
        query = select(ChannelAccount).where(
            ChannelAccount.merchant_id == self._merchant_id, ChannelAccount.id == account_id
        )
        return to_account((await self._session.scalars(query)).one())

    async def first_account(self) -> Account | None:
        """The merchant's first active account."""
        query = select(ChannelAccount).where(ChannelAccount.merchant_id == self._merchant_id, ChannelAccount.active)
        row = await self._session.scalar(query.order_by(ChannelAccount.id).limit(1))
        return to_account(row) if row else None

    async def staff(self) -> list[MerchantUser]:
        """The active staff."""
        query = select(MerchantUser).where(MerchantUser.merchant_id == self._merchant_id, MerchantUser.active)
        return list(await self._session.scalars(query.order_by(MerchantUser.id)))

    async def staff_by_phone(self, phone: str) -> MerchantUser | None:
        """The active member of staff with this phone number."""
        return await self._session.scalar(
            select(MerchantUser).where(
                MerchantUser.merchant_id == self._merchant_id,
                MerchantUser.active,
                MerchantUser.phone == phone,
            )
        )

    async def staff_of(self, contact: Contact) -> MerchantUser | None:
        """The active member of staff that this person is: by the account that they linked, else by their number."""
        linked = select(StaffLink.merchant_user_id).where(
            StaffLink.merchant_id == self._merchant_id,
            StaffLink.channel == contact.channel,
            StaffLink.channel_user_id == contact.channel_user_id,
        )
        theirs = MerchantUser.id.in_(linked)
        query = select(MerchantUser).where(
            MerchantUser.merchant_id == self._merchant_id,
            MerchantUser.active,
            theirs if contact.phone is None else or_(theirs, MerchantUser.phone == contact.phone),
        )
        # What was proven with a code says more than a number that may have gone to somebody else.
        return await self._session.scalar(query.order_by(theirs.desc()).limit(1))
