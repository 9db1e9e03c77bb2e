"""The REST API, under /api/v1."""

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from recado.http.api import campaigns, conversations, documents, media, merchants, notifications, replies, traces
from recado.http.api.common import problems
from recado.http.auth import API_PREFIX, Access
from recado.http.services import HttpServices


def router(services: HttpServices) -> APIRouter:
    """All its routes, on these services."""
    access = Access(services.database)
    routes = APIRouter(prefix=API_PREFIX, responses=problems(401, 422), generate_unique_id_function=_operation_id)
    of_a_merchant = [Depends(access.merchant)]
    for part in (notifications, campaigns, documents, conversations, replies, traces, media, merchants):
        routes.include_router(part.router(services), dependencies=of_a_merchant, responses=problems(404))
    routes.include_router(
        merchants.platform_router(services), dependencies=[Depends(access.platform)], responses=problems(403)
    )
    return routes


def _operation_id(route: APIRoute) -> str:
    """The name of an operation, for generated clients: that of its handler."""
    return f"{route.tags[0]}_{route.name}"
