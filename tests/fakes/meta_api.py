"""A local Graph API for WhatsApp: sends, read marks, media, templates, numbers; and signed webhooks.

In a test: `with running(MetaFake()) as fake`, then META_GRAPH_BASE_URL is `fake.url`.
As a process: `python -m tests.fakes.meta_api --port N --log FILE [--webhook-url … --app-secret … --access-token …]`.

`POST /_script` takes an object with any of:

    tokens     [access token, ...]; others answer 190
    templates  [{"name", "language", "body": "Hola {{x}}", "status", "category", "named", "buttons": [title, ...]}]
    status     what a template is after its creation: PENDING, or APPROVED …
    media      {media id: {"content": text, "type": content type}}
    closed     [person, ...]: their window is closed, only templates reach them
    numbers    {phone number id: {field: value}}: what a number is asked for
    debug      {field: value}: what is said of a token
    webhook    {"url": …, "app_secret": …}: where statuses and messages are posted
    faults     [{"when": {...}, "fault": {...}, "times": n}]; the first that matches a request decides
    statuses   [{"when": {...}, "sequence": [...], ...}]; see `meta_webhooks`

`when`: `op` (send, read, media, file, templates, create, number, apps, debug; without it send), `to`, `contains` (in
the JSON), `template`. A `fault` is `{"code": 131047}` with `status`, `message`, `details`, `subcode`, `retry_after`, or
`{"status": 502, "html": true}`, or `latency` seconds, `hold` (a name, see /_release), `hang`, `cut`. `after: true`
takes the message first, which makes the send ambiguous.

`GET /_webhooks` lists what was posted; `POST /_status {id, status, code?}` and `POST /_post {…a whole post…}` post now.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.meta_inbound import ACCESS_TOKEN, APP_SECRET, DISPLAY_NUMBER, WABA_ID, new_wamid
from tests.fakes.meta_webhooks import Webhooks
from tests.fakes.meta_wire import Sent, Template, answer, error_body, failure, faulty, send_problem, shown
from tests.fakes.recorder import JsonObject, Recorder
from tests.fakes.server import CutResponse, Fake, argument_parser, serve_forever
from tests.fakes.twilio_status import StatusPlan

APP_ID = "634974688087057"
_SCRIPT = {"tokens", "templates", "status", "media", "closed", "numbers", "debug", "webhook", "faults", "statuses"}
_WHEN = {"op", "to", "contains", "template"}
_FAULT = {"code", "status", "message", "details", "subcode", "retry_after", "html", "latency", "hold", "hang", "cut"}
_FAULT |= {"after"}
_NUMBER: JsonObject = {
    "display_phone_number": f"+{DISPLAY_NUMBER}",
    "verified_name": "Bodega Sol",
    "status": "CONNECTED",
    "quality_rating": "GREEN",
    "throughput": {"level": "STANDARD"},
    "whatsapp_business_manager_messaging_limit": "TIER_250",
}
_DEBUG: JsonObject = {
    "app_id": APP_ID,
    "type": "SYSTEM_USER",
    "is_valid": True,
    "expires_at": 0,
    "scopes": ["whatsapp_business_management", "whatsapp_business_messaging"],
}


class MetaFake(Fake):
    """`messages`: what was taken, by id, oldest first; `webhooks`: what was posted, and the answers."""

    def __init__(self, log: Path | None = None, token: str = ACCESS_TOKEN) -> None:
        super().__init__(log)
        self._token = token
        self.posts = Recorder()
        self.webhooks = Webhooks(self.posts, self.gates, _matches)
        self._clear()

    def _clear(self) -> None:
        self.tokens = {self._token}
        self.messages: dict[str, Sent] = {}
        self.templates: dict[tuple[str, str], Template] = {}
        self.media: dict[str, JsonObject] = {}
        self.closed: set[str] = set()
        self.numbers: JsonObject = {}
        self.debug: JsonObject = {}
        self._created = "PENDING"
        self._faults: list[JsonObject] = []

    def sends(self) -> list[JsonObject]:
        """The recorded send requests, taken or not, oldest first; the JSON is in `body`."""
        return self.requests.entries("send")

    def apply_script(self, script: Any) -> None:
        _only(script, _SCRIPT, "script")
        for rule in script.get("faults", []):
            _only(rule, {"when", "fault", "times"}, "fault")
            _only(rule["fault"], _FAULT, "fault")
            _only(rule.get("when", {}), _WHEN, "when")
        self.tokens = set(script.get("tokens", self.tokens))
        for given in script.get("templates", []):
            template = Template(**{**given, "buttons": tuple(given.get("buttons", ()))})
            self.templates[template.name, template.language] = template
        self._created = script.get("status", self._created)
        self.media |= script.get("media", {})
        self.closed = set(script.get("closed", self.closed))
        self.numbers |= script.get("numbers", {})
        self.debug |= script.get("debug", {})
        self.webhooks.url = script.get("webhook", {}).get("url", self.webhooks.url)
        self.webhooks.app_secret = script.get("webhook", {}).get("app_secret", self.webhooks.app_secret)
        self._faults = [dict(rule) for rule in script.get("faults", self._faults)]
        if "statuses" in script:
            self.webhooks.plans = [StatusPlan.parse(plan) for plan in script["statuses"]]

    def reset(self) -> None:
        super().reset()
        self.webhooks.reset()
        self.posts.clear()
        self._clear()

    def routes(self) -> list[Route]:
        return [
            Route("/_webhooks", self._get_webhooks, methods=["GET"]),
            Route("/_status", self._post_status, methods=["POST"]),
            Route("/_post", self._post_any, methods=["POST"]),
            Route("/files/{id}", self._file, methods=["GET"]),
            Route("/{version}/debug_token", self._debug, methods=["GET"]),
            Route("/{version}/{number}/messages", self._messages, methods=["POST"]),
            Route("/{version}/{waba}/message_templates", self._list_templates, methods=["GET"]),
            Route("/{version}/{waba}/message_templates", self._create_template, methods=["POST"]),
            Route("/{version}/{waba}/subscribed_apps", self._apps, methods=["GET", "POST"]),
            Route("/{version}/{id}", self._object, methods=["GET"]),
        ]

    def not_found(self, request: Request) -> Response:
        return failure(error_body(2500, "Unknown path components"), 400)

    async def _messages(self, request: Request) -> Response:
        body = await request.json()
        if body.get("status") == "read":
            wrong = None if body.get("message_id") else error_body(100, "(#100) The parameter message_id is required.")
            return await self._gate(request, "read", body) or answer(wrong or {"success": True})
        fault = self._fault("send", body)
        problem = self._problem(request, body)
        taken = None if problem or (fault and not fault.get("after")) else self._take(request, body)
        self.record(request, "send", body, taken.wamid if taken else json.dumps(problem or fault))
        if problem is not None:
            return failure(problem)
        if taken is not None:
            await self.webhooks.start(taken)
        if not await self.pause(fault):
            return CutResponse()
        refused = faulty(fault)
        if refused is not None:
            return refused
        if taken is None:  # it was only late
            taken = self._take(request, body)
            await self.webhooks.start(taken)
        contacts = [{"input": taken.to, "wa_id": taken.to.removeprefix("+")}]
        return answer({"messaging_product": "whatsapp", "contacts": contacts, "messages": [{"id": taken.wamid}]})

    def _problem(self, request: Request, body: JsonObject) -> JsonObject | None:
        if not self._authorised(request):
            return error_body(190)
        found = send_problem(body, self.templates)
        to = str(body.get("to") or body.get("recipient"))
        if found is None and body.get("type") != "template" and to.removeprefix("+") in self.closed:
            return error_body(131047, details="more than 24 hours have passed since the customer last replied")
        return found

    def _take(self, request: Request, body: JsonObject) -> Sent:
        sent = Sent(new_wamid(), request.path_params["number"], body, shown(body, self.templates))
        self.messages[sent.wamid] = sent
        return sent

    async def _object(self, request: Request) -> Response:
        """A media's address, or what is known of a number."""
        media_id = request.path_params["id"]
        media = self.media.get(media_id)
        refused = await self._gate(request, "media" if media else "number", {})
        if refused is not None:
            return refused
        if media is None and not media_id.isdigit():
            details = f"Object with ID '{media_id}' does not exist"
            return failure(error_body(100, f"Unsupported get request. {details}", subcode=33))
        if media is None:
            return answer({"id": media_id, **_NUMBER, **self.numbers.get(media_id, {})})
        size = media.get("size", len(media["content"].encode()))
        url = media.get("url", f"{self.url}/files/{media_id}")
        found = {"url": url, "mime_type": media["type"], "sha256": "x", "file_size": size, "id": media_id}
        return answer({"messaging_product": "whatsapp", **found})

    async def _file(self, request: Request) -> Response:
        media = self.media.get(request.path_params["id"])
        refused = await self._gate(request, "file", {})
        if refused is not None or media is None:
            return refused or Response(status_code=404)
        return Response(media["content"].encode(), media_type=media["type"])

    async def _list_templates(self, request: Request) -> Response:
        refused = await self._gate(request, "templates", {})
        if refused is not None:
            return refused
        found = list(self.templates.values())
        first, size = int(request.query_params.get("after", 0)), int(request.query_params.get("limit", 25))
        more = first + size < len(found)
        paging = {"cursors": {"before": str(first), "after": str(first + size)}}
        page = {"data": [template.resource() for template in found[first : first + size]], "paging": paging}
        return answer(page | ({"paging": {**paging, "next": str(request.url)}} if more else {}))

    async def _create_template(self, request: Request) -> Response:
        body = await request.json()
        refused = await self._gate(request, "create", body)
        if refused is not None:
            return refused
        parts = {str(part["type"]).upper(): part for part in body["components"]}
        buttons = tuple(button["text"] for button in parts.get("BUTTONS", {}).get("buttons", ()))
        text, key = parts["BODY"]["text"], (body["name"], body["language"])
        if key in self.templates:
            return failure(error_body(100, "(#100) Invalid parameter", subcode=2388024))
        if text.startswith("{{") or text.endswith("}}"):
            return failure(error_body(100, "(#100) Invalid parameter", subcode=2388299))
        named = body.get("parameter_format", "POSITIONAL").upper() == "NAMED"
        template = Template(*key, text, self._created, body["category"].upper(), named, buttons)
        self.templates[key] = template
        return answer({name: template.resource()[name] for name in ("id", "status", "category")})

    async def _apps(self, request: Request) -> Response:
        refused = await self._gate(request, "apps", {})
        if refused is not None:
            return refused
        if request.method == "POST":
            return answer({"success": True})
        return answer({"data": [{"whatsapp_business_api_data": {"id": APP_ID, "name": "Recado", "link": ""}}]})

    async def _debug(self, request: Request) -> Response:
        return await self._gate(request, "debug", {}) or answer({"data": {**_DEBUG, **self.debug}})

    async def _gate(self, request: Request, op: str, body: JsonObject) -> Response | None:
        """Records a request; the token, and the faults of what changes nothing."""
        fault = self._fault(op, body)
        allowed = self._authorised(request)
        self.record(request, op, body, "ok" if allowed and not fault else json.dumps(fault or "190"))
        if not allowed:
            return failure(error_body(190))
        return faulty(fault) if await self.pause(fault) else CutResponse()

    def _authorised(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and token in self.tokens

    def _fault(self, op: str, body: JsonObject) -> JsonObject:
        for rule in self._faults:
            when = {"op": "send", **rule.get("when", {})}
            if rule.get("times") == 0 or when["op"] != op or not _holds(when, body):
                continue
            if "times" in rule:
                rule["times"] -= 1
            fault = dict(rule["fault"])
            return fault | {"after": fault.get("after") or "after" in (fault.get("hang"), fault.get("cut"))}
        return {}

    async def _get_webhooks(self, request: Request) -> Response:
        return JSONResponse(self.posts.entries())

    async def _post_status(self, request: Request) -> Response:
        given = await request.json()
        return JSONResponse({"answer": await self.webhooks.tell(self.messages[given["id"]], given)})

    async def _post_any(self, request: Request) -> Response:
        return JSONResponse({"answer": await self.webhooks.post(await request.json())})


def _only(given: JsonObject, words: set[str], what: str) -> None:
    if set(given) - words:
        raise ValueError(f"unknown words in {what}: {sorted(set(given) - words)}")


def _holds(when: JsonObject, body: JsonObject) -> bool:
    to = str(body.get("to") or body.get("recipient") or "")
    return (
        when.get("to", to).removeprefix("+") == to.removeprefix("+")
        and str(when.get("contains", "")) in json.dumps(body, ensure_ascii=False)
        and when.get("template", body.get("template", {}).get("name")) == body.get("template", {}).get("name")
    )


def _matches(when: JsonObject, sent: Sent) -> bool:
    return _holds(when, sent.body)


def _from_arguments(args: argparse.Namespace) -> MetaFake:
    fake = MetaFake(args.log, args.access_token)
    fake.webhooks.url, fake.webhooks.app_secret = args.webhook_url, args.app_secret
    return fake


if __name__ == "__main__":
    parser = argument_parser(f"A local Graph API for the WhatsApp Business Account {WABA_ID}")
    parser.add_argument("--access-token", default=ACCESS_TOKEN)
    parser.add_argument("--app-secret", default=APP_SECRET)
    parser.add_argument("--webhook-url", default="")
    serve_forever(_from_arguments, parser)
