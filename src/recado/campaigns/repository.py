"""All SQL about one merchant's campaigns."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.conversations.listing import delivery_rank, delivery_state
from recado.db.models import Campaign, CampaignLead, Contact, Message
from recado.db.paging import page_of
from recado.errors import CampaignNotFound


@dataclass(frozen=True, slots=True)
class SentLead:
    """A recipient of a send, what they were told, and how far that came."""

    lead: CampaignLead
    contact: Contact
    conversation_id: int
    text: str
    delivery_state: str | None


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

    async def get(self, campaign_id: int) -> Campaign:
        """One campaign. Raises CampaignNotFound."""
        query = select(Campaign).where(Campaign.merchant_id == self._merchant_id, Campaign.id == campaign_id)
        found = await self._session.scalar(query)
        if found is None:
            raise CampaignNotFound(f"Campaign {campaign_id} not found")
        return found

    async def page(self, limit: int, offset: int) -> tuple[list[Campaign], int]:
        """A page of the campaigns, by name, and how many there are."""
        query = select(Campaign).where(Campaign.merchant_id == self._merchant_id).order_by(Campaign.name)
        rows, total = await page_of(self._session, query, limit, offset)
        return [row[0] for row in rows], total

    async def leads(self, campaign_id: int, limit: int, offset: int) -> tuple[list[SentLead], int]:
        """A page of a campaign's leads, newest first, and how many there are."""
        query = (
            select(CampaignLead, Contact, Message.conversation_id, Message.text, delivery_rank())
            .join(Contact, Contact.id == CampaignLead.contact_id)
            .join(Message, Message.id == CampaignLead.message_id)
            .where(CampaignLead.merchant_id == self._merchant_id, CampaignLead.campaign_id == campaign_id)
            .order_by(CampaignLead.id.desc())
        )
        rows, total = await page_of(self._session, query, limit, offset)
        return [SentLead(row[0], row[1], row[2], row[3], delivery_state(row[4])) for row in rows], total

    def add(self, rows: Sequence[Campaign | CampaignLead]) -> None:
        """Keep new rows."""
        for row in rows:
            row.merchant_id = self._merchant_id
        self._session.add_all(rows)
