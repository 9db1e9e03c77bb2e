"""Liveness and readiness."""

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from recado.db.migrate import pending_revision
from recado.http.services import HttpServices
from recado.sync.repository import backlog, last_error


def router(services: HttpServices) -> APIRouter:
    """`/healthz` and `/readyz`."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="The process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz", summary="Every part is ready, and which one is not")
    async def readyz(response: Response) -> dict[str, Any]:
        parts = {
            "database": await _database(services),
            "queue": await _queue(services),
            "model": services.settings.model_provider,
            # Not what readiness depends on: without it messages are answered all the same, and what it is told waits.
            "conversation_sync": await _sync(services),
        }
        ready = parts["database"] == "ok" and parts["queue"] == "ok"
        response.status_code = 200 if ready else 503
        return {"status": "ready" if ready else "not ready", "parts": parts}

    return routes


async def _database(services: HttpServices) -> str:
    try:
        async with services.database.read() as session:
            await session.execute(text("SELECT 1"))
        missing = await pending_revision(services.database)
    except (SQLAlchemyError, OSError) as error:
        return f"unreachable: {type(error).__name__}"
    return f"schema is behind: run `recado migrate` (to {missing})" if missing else "ok"


async def _queue(services: HttpServices) -> str:
    try:
        await services.nudges.queue.count("queued")
    except Exception as error:  # noqa: BLE001 - each queue has exceptions of its own, and this asks whether any came
        return f"unreachable: {type(error).__name__}"
    return "ok"


async def _sync(services: HttpServices) -> str:
    """How far behind the conversation API is."""
    if not services.settings.enable_conversation_sync:
        return "off"
    try:
        async with services.database.read() as session:
            waiting, since = await backlog(session)
            why = await last_error(session) if waiting else None
    except (SQLAlchemyError, OSError) as error:
        return f"unknown: {type(error).__name__}"
    age = (services.clock.now() - since).total_seconds() if since else 0.0
    # With workers of their own, only the rows know what went wrong: the circuit is theirs.
    behind = f"{waiting} entries wait, the oldest for {age:.0f} s{f': {why}' if why else ''}" if waiting else "in step"
    return behind if services.circuit.state == "closed" else f"the API does not answer; {behind}"
