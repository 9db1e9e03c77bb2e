"""Errors as RFC 9457 problem details. The only place that knows which error has which HTTP status."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recado.errors import AlreadyAnswered, InvalidInput, NotFound, RecadoError, WrongPerson

log = structlog.get_logger(__name__)

STATUS: Mapping[type[RecadoError], tuple[int, str]] = {
    NotFound: (404, "Not found"),
    InvalidInput: (422, "Invalid input"),
    AlreadyAnswered: (409, "Already answered"),
    WrongPerson: (403, "Not allowed"),
}


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """A problem details response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Have the app answer every error as problem details."""

    @app.exception_handler(RecadoError)
    async def recado_error(_request: Request, error: RecadoError) -> JSONResponse:
        for kind in type(error).__mro__:
            if kind in STATUS:
                return problem(*STATUS[kind], str(error))
        log.error("unexpected error in a request", error=f"{type(error).__name__}: {error}")
        return problem(500, "Internal error", "something failed on our side; the log has the details")

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, "Request refused", str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "Invalid input", "; ".join(map(_described, error.errors())))


def _described(found: dict[str, Any]) -> str:
    if found["type"] == "json_invalid":  # its location is a position
        return f"body: not valid JSON at character {found['loc'][-1]}: {found['ctx']['error']}"
    return f"{'.'.join(map(str, found['loc'][1:])) or 'body'}: {found['msg']}"
