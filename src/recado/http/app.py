"""The ASGI app."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from recado.http import api, errors, health, metrics, openapi, simulator
from recado.http.auth import Authentication
from recado.http.limits import BodyLimit
from recado.http.services import HttpServices
from recado.http.webhooks import meta, twilio

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(services: HttpServices, lifespan: Lifespan | None = None) -> FastAPI:
    """All routes on these services. `lifespan` connects them."""
    app = FastAPI(
        title="Recado",
        description=openapi.DESCRIPTION,
        version="0.1.0",
        lifespan=lifespan,
        openapi_tags=openapi.TAGS,
    )
    errors.install(app, services.alerts)
    openapi.install(app)
    app.add_middleware(Authentication, services=services)
    app.add_middleware(BodyLimit)
    app.include_router(twilio.router(services))
    app.include_router(meta.router(services))
    app.include_router(api.router(services))
    app.include_router(health.router(services))
    app.include_router(metrics.router(services))
    app.include_router(simulator.router(services))
    app.add_api_route("/", lambda: RedirectResponse("/simulator"), include_in_schema=False)
    return app
