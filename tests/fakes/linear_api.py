"""A local Linear: makes and finds issues by GraphQL, one for each id.

In a test: `with running(LinearFake()) as fake`, then LINEAR_API_URL is `fake.api_url`. `fake.fail(mode, times)` with
modes: `no_rights`, `invalid_key`, `invalid_team`, `limited` (all HTTP 400, as Linear has it), `errors_200`, `null`
(success: false), `html`, `status` 500, `redirect`, `hang`, and `lost`: the issue is made and the connection cut.

https://linear.app/developers/graphql
"""

import json
import uuid
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse, Fake

PERSONAL_KEY = "lin_api_5ecretKeyThatNobodyMaySee"
OAUTH_TOKEN = "oauth-5ecret-token"
TEAM = "9cfb482a-81e3-4154-b5b9-2c805e70a02d"
ERRORS = {
    "no_rights": ("Forbidden", "FORBIDDEN", "You don't have permission to create issues in this team."),
    "invalid_key": ("Authentication required, not authenticated", "AUTHENTICATION_ERROR", "You need to authenticate."),
    "invalid_team": ("Entity not found: Team", "INPUT_ERROR", "Could not find referenced Team."),
    "limited": ("Rate limit exceeded", "RATELIMITED", "Rate limit exceeded. Only 2500 requests are allowed per hour."),
    "errors_200": ("Argument Validation Error", "INVALID_INPUT", "teamId must be a UUID."),
    "bearer": ("Bearer token", "AUTHENTICATION_ERROR", "Remove the Bearer prefix from the Authorization header."),
}


class LinearFake(Fake):
    """`issues`: those that were made, by id."""

    def __init__(self, log: Path | None = None) -> None:
        super().__init__(log)
        self._clear()

    def _clear(self) -> None:
        self.issues: dict[str, JsonObject] = {}
        self._faults: list[JsonObject] = []

    @property
    def api_url(self) -> str:
        return f"{self.url}/graphql"

    def fail(self, mode: str, times: int | None = None) -> None:
        """Add a fault."""
        self._faults.append({"mode": mode, **({} if times is None else {"times": times})})

    def apply_script(self, script: Any) -> None:
        self._faults = [dict(fault) for fault in script["faults"]]

    def reset(self) -> None:
        super().reset()
        self._clear()

    def routes(self) -> list[Route]:
        return [Route("/graphql", self._graphql, methods=["POST"])]

    def not_found(self, request: Request) -> Response:
        return HTMLResponse("<html>Not found</html>", status_code=404)

    async def _graphql(self, request: Request) -> Response:
        body = json.loads(await request.body())
        creating = "issueCreate" in body["query"]
        mode = self._mode()
        self.record(request, "create" if creating else "find", body, mode or "ok")
        key = request.headers.get("authorization", "")
        if key not in (PERSONAL_KEY, f"Bearer {OAUTH_TOKEN}"):
            return _error("bearer" if key.startswith("Bearer lin_api_") else "invalid_key")
        if mode == "hang":
            await self.pause({"hang": True})
            return CutResponse()
        if mode:
            answer = self._faulty(mode, body)
            if answer is not None:
                return answer
        return self._create(body["variables"]["input"]) if creating else self._find(body["variables"]["id"])

    def _create(self, given: JsonObject) -> Response:
        if given["teamId"] != TEAM:
            return _error("invalid_team")
        if uuid.UUID(given["id"]).version != 4 or not 0 < len(given["title"]) <= 255:
            return _error("errors_200")
        if given["id"] in self.issues:
            said = f"Entity Issue with id {given['id']} already exists."
            return _failure("conflict on insert of Issue", "INPUT_ERROR", said, 400)
        identifier = f"OPS-{len(self.issues) + 1}"
        url = f"https://linear.app/recado/issue/{identifier}/an-issue"
        self.issues[given["id"]] = {**given, "identifier": identifier, "url": url}
        return _data({"issueCreate": {"success": True, "issue": self._shown(given["id"])}})

    def _find(self, issue_id: str) -> Response:
        if issue_id not in self.issues:
            return _failure("Entity not found: Issue", "INPUT_ERROR", "Could not find referenced Issue.", 400)
        return _data({"issue": self._shown(issue_id)})

    def _shown(self, issue_id: str) -> JsonObject:
        return {"id": issue_id, **{name: self.issues[issue_id][name] for name in ("identifier", "url")}}

    def _mode(self) -> str:
        for fault in self._faults:
            if fault.get("times") != 0:
                if "times" in fault:
                    fault["times"] -= 1
                return str(fault["mode"])
        return ""

    def _faulty(self, mode: str, body: JsonObject) -> Response | None:
        match mode:
            case "lost":
                self._create(body["variables"]["input"])
                return CutResponse()
            case "html":
                return HTMLResponse("<html><body>Maintenance</body></html>")
            case "status":
                return HTMLResponse("<html><body>502</body></html>", status_code=502)
            case "redirect":
                return RedirectResponse(self.api_url, status_code=307)
            case "null":
                return _data({"issueCreate": {"success": False, "issue": None}})
            case "errors_200":
                return _error(mode, 200)
        return _error(mode)


def _data(data: JsonObject) -> Response:
    return JSONResponse({"data": data})


def _error(name: str, status: int = 400) -> Response:
    return _failure(*ERRORS[name], status)


def _failure(message: str, code: str, said: str, status: int) -> Response:
    extensions = {"type": code.lower(), "code": code, "userError": True, "userPresentableMessage": said}
    error = {"message": message, "path": ["issueCreate"], "extensions": extensions}
    return JSONResponse({"errors": [error], "data": None}, status_code=status)
