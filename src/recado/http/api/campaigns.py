"""Campaigns: the merchant's template messages, and who was sent them."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import IntegrityError

from recado.campaigns.repository import CampaignRepository, SentLead
from recado.campaigns.service import CampaignService
from recado.db.models import Campaign
from recado.http.api.common import Body, Page, PathId, WantedPage
from recado.http.auth import MerchantId
from recado.http.services import HttpServices


class CampaignSchema(BaseModel):
    """A campaign. Its name is also that of its template; one that is not enabled is not sent."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "name": "merchant_user_question_request",
                    "campaign_type": "service",
                    "enabled": True,
                    "created_at": "2026-05-01T12:00:00Z",
                    "updated_at": "2026-05-01T12:00:00Z",
                }
            ]
        },
    )

    id: int
    name: str
    campaign_type: str
    enabled: bool
    created_at: datetime
    updated_at: datetime


class CampaignChange(Body):
    """What may be changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    enabled: bool


class LeadSchema(BaseModel):
    """One recipient of one send. `delivery_state` is that of the message's part that came least far."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "conversation_user_id": 3,
                    "conversation_id": 3,
                    "name": "Rosa",
                    "phone": "+51900000001",
                    "message_id": 21,
                    "text": "Consulta NOTIF_12 de un cliente (+51911111111): «¿Venden hielo?».",
                    "variables": {"notification_id": "NOTIF_12", "question": "¿Venden hielo?"},
                    "delivery_state": "delivered",
                    "created_at": "2026-05-01T12:00:00Z",
                }
            ]
        }
    )

    id: int
    conversation_user_id: int
    conversation_id: int
    name: str | None
    phone: str | None
    message_id: int
    text: str
    variables: dict[str, Any]
    delivery_state: str | None
    created_at: datetime


def router(services: HttpServices) -> APIRouter:
    """The routes, on these services."""
    api = CampaignsApi(services)
    routes = APIRouter(prefix="/campaign", tags=["campaigns"])
    routes.add_api_route(
        "/create-default", api.create_default, methods=["POST"], summary="Create and enable the service campaigns"
    )
    routes.add_api_route("/campaigns", api.list_campaigns, methods=["GET"], summary="Campaigns, by name")
    routes.add_api_route(
        "/campaigns/{campaign_id}", api.change_campaign, methods=["PATCH"], summary="Enable or disable a campaign"
    )
    routes.add_api_route(
        "/campaigns/{campaign_id}/leads", api.list_leads, methods=["GET"], summary="Who was sent it, newest first"
    )
    return routes


class CampaignsApi:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._clock = services.clock

    async def create_default(self, merchant_id: MerchantId) -> list[CampaignSchema]:
        """The four campaigns of the notifications, created where missing and enabled. Again, it changes nothing."""

        try:
            rows = await self._create_default(merchant_id)
        except IntegrityError:
            rows = await self._create_default(merchant_id)  # another request created them at this moment
        return [CampaignSchema.model_validate(row) for row in rows]

    async def list_campaigns(self, merchant_id: MerchantId, paging: WantedPage) -> Page[CampaignSchema]:
        """The merchant's campaigns."""
        async with self._database.read() as session:
            rows, total = await CampaignRepository(session, merchant_id).page(paging.page_size, paging.offset)
        return paging.of(map(CampaignSchema.model_validate, rows), total)

    async def change_campaign(
        self, merchant_id: MerchantId, campaign_id: PathId, body: CampaignChange
    ) -> CampaignSchema:
        """A disabled campaign is not sent: notifications then reach nobody outside the 24-hour window."""
        async with self._database.transaction() as session:
            row = await CampaignRepository(session, merchant_id).get(campaign_id)
            if row.enabled != body.enabled:
                row.enabled, row.updated_at = body.enabled, self._clock.now()
        return CampaignSchema.model_validate(row)

    async def list_leads(self, merchant_id: MerchantId, campaign_id: PathId, paging: WantedPage) -> Page[LeadSchema]:
        """Each recipient of each send, with what they were told and how far that came."""
        async with self._database.read() as session:
            repository = CampaignRepository(session, merchant_id)
            rows, total = await repository.leads(campaign_id, paging.page_size, paging.offset)
            if not total:
                await repository.get(campaign_id)  # sent to nobody, or not there?
        return paging.of(map(_lead, rows), total)

    async def _create_default(self, merchant_id: int) -> list[Campaign]:
        async with self._database.transaction() as session:
            await CampaignService(session, merchant_id, self._clock).create_default()
            return await CampaignRepository(session, merchant_id).all()


def _lead(sent: SentLead) -> LeadSchema:
    return LeadSchema(
        id=sent.lead.id,
        conversation_user_id=sent.contact.id,
        conversation_id=sent.conversation_id,
        name=sent.contact.name,
        phone=sent.contact.phone,
        message_id=sent.lead.message_id,
        text=sent.text,
        variables=sent.lead.variables,
        delivery_state=sent.delivery_state,
        created_at=sent.lead.created_at,
    )
