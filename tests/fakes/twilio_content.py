"""The fake's Content API: contents, the search for them, and requests for their approval.

Sources: www.twilio.com/docs/content/content-api-resources, …/twilio-quick-reply, …/twiliolist-picker, and the
installed `twilio` package for names and paths. As there, a JSON body is read as JSON only: a form is refused.
"""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.recorder import JsonObject
from tests.fakes.server import pairs
from tests.fakes.twilio_inbound import new_sid
from tests.fakes.twilio_wire import error_body

Gate = Callable[[Request, str, JsonObject], Awaitable[Response | None]]
"""(request, op, body): records it; an answer when it is refused or faulty."""
Refuse = Callable[[JsonObject], Response]

IN_SESSION = "twilio/quick-reply", "twilio/list-picker"
_LIMITS = {"title": 20, "item": 24, "id": 200, "description": 72, "button": 20, "body": 1_024}
_VARIABLE = re.compile(r"\{\{(\d+)\}\}")
_VALUE = re.compile(r"[\n\r\t]|\s{5}")


class ContentApi:
    """`made`: the contents created here, by sid, as their resources."""

    def __init__(self, gate: Gate, refuse: Refuse) -> None:
        self.made: dict[str, JsonObject] = {}
        self._gate = gate
        self._refuse = refuse

    def routes(self) -> list[Route]:
        one = "/v1/Content/{sid}"
        return [
            Route("/v1/Content", self._create, methods=["POST"]),
            Route("/v1/Content", self._list, methods=["GET"]),
            Route("/v2/Content", self._list, methods=["GET"]),
            Route("/v2/ContentAndApprovals", self._list, methods=["GET"]),
            Route(one, self._fetch, methods=["GET"]),
            Route(one, self._delete, methods=["DELETE"]),
            Route(f"{one}/ApprovalRequests", self._approval, methods=["GET"]),
            Route(f"{one}/ApprovalRequests/whatsapp", self._ask, methods=["POST"]),
        ]

    def text(self, sid: str) -> str | None:
        """The body of a content that was created here."""
        content = self.made.get(sid)
        return None if content is None else str(_first_type(content).get("body", ""))

    def titles(self, form: JsonObject) -> list[str]:
        """What the buttons, or the rows, of a sent message say."""
        content = self.made.get(str(form.get("ContentSid")))
        if content is None:
            return []
        kind, values = _first_type(content), _values(form)
        parts = [*kind.get("actions", []), *kind.get("items", [])]
        return [_fill(str(part.get("title") or part.get("item")), values) for part in parts]

    def problem(self, form: JsonObject) -> JsonObject | None:
        """Why a send of a content is refused: values that no variable takes, or what is too long once filled in."""
        content = self.made.get(str(form.get("ContentSid")))
        if content is None:
            return None
        values = _values(form)
        needed = set(_VARIABLE.findall(json.dumps(content["types"])))
        if needed - set(values):
            return error_body(63028, 400, "Number of parameters provided does not match")
        if any(not value or _VALUE.search(value) for value in values.values()):
            return error_body(63013, 400, "This message send failed because it violates Channel provider's policy.")
        kind = _first_type(content)
        filled = [kind, *kind.get("actions", []), *kind.get("items", [])]
        for part in filled:
            for name, most in _LIMITS.items():
                if len(_fill(str(part.get(name, "")), values)) > most:
                    return error_body(63021, 400, f"Invalid content: {name}")
        return None

    def approve(self, sid: str, status: str, **more: Any) -> None:
        """What WhatsApp has decided: `status`, and perhaps `rejection_reason` or `category`."""
        self.made[sid]["approval_requests"] |= {"status": status, **more}

    async def _create(self, request: Request) -> Response:
        raw = (await request.body()).decode()
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        refused = await self._gate(request, "content", body if isinstance(body, dict) else {"raw": raw})
        if refused is not None:
            return refused
        problem = _shape_problem(body)
        if problem is not None:
            return self._refuse(error_body(problem[0], 400, problem[1]))
        now, sid = datetime.now(UTC).replace(microsecond=0).isoformat(), new_sid("HX")
        url = f"https://content.twilio.com/v1/Content/{sid}"
        self.made[sid] = {
            "sid": sid,
            "date_created": now,
            "date_updated": now,
            "variables": {},
            **body,
            "url": url,
            "links": {
                "approval_create": f"{url}/ApprovalRequests/whatsapp",
                "approval_fetch": f"{url}/ApprovalRequests",
            },
            "approval_requests": {"status": "unsubmitted", "rejection_reason": "", "name": "", "category": ""},
        }
        return JSONResponse(_shown(self.made[sid]), status_code=201)

    async def _list(self, request: Request) -> Response:
        query = pairs(request.url.query)
        refused = await self._gate(request, "contents", query)
        if refused is not None:
            return refused
        wanted = re.compile(str(query.get("ContentName", "")))
        found = [content for content in self.made.values() if wanted.search(str(content.get("friendly_name", "")))]
        size, page = min(int(query.get("PageSize", 50)), 1_000), int(query.get("Page", 0))
        shown = found[page * size : (page + 1) * size]
        address = f"https://content.twilio.com{request.url.path}"
        more = len(found) > (page + 1) * size
        following = urlencode({**query, "PageSize": size, "Page": page + 1})
        keep = request.url.path.endswith("ContentAndApprovals")
        meta = {"key": "contents", "page": page, "page_size": size, "url": address}
        meta["next_page_url"] = f"{address}?{following}" if more else None
        return JSONResponse(
            {"contents": [content if keep else _shown(content) for content in shown], "meta": meta},
        )

    async def _fetch(self, request: Request) -> Response:
        content, refused = await self._one(request, "content_fetch", {})
        return refused or JSONResponse(_shown(content))

    async def _delete(self, request: Request) -> Response:
        content, refused = await self._one(request, "content_delete", {})
        if refused is not None:
            return refused
        del self.made[content["sid"]]
        return Response(status_code=204)

    async def _approval(self, request: Request) -> Response:
        content, refused = await self._one(request, "approval_fetch", {})
        return refused or JSONResponse({"sid": content["sid"], "whatsapp": content["approval_requests"]})

    async def _ask(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ValueError:
            body = {}
        content, refused = await self._one(request, "approval", body)
        if refused is not None:
            return refused
        if not re.fullmatch(r"[a-z0-9_]{1,512}", str(body.get("name", ""))):
            return self._refuse(error_body(92007, 400, "Invalid template name"))
        if "twilio/list-picker" in content["types"]:
            return self._refuse(error_body(92008, 400, "This content type cannot be approved"))
        if content["approval_requests"]["status"] != "unsubmitted":
            return self._refuse(error_body(92009, 400, "The template has already been submitted for approval."))
        content["approval_requests"] = {
            "allow_category_change": True,
            "content_type": next(iter(content["types"])),
            "rejection_reason": "",
            "status": "received",
            **body,
        }
        return JSONResponse(content["approval_requests"], status_code=201)

    async def _one(self, request: Request, op: str, body: JsonObject) -> tuple[JsonObject, Response | None]:
        refused = await self._gate(request, op, body)
        content = self.made.get(request.path_params["sid"], {})
        if refused is None and not content:
            refused = self._refuse(error_body(20404, path=request.url.path))
        return content, refused


def _shape_problem(body: Any) -> tuple[int, str] | None:
    """The code and text with which a creation is refused."""
    if not isinstance(body, dict):
        return 20001, "the body is no JSON object"
    types = body.get("types")
    if not isinstance(types, dict) or not types:
        return 92001, "'Types' Parameter Required"
    if not re.fullmatch(r"[a-z]{2}(_[A-Z]{2})?", str(body.get("language", ""))):
        return 92004, "Invalid language code"
    quick, rows = (types.get(kind, {}) for kind in IN_SESSION)
    if quick and not 1 <= len(quick.get("actions", [])) <= 10:
        return 92003, "actions: 1 to 10"
    if rows and not (1 <= len(rows.get("items", [])) <= 10 and rows.get("button")):
        return 92003, "items: 1 to 10, and a button"
    if any(not item.get("description") for item in rows.get("items", [])):
        return 92003, "an item has no description"
    if set(_VARIABLE.findall(json.dumps(types))) - set(body.get("variables", {})):
        return 92003, "a variable has no sample"
    return None


def _shown(content: JsonObject) -> JsonObject:
    return {name: value for name, value in content.items() if name != "approval_requests"}


def _first_type(content: JsonObject) -> JsonObject:
    return dict(next(iter(content["types"].values())))


def _values(form: JsonObject) -> dict[str, str]:
    return {name: str(value) for name, value in json.loads(form.get("ContentVariables") or "{}").items()}


def _fill(text: str, values: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), text)
