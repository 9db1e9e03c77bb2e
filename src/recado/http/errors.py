"""Errors as RFC 9457 problem details. The only place that knows which error has which HTTP status."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException

from recado.alerts.raising import Alarm, Alerts
from recado.errors import (
    AlreadyAnswered,
    AlreadyThere,
    CannotWrite,
    InvalidInput,
    NotFound,
    RecadoError,
    SyncOff,
    Unauthenticated,
    WrongPerson,
)
from recado.telemetry.context import IDS, ids_of

log = structlog.get_logger(__name__)

STATUS: Mapping[type[RecadoError], tuple[int, str]] = {
    NotFound: (404, "Not found"),
    InvalidInput: (422, "Invalid input"),
    AlreadyAnswered: (409, "Already answered"),
    AlreadyThere: (409, "Already there"),
    CannotWrite: (409, "Cannot write to them now"),
    SyncOff: (409, "Conversation sync disabled"),
    Unauthenticated: (401, "Unauthenticated"),
    WrongPerson: (403, "Not allowed"),
}
OUR_FAULT = (500, "Internal error", "something failed on our side; the log has the details")
MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="Where it is: names and positions, joined by dots")
    message: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it. `errors` is there when single fields are to blame."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not found",
                    "status": 404,
                    "detail": "Notification 12 not found",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


def problem(
    status: int,
    title: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem details response."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": _encodable(detail)}
    if errors:
        body["errors"] = [{"field": _encodable(e.field), "message": _encodable(e.message)} for e in errors]
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def of_error(error: RecadoError) -> JSONResponse:
    """The response to one of our own errors."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            field = getattr(error, "field", None)
            errors = [FieldProblem(field=field, message=str(error))] if field else []
            headers = {"WWW-Authenticate": 'Bearer realm="recado"'} if kind is Unauthenticated else None
            return problem(*STATUS[kind], str(error), errors, headers)
    log.error("unexpected error in a request", error=f"{type(error).__name__}: {error}")
    return problem(*OUR_FAULT)


def install(app: FastAPI, alerts: Alerts) -> None:
    """Have the app answer every error as problem details, and the team hear of those that are our fault."""

    @app.exception_handler(RecadoError)
    async def recado_error(request: Request, error: RecadoError) -> JSONResponse:
        response = of_error(error)
        if response.status_code >= OUR_FAULT[0]:
            alerts.soon(_alarm(request, error))
        return response

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, "Request refused", str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [_described(found) for found in error.errors()]
        return problem(422, "Invalid input", "; ".join(f"{e.field}: {e.message}" for e in errors), errors)

    @app.exception_handler(IntegrityError)
    async def collision(_request: Request, _error: IntegrityError) -> JSONResponse:
        return problem(409, "Already there", "another request did the same at this moment; read, then try again")

    @app.exception_handler(Exception)
    async def our_fault(request: Request, error: Exception) -> JSONResponse:
        alerts.soon(_alarm(request, error))
        return problem(*OUR_FAULT)  # the server logs the traceback


def _alarm(request: Request, error: Exception) -> Alarm:
    # The route, not the path: that may hold anything. What the error says may be anything as well.
    route = getattr(request.scope.get("route"), "path", "an unknown route")
    given = {"merchant_id": getattr(request.state, "merchant_id", None), **request.path_params}
    ids = {name: int(given[name]) for name in IDS if str(given.get(name, "")).isdecimal()}
    return Alarm("request_failed", f"{request.method} {route}: {type(error).__name__}", {**ids_of(error), **ids})


def _described(found: dict[str, Any]) -> FieldProblem:
    if found["type"] == "json_invalid":  # its location is a position
        message = f"not valid JSON at character {found['loc'][-1]}: {found['ctx']['error']}"
        return FieldProblem(field="body", message=message)
    return FieldProblem(field=".".join(map(str, found["loc"][1:])) or "body", message=found["msg"])


def _encodable(text: str) -> str:
    """`text` without lone surrogates, which a JSON body may smuggle in and no response can carry."""
    return text.encode("utf-8", "replace").decode()
