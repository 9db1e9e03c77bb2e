"""A local Langfuse: `POST /api/public/otel/v1/traces` (OTLP) and `GET /api/public/projects`, with basic authentication.

(https://api.reference.langfuse.com.) `POST /_script` takes what the collector takes, for the spans, and `projects`: the
same for the projects, and `raw`: a body.
"""

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.otlp_collector import OtlpCollector
from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse

PROJECT_ID = "clx-project-1"


class LangfuseFake(OtlpCollector):
    """One project with one pair of keys."""

    path = "/api/public/otel/v1/traces"

    def __init__(self, public_key: str, secret_key: str, log: Any = None) -> None:
        super().__init__(log)
        self.public_key = public_key
        self.secret_key = secret_key
        self.projects: JsonObject = {}

    def routes(self) -> list[Route]:
        return [*super().routes(), Route("/api/public/projects", self._projects, methods=["GET"])]

    def apply_script(self, script: Any) -> None:
        given = dict(script)
        self.projects = given.pop("projects", {})
        super().apply_script(given)

    def not_found(self, request: Request) -> Response:
        return JSONResponse({"message": "Not Found", "error": "LangfuseNotFoundError"}, status_code=404)

    def refusal(self, request: Request) -> int | None:
        wanted = base64.b64encode(f"{self.public_key}:{self.secret_key}".encode()).decode()
        return None if request.headers.get("authorization") == f"Basic {wanted}" else 401

    async def _projects(self, request: Request) -> Response:
        status = self.refusal(request) or self.projects.get("status", 200)
        self.record(request, "projects", None, str(status))
        if not await self.pause(self.projects) or self.projects.get("cut"):
            return CutResponse()
        if status != 200:
            body: Any = {"message": "Invalid credentials.", "error": "UnauthorizedError"}
            return JSONResponse(body, status_code=status)
        if "raw" in self.projects:
            return Response(self.projects["raw"], media_type="application/json")
        return JSONResponse({"data": [{"id": PROJECT_ID, "name": "recado", "metadata": {}}]})
