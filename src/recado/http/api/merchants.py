"""The merchant, its staff, and its API keys."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from recado.db.models import Merchant
from recado.http.api.common import Body, Change, Name, Page, PathId, PhoneNumber, WantedPage, problems
from recado.http.auth import API_PREFIX, MerchantId
from recado.http.services import HttpServices
from recado.merchants.keys import ApiKeys
from recado.merchants.linking import StaffLinks
from recado.merchants.repository import MerchantRepository, merchants_page
from recado.merchants.staff import Staff

UserTypes = Annotated[
    list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]],
    Field(min_length=1, max_length=20, description="Such as admin, sales, support, returns"),
]
MEMBER: dict[str, Any] = {"name": "Luis", "phone": "+51900000002", "types": ["returns", "support"]}
KEY: dict[str, Any] = {
    "id": 4,
    "name": "dashboard",
    "hint": "rcd_Zk3xQ1",
    "created_at": "2026-05-01T12:00:00Z",
}


class MerchantSchema(BaseModel):
    """A merchant, without its channels' credentials."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "name": "Bodega Sol",
                    "sub_domain": "bodega-sol",
                    "local_id": "lima-centro",
                    "bot_id": "sol",
                    "language": "es",
                    "timezone": "America/Lima",
                    "reminder_minutes": 15,
                    "escalation_minutes": 60,
                    "created_at": "2026-05-01T12:00:00Z",
                }
            ]
        },
    )

    id: int
    name: str
    sub_domain: str
    local_id: str | None
    bot_id: str | None
    language: str
    timezone: str
    reminder_minutes: int
    escalation_minutes: int
    created_at: datetime


class MerchantUserSchema(BaseModel):
    """A member of the staff. One that is not active is not asked, and cannot answer."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [{"id": 2, **MEMBER, "active": True}]}
    )

    id: int
    name: str
    phone: str
    types: list[str]
    active: bool


class NewMerchantUser(Body):
    """A member of the staff. Their phone is the one on which they are asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [MEMBER]})

    name: Name
    phone: PhoneNumber
    types: UserTypes


class MerchantUserChange(Change):
    """What is to change; the rest stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"types": ["admin"]}]})

    name: Name | None = None
    phone: PhoneNumber | None = None
    types: UserTypes | None = None
    active: bool | None = None


class LinkCodeSchema(BaseModel):
    """A code with which a member links the account that they write from. It is shown this once, and works once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "LINK-7KQ2-M9XD", "expires_at": "2026-05-01T12:15:00Z"}]}
    )

    code: str
    expires_at: datetime


class StaffLinkSchema(BaseModel):
    """An account that is a member's, although no phone number is shown there."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 3,
                    "channel": "instagram",
                    "channel_user_id": "17841400000000001",
                    "linked_at": "2026-05-01T12:03:00Z",
                }
            ]
        },
    )

    id: int
    channel: str
    channel_user_id: str
    linked_at: datetime


class NamedKey(BaseModel):
    """A key, without what makes it one. `hint` is how it begins."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    hint: str
    created_at: datetime


class ApiKeySchema(NamedKey):
    """A key of the merchant; one with `revoked_at` is refused since then."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**KEY, "revoked_at": "2026-06-30T08:15:00Z"}]})

    revoked_at: datetime | None


class CreatedApiKey(NamedKey):
    """A new key. `key` is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**KEY, "key": "rcd_Zk3xQ1uVb0n1Hs8m2cWq5e7r9t0y2u4i6o8p0a1s3d5"}]}
    )

    key: str


