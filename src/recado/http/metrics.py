"""What Prometheus reads."""

from collections.abc import Iterable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest
from prometheus_client.registry import Collector

from recado.http.backlog import Backlog
from recado.http.services import HttpServices


class Known(Collector):
    """Figures that were read already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """They."""
        return self._families


def router(services: HttpServices) -> APIRouter:
    """`/metrics`: what this process has counted, and what the rows say of all of them."""
    routes = APIRouter(tags=["health"])
    backlog = Backlog(services)

    @routes.get("/metrics", summary="What Prometheus reads", response_class=Response)
    async def prometheus() -> Response:
        rows = generate_latest(Known(await backlog.read()))  # before the rest, which counts what could not be read
        return Response(generate_latest() + rows, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return routes
