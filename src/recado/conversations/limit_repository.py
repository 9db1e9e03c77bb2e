"""All SQL about how much may still be sent.

The limits are a provider's, of addresses and portfolios that merchants may share, so nothing here is one merchant's.
Whoever locks several keys does it in the order portfolio, pair, account, and before the transaction's end nothing else.
"""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.insert import insert_new
from recado.db.models import NewRecipient, SendLimit


class LimitRepository:
    """Buckets and new recipients."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._is_sqlite = session.get_bind().dialect.name == "sqlite"

    async def lock(self, key: str, start: datetime) -> datetime:
        """Until when a bucket is used up: `start` if it is new. Nobody else changes it until this transaction ends."""
        query = select(SendLimit.until).where(SendLimit.key == key).with_for_update()
        until = await self._session.scalar(query)
        if until is None:
            await self._session.execute(insert_new(SendLimit, self._is_sqlite).values(key=key, until=start))
            until = await self._session.scalar(query)  # another transaction may have been first
        return until or start

    async def set(self, key: str, until: datetime) -> None:
        """Change a bucket that is locked."""
        await self._session.execute(update(SendLimit).where(SendLimit.key == key).values(until=until))

    async def take(self, key: str, now: datetime, until: datetime) -> bool:
        """Whether nobody has this key now; then it is ours until then. For what is told only once in a while."""
        fresh = insert_new(SendLimit, self._is_sqlite).values(key=key, until=until).returning(SendLimit.key)
        if await self._session.scalar(fresh) is not None:
            return True
        again = update(SendLimit).where(SendLimit.key == key, SendLimit.until <= now).values(until=until)
        return await self._session.scalar(again.returning(SendLimit.key)) is not None

    async def recipient(self, portfolio: str, channel_user_id: str) -> datetime | None:
        """When this person was, or will be, written to outside their window. None: not that we know."""
        query = select(NewRecipient.at).where(
            NewRecipient.portfolio == portfolio, NewRecipient.channel_user_id == channel_user_id
        )
        return await self._session.scalar(query)

    async def count_recipients(self, portfolio: str, after: datetime) -> int:
        """How many were written to after that moment, with those who will be."""
        query = (
            select(func.count())
            .select_from(NewRecipient)
            .where(NewRecipient.portfolio == portfolio, NewRecipient.at > after)
        )
        return (await self._session.execute(query)).scalar_one()

    async def newest_recipient(self, portfolio: str, place: int) -> datetime:
        """When the newest but `place` of them was, or will be, written to. There must be so many."""
        query = select(NewRecipient.at).where(NewRecipient.portfolio == portfolio).order_by(NewRecipient.at.desc())
        return (await self._session.execute(query.offset(place).limit(1))).scalar_one()

    async def note_recipient(self, portfolio: str, channel_user_id: str, at: datetime) -> None:
        """This person is, or will be, written to outside their window. The portfolio is locked."""
        mine = (NewRecipient.portfolio == portfolio, NewRecipient.channel_user_id == channel_user_id)
        again = update(NewRecipient).where(*mine).values(at=at).returning(NewRecipient.portfolio)
        if await self._session.scalar(again) is None:
            self._session.add(NewRecipient(portfolio=portfolio, channel_user_id=channel_user_id, at=at))
            await self._session.flush()

    async def forget_recipients(self, portfolio: str, until: datetime) -> None:
        """Those up to that moment count no longer."""
        await self._session.execute(
            delete(NewRecipient).where(NewRecipient.portfolio == portfolio, NewRecipient.at <= until)
        )
