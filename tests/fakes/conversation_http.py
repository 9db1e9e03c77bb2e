"""The way of a request through the conversation API's stand-in; see `conversation_api`."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any, Literal

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fakes.conversation_documents import Refused
from tests.fakes.conversation_faults import Fault, Faults, envelope, half, html, too_large
from tests.fakes.conversation_operations import Call, Operations
from tests.fakes.recorder import Gates, JsonObject, Recorder
from tests.fakes.server import TRANSPORT, CutResponse


class Intake:
    """Counts, records, fails on demand, checks size, syntax and key; then lets the operation run."""

    def __init__(
        self,
        recorder: Recorder,
        gates: Gates,
        faults: Faults,
        *,
        body_limit: int,
        api_key: str | None,
        demands_key: bool,
    ) -> None:
        self.overlaps = 0
        self._recorder = recorder
        self._gates = gates
        self._faults = faults
        self._body_limit = body_limit
        self._api_key = api_key
        self._demands_key = demands_key
        self._inside: list[tuple[str | None, asyncio.Transport]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, operations: Operations, operation: str, request: Request) -> Response:
        with self._counted(request):
            raw = await request.body()
            fault = self._faults.take(operation)
            entry = self.record(request, operation, raw.decode("utf-8", "replace"), str(fault))
            response = await self._outcome(operations, operation, request, raw, fault)
            if not isinstance(response, CutResponse):
                entry["status"] = response.status_code
            return response

    def record(self, request: Request, kind: str, body: str, outcome: str) -> JsonObject:
        """Never the value of the Authorization header."""
        entry = {
            "kind": kind,
            "method": request.method,
            "path": request.url.path,
            "query": dict(request.query_params),
            "session": request.path_params.get("session"),
            "authorization": self._authorization(request),
            "body": _readable(body),
            "outcome": outcome,
            "status": 404 if kind == "unknown" else None,
        }
        return self._recorder.add(entry)

    def abort(self) -> None:
        """Resets the connections of all requests that are in the server, as its death does. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            for _session, transport in list(self._inside):
                self._loop.call_soon_threadsafe(transport.abort)

    @contextlib.contextmanager
    def _counted(self, request: Request) -> Iterator[None]:
        """The request is in the server."""
        self._loop = asyncio.get_running_loop()
        mine = (request.path_params.get("session"), request.scope[TRANSPORT])
        if any(mine[0] is not None and mine[0] == other and not it.is_closing() for other, it in self._inside):
            self.overlaps += 1
        self._inside.append(mine)
        try:
            yield
        finally:
            self._inside.remove(mine)

    async def _outcome(
        self, operations: Operations, operation: str, request: Request, raw: bytes, fault: Fault
    ) -> Response:
        if fault.latency:  # no other pause: what is recorded must be held in the same step, see Gates.release
            await anyio.sleep(fault.latency)
        if fault.cut == "before" or (fault.hang and not await self._held(request)):
            return CutResponse()
        instead = fault.answer(not_found(request))
        if instead is not None:
            return instead
        response = await self._processed(operations, operation, request, raw)
        if fault.cut == "after":
            return CutResponse()
        return half(response) if fault.garbage else response

    async def _held(self, request: Request) -> bool:
        """Whether it was released; False when it was dropped, or its caller has gone away."""
        released = False
        async with anyio.create_task_group() as group:

            async def until_gone() -> None:
                await request.receive()  # the body was read: what comes next is the disconnection
                group.cancel_scope.cancel()

            group.start_soon(until_gone)
            released = await self._gates.hold("hang")
            group.cancel_scope.cancel()
        return released

    async def _processed(self, operations: Operations, operation: str, request: Request, raw: bytes) -> Response:
        if len(raw) > self._body_limit:
            return too_large()
        try:
            body = _parsed(request, raw)
        except ValueError as error:
            return html(f"SyntaxError: {error}", 400)
        if self._demands_key and self._authorization(request) != "right":
            return JSONResponse({"error": "Unauthorized"}, status_code=401)
        call = Call(dict(request.path_params), dict(request.query_params), body)
        try:
            answer = await operations.run(operation, call)
        except Refused as refused:
            return envelope("3", refused.message, None, refused.status)
        return envelope("1", answer.message, answer.data, answer.status)

    def _authorization(self, request: Request) -> Literal["none", "right", "wrong", "unchecked"]:
        given = request.headers.get("authorization")
        if given is None:
            return "none"
        if self._api_key is None:
            return "unchecked"
        return "right" if given == f"Bearer {self._api_key}" else "wrong"


def not_found(request: Request) -> Response:
    """The answer to a route that is not there."""
    return html(f"Cannot {request.method} {request.url.path}", 404)


def _readable(body: str) -> Any:
    """JSON where it is JSON; else the text."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body


def _parsed(request: Request, raw: bytes) -> JsonObject:
    """Without JSON's content type nothing is read, as in Express. Raises ValueError with the parser's words."""
    if not raw or "json" not in request.headers.get("content-type", ""):
        return {}
    body = json.loads(raw)
    if not isinstance(body, dict | list):
        raise ValueError(f"Unexpected token {raw[:1].decode('utf-8', 'replace')} in JSON at position 0")
    return body if isinstance(body, dict) else {}