class NewApiKey(Body):
    """What the key is for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "dashboard"}]})

    name: Name


def platform_router(services: HttpServices) -> APIRouter:
    """The routes about all merchants."""
    api = MerchantsApi(services)
    routes = APIRouter(prefix="/merchant", tags=["merchants"])
    routes.add_api_route("/merchants", api.list_merchants, methods=["GET"], summary="All merchants (platform key)")
    return routes


def router(services: HttpServices) -> APIRouter:
    """The routes about one merchant."""
    api = MerchantsApi(services)
    routes = APIRouter(prefix="/merchant", tags=["merchants"])
    routes.add_api_route("/me", api.get_merchant, methods=["GET"], summary="The merchant")
    routes.add_api_route("/users", api.list_users, methods=["GET"], summary="The staff")
    taken = problems(409)
    routes.add_api_route(
        "/users", api.create_user, methods=["POST"], status_code=201, summary="Add to the staff", responses=taken
    )
    user = "/users/{user_id}"
    routes.add_api_route(user, api.change_user, methods=["PATCH"], summary="Change a member", responses=taken)
    routes.add_api_route(
        user, api.deactivate_user, methods=["DELETE"], status_code=204, summary="Deactivate a member of the staff"
    )
    routes.add_api_route(
        f"{user}/link-code", api.make_link_code, methods=["POST"], status_code=201, summary="Make a link code"
    )
    routes.add_api_route(f"{user}/links", api.list_links, methods=["GET"], summary="Accounts that a member has linked")
    routes.add_api_route(
        f"{user}/links/{{link_id}}", api.remove_link, methods=["DELETE"], status_code=204, summary="Remove a link"
    )
    routes.add_api_route("/keys", api.list_keys, methods=["GET"], summary="API keys, newest first")
    routes.add_api_route("/keys", api.create_key, methods=["POST"], status_code=201, summary="Make an API key")
    routes.add_api_route(
        "/keys/{key_id}", api.revoke_key, methods=["DELETE"], status_code=204, summary="Revoke an API key"
    )
    return routes


class MerchantsApi:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._clock = services.clock

    async def list_merchants(self, paging: WantedPage) -> Page[MerchantSchema]:
        """Every merchant, by id."""
        async with self._database.read() as session:
            rows, total = await merchants_page(session, paging.page_size, paging.offset)
        return paging.of(map(MerchantSchema.model_validate, rows), total)

    async def get_merchant(self, merchant_id: MerchantId) -> MerchantSchema:
        """The merchant that the key belongs to, or that the platform names."""
        async with self._database.read() as session:
            merchant: Merchant = await MerchantRepository(session, merchant_id).get()
        return MerchantSchema.model_validate(merchant)

    async def list_users(
        self, merchant_id: MerchantId, paging: WantedPage, active: bool | None = None
    ) -> Page[MerchantUserSchema]:
        """The staff, by id; with `active`, only those who are or are not."""
        async with self._database.read() as session:
            rows, total = await Staff(session, merchant_id).page(active, paging.page_size, paging.offset)
        return paging.of(map(MerchantUserSchema.model_validate, rows), total)

    async def create_user(
        self, merchant_id: MerchantId, body: NewMerchantUser, response: Response
    ) -> MerchantUserSchema:
        """One who was deactivated comes back, with the new name and types. `recado apply` with a file that does not
        name them deactivates them again.
        """
        async with self._database.transaction() as session:
            row = await Staff(session, merchant_id).add(body.name, body.phone, body.types)
        response.headers["Location"] = f"{API_PREFIX}/merchant/users/{row.id}"
        return MerchantUserSchema.model_validate(row)

    async def change_user(
        self, merchant_id: MerchantId, user_id: PathId, body: MerchantUserChange
    ) -> MerchantUserSchema:
        """Change a member's name, phone, types, or whether they are active."""
        async with self._database.transaction() as session:
            row = await Staff(session, merchant_id).change(user_id, body.model_dump(exclude_unset=True))
        return MerchantUserSchema.model_validate(row)

    async def deactivate_user(self, merchant_id: MerchantId, user_id: PathId) -> None:
        """From now on they are not asked, and what they write is a customer's. Their answers stay."""
        async with self._database.transaction() as session:
            await Staff(session, merchant_id).change(user_id, {"active": False})

    async def make_link_code(self, merchant_id: MerchantId, user_id: PathId, response: Response) -> LinkCodeSchema:
        """The member writes it to the merchant from the account that is to be linked, within 15 minutes. Codes that
        were made for them before are void.
        """
        async with self._database.transaction() as session:
            code, expires_at = await StaffLinks(session, merchant_id, self._clock).new_code(user_id)
        response.headers["Cache-Control"] = "no-store"
        return LinkCodeSchema(code=code, expires_at=expires_at)

    async def list_links(self, merchant_id: MerchantId, user_id: PathId, paging: WantedPage) -> Page[StaffLinkSchema]:
        """By id. They are few: each was linked with a code of its own."""
        async with self._database.read() as session:
            rows = [row for row, _ in await StaffLinks(session, merchant_id, self._clock).links(user_id)]
        shown = rows[paging.offset : paging.offset + paging.page_size]
        return paging.of(map(StaffLinkSchema.model_validate, shown), len(rows))

    async def remove_link(self, merchant_id: MerchantId, user_id: PathId, link_id: PathId) -> None:
        """Who writes from that account is a customer again."""
        async with self._database.transaction() as session:
            await StaffLinks(session, merchant_id, self._clock).unlink(link_id, user_id)

    async def list_keys(self, merchant_id: MerchantId, paging: WantedPage) -> Page[ApiKeySchema]:
        """The merchant's keys, the revoked ones too."""
        async with self._database.read() as session:
            rows, total = await ApiKeys(session, merchant_id, self._clock).page(paging.page_size, paging.offset)
        return paging.of(map(ApiKeySchema.model_validate, rows), total)

    async def create_key(self, merchant_id: MerchantId, body: NewApiKey, response: Response) -> CreatedApiKey:
        """The key is in this response and nowhere else: only its hash is kept."""
        async with self._database.transaction() as session:
            row, key = await ApiKeys(session, merchant_id, self._clock).create(body.name)
        response.headers["Cache-Control"] = "no-store"
        return CreatedApiKey(**NamedKey.model_validate(row).model_dump(), key=key)

    async def revoke_key(self, merchant_id: MerchantId, key_id: PathId) -> None:
        """From now on the key is refused."""
        async with self._database.transaction() as session:
            await ApiKeys(session, merchant_id, self._clock).revoke(key_id)
