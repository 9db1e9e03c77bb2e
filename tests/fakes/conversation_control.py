"""The `/_control` routes of the conversation API's stand-in: what a test calls in Python, over HTTP.

POST   /_control/faults      the arguments of `fail`, as JSON
DELETE /_control/faults      no more faults, and what hangs goes on
POST   /_control/seed        the arguments of `seed`, `expires_in` in seconds → {"session_id": …}
POST   /_control/inbound     the arguments of `inbound` → {"session_id": …}
GET    /_control/documents   all documents, or with ?session= that one (null when there is none)
DELETE /_control/documents   ?session=: that document goes
GET    /_control/posted      ?session= → [[role, content], …]
GET    /_control/synced      ?session= → [body, …]
GET    /_control/stats       {"overlaps", "requests", "operations": {name: count}, "documents"}
"""

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from tests.fakes.conversation_api import ConversationApiFake


class Control:
    """Routes that turn JSON into calls of the fake. Wrong arguments: 400."""

    def __init__(self, fake: "ConversationApiFake") -> None:
        self._fake = fake

    def routes(self) -> list[Route]:
        return [
            Route("/_control/faults", self._fail, methods=["POST"]),
            Route("/_control/faults", self._clear, methods=["DELETE"]),
            Route("/_control/seed", self._seed, methods=["POST"]),
            Route("/_control/inbound", self._inbound, methods=["POST"]),
            Route("/_control/documents", self._documents, methods=["GET"]),
            Route("/_control/documents", self._delete, methods=["DELETE"]),
            Route("/_control/posted", self._posted, methods=["GET"]),
            Route("/_control/synced", self._synced, methods=["GET"]),
            Route("/_control/stats", self._stats, methods=["GET"]),
        ]

    async def _fail(self, request: Request) -> Response:
        try:
            self._fake.fail(**await request.json())
        except (TypeError, ValueError) as error:
            return _wrong(error)
        return JSONResponse({"ok": True})

    async def _clear(self, _request: Request) -> Response:
        self._fake.clear_faults()
        return JSONResponse({"ok": True})

    async def _seed(self, request: Request) -> Response:
        try:
            given = await request.json()
            if "expires_in" in given:
                given["expires_in"] = timedelta(seconds=given["expires_in"])
            return JSONResponse({"session_id": self._fake.seed(**given)})
        except (TypeError, ValueError) as error:
            return _wrong(error)

    async def _inbound(self, request: Request) -> Response:
        try:
            return JSONResponse({"session_id": self._fake.inbound(**await request.json())})
        except (TypeError, ValueError) as error:
            return _wrong(error)

    async def _documents(self, request: Request) -> Response:
        session_id = request.query_params.get("session")
        return JSONResponse(self._fake.document(session_id) if session_id else self._fake.documents())

    async def _delete(self, request: Request) -> Response:
        self._fake.delete(request.query_params["session"])
        return JSONResponse({"ok": True})

    async def _posted(self, request: Request) -> Response:
        return JSONResponse(self._fake.posted(request.query_params["session"]))

    async def _synced(self, request: Request) -> Response:
        return JSONResponse(self._fake.synced(request.query_params["session"]))

    async def _stats(self, _request: Request) -> Response:
        operations = Counter(entry["kind"] for entry in self._fake.requests.entries())
        return JSONResponse(
            {
                "overlaps": self._fake.overlaps,
                "requests": operations.total(),
                "operations": dict(operations),
                "documents": len(self._fake.documents()),
            }
        )


def _wrong(error: Exception) -> Response:
    return JSONResponse({"ok": False, "problem": str(error)}, status_code=400)
