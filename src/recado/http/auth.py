"""Who calls the REST API, and which merchant a request is about."""

from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from sqlalchemy import select
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from recado.alerts.raising import Alarm
from recado.db.engine import Database
from recado.db.models import Merchant
from recado.errors import InvalidInput, MerchantNotFound, Unauthenticated, WrongPerson
from recado.http.errors import of_error
from recado.http.services import HttpServices
from recado.merchants.keys import merchant_of_key, same_key

log = structlog.get_logger(__name__)

API_PREFIX = "/api/v1"
KEY_HEADER = "X-API-Key"
MAX_ID = 2**31 - 1
"""The largest that an id column holds."""
NOBODY = 0
"""No merchant has this id."""
SUB_DOMAIN_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"

_bearer = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="A merchant's key (`rcd_…`) or the platform key."
)
_header = APIKeyHeader(
    name=KEY_HEADER, auto_error=False, scheme_name="api_key", description="The same keys, for those who cannot send it."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key a request carries. Without a merchant: the platform's."""

    merchant_id: int | None = None
    sub_domain: str | None = None


class Authentication:
    """Middleware before the REST API: a request without a known key is answered 401, its body unread."""

    def __init__(self, app: ASGIApp, services: HttpServices) -> None:
        self._app = app
        self._database = services.database
        self._alerts = services.alerts
        self._platform_key = services.settings.api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note in the request's state who calls, for the routes."""
        if scope["type"] == "http" and scope["path"].startswith(API_PREFIX):
            caller = await self._caller(presented_key(Headers(scope=scope)))
            if caller is None:
                log.warning("refused an API request without a known key", method=scope["method"])
                self._alerts.soon(Alarm("security_unknown_key", "`recado key list` has the known; the log has when"))
                error = Unauthenticated("give a key that is known, as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
                await of_error(error)(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    async def _caller(self, key: str) -> Caller | None:
        if self._platform_key and same_key(key, self._platform_key):
            return Caller()
        async with self._database.read() as session:
            merchant = await merchant_of_key(session, key)
        return Caller(*merchant) if merchant else None


def presented_key(headers: Headers) -> str:
    """The key that a request carries; empty without one."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get(KEY_HEADER, "")


class Access:
    """What groups of routes ask of a caller, as their dependencies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def merchant(
        self,
        request: Request,
        _bearer: Annotated[object, Security(_bearer)],
        _header: Annotated[object, Security(_header)],
        merchant_id: Annotated[
            int | None, Query(ge=1, le=MAX_ID, description="With the platform key: which merchant")
        ] = None,
        sub_domain: Annotated[
            str | None, Query(pattern=SUB_DOMAIN_PATTERN, description="With the platform key: which merchant")
        ] = None,
    ) -> None:
        """The request is about one merchant: the key's own, or the one that the platform names."""
        caller: Caller = request.state.caller
        if caller.merchant_id is not None:
            if merchant_id not in {None, caller.merchant_id} or sub_domain not in {None, caller.sub_domain}:
                raise MerchantNotFound("no such merchant")
            request.state.merchant_id = caller.merchant_id
            return
        if merchant_id is None and sub_domain is None:
            raise InvalidInput("the platform key must name the merchant: add merchant_id or sub_domain", "merchant_id")
        query = select(Merchant.id)
        if merchant_id is not None:
            query = query.where(Merchant.id == merchant_id)
        if sub_domain is not None:
            query = query.where(Merchant.sub_domain == sub_domain)
        async with self._database.read() as session:
            request.state.merchant_id = await session.scalar(query)
        if request.state.merchant_id is None:
            raise MerchantNotFound("no such merchant")

    async def platform(
        self,
        request: Request,
        _bearer: Annotated[object, Security(_bearer)],
        _header: Annotated[object, Security(_header)],
    ) -> None:
        """Only the platform may."""
        caller: Caller = request.state.caller
        if caller.merchant_id is not None:
            raise WrongPerson("this needs the platform key")


def _merchant_id(request: Request) -> int:
    # FastAPI comes here also when the query that names the merchant is malformed, and refuses the request afterwards.
    return int(getattr(request.state, "merchant_id", NOBODY))


MerchantId = Annotated[int, Depends(_merchant_id)]
"""In a route under `Access.merchant`: the merchant that the request is about."""
