"""All SQL about one merchant's campaigns."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import Campaign, CampaignLead


class CampaignRepository:
    """One merchant's campaigns."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def by_name(self, name: str) -> Campaign | None:
        """The campaign with this name."""
        query = select(Campaign).where(Campaign.merchant_id == self._merchant_id, Campaign.name == name)
        return await self._session.scalar(query)

    async def all(self) -> list[Campaign]:
        """All campaigns, by name."""
        query = select(Campaign).where(Campaign.merchant_id == self._merchant_id)
        return list(await self._session.scalars(query.order_by(Campaign.name)))

    async def leads(self, campaign_id: int, limit: int, offset: int) -> tuple[list[CampaignLead], int]:
        """A page of a campaign's leads, newest first, and how many there are."""
        mine = (CampaignLead.merchant_id == self._merchant_id, CampaignLead.campaign_id == campaign_id)
        page = select(CampaignLead).where(*mine).order_by(CampaignLead.id.desc()).limit(limit).offset(offset)
        total = await self._session.scalar(select(func.count()).select_from(CampaignLead).where(*mine))
        return list(await self._session.scalars(page)), total or 0

    def add(self, rows: Sequence[Campaign | CampaignLead]) -> None:
        """Keep new rows."""
        for row in rows:
            row.merchant_id = self._merchant_id
        self._session.add_all(rows)
