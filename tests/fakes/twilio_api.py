"""A local Twilio: send, fetch and list messages, typing indicators, signed status callbacks; what people send and their
files (`twilio_people`), contents (`twilio_content`), senders and services (`twilio_account`).

In a test: `with running(TwilioFake()) as fake`, then
`client.api.base_url = client.messaging.base_url = fake.url`.
As a process: `python -m tests.fakes.twilio_api --port N --log FILE [--account-sid AC… --auth-token …]`.

`POST /_script` takes an object with any of:

    accounts   {account sid: auth token}; others answer 401
    contents   {content sid: "Hola {{1}}"}: bodies of templates
    faults     [{"when": {...}, "fault": {...}, "times": n}]; the first that matches a request decides
    statuses   [{"when": {...}, "sequence": [...], ...}]; the first that matches a message decides
    webhook    the URL to which people's messages are posted
    account, senders, services    see `twilio_account`

`when`: `op` (send, fetch, list, typing, content, contents, media, media_list, account, …; faults without it are for
sends), `to`, `from`, `contains` (in the body), `content_sid`. A `fault` is `{"code": 63016}` (status and text of
known codes are filled in; `status`, `message`, `retry_after` override), `{"status": 503, "html": true}`, or
`latency` seconds, `hold` (a name, see /_release), `hang`, `cut`. `after: true` records (and delivers) the message
first, which makes the send ambiguous; `"hang": "after"` and `"cut": "after"` are short for it. For `statuses` see
`twilio_status`.

`GET /_callbacks` lists the callbacks posted; `POST /_status {sid, status, error_code?}` posts one now.
"""

import argparse
import base64
import binascii
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.fakes.recorder import JsonObject, Recorder
from tests.fakes.server import CutResponse, Fake, argument_parser, pairs, serve_forever
from tests.fakes.twilio_account import AccountApi
from tests.fakes.twilio_content import ContentApi
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN, new_sid
from tests.fakes.twilio_people import People
from tests.fakes.twilio_status import Callbacks, StatusPlan, matches
from tests.fakes.twilio_wire import HTML_503, Message, error_body, listing, rendered, send_problem

_BASE = "/2010-04-01/Accounts/{account_sid}"
_FAULT = {"code", "status", "message", "retry_after", "html", "latency", "hold", "hang", "cut", "after"}


class _Faults:
    """Scripted misbehaviour; a fault with `times` is used up."""

    def __init__(self, raw: list[JsonObject]) -> None:
        for item in raw:
            unknown = (set(item) - {"when", "fault", "times"}) | (set(item["fault"]) - _FAULT)
            if unknown:
                raise ValueError(f"unknown words in fault: {sorted(unknown)}")
        self._rules = [dict(item) for item in raw]

    def take(self, op: str, form: JsonObject) -> JsonObject:
        for rule in self._rules:
            when = {"op": "send", **rule.get("when", {})}
            if rule.get("times") == 0 or not matches(when, op, form):
                continue
            if "times" in rule:
                rule["times"] -= 1
            fault = dict(rule["fault"])
            fault["after"] = fault.get("after") or "after" in (fault.get("hang"), fault.get("cut"))
            return fault
        return {}


class TwilioFake(Fake):
    """`messages`: what was accepted, by sid, oldest first; `callbacks`: what was posted, and the answers."""

    def __init__(self, accounts: dict[str, str] | None = None, log: Path | None = None) -> None:
        super().__init__(log)
        self._first_accounts = dict(accounts or {ACCOUNT_SID: AUTH_TOKEN})
        self.accounts = dict(self._first_accounts)
        self.messages: dict[str, Message] = {}
        self.contents: dict[str, str] = {}
        self.callbacks = Recorder()
        self._faults = _Faults([])
        self._status = Callbacks(self.callbacks, self._token, self.gates)
        self.people = People(self._gate, _failure, self._token)
        self.content = ContentApi(self._gate, _failure)
        self.account = AccountApi(self._gate, _failure)

    def titles(self, message: Message) -> list[str]:
        """What the buttons, or the rows, of a message say."""
        return self.content.titles(message.form)

    def sends(self) -> list[JsonObject]:
        """The recorded send requests, accepted or not, oldest first; the form is in `body`."""
        return self.requests.entries("send")

    def apply_script(self, script: Any) -> None:
        about = {"account", "senders", "services"}
        unknown = set(script) - {"accounts", "contents", "faults", "statuses", "webhook"} - about
        if unknown:
            raise ValueError(f"unknown words in script: {sorted(unknown)}")
        self.accounts = dict(script.get("accounts", self.accounts))
        self.contents = dict(script.get("contents", self.contents))
        self.people.webhook = script.get("webhook", self.people.webhook)
        for name in about & set(script):
            setattr(self.account, name, script[name])
        if "faults" in script:
            self._faults = _Faults(script["faults"])
        if "statuses" in script:
            self._status.plans = [StatusPlan.parse(plan) for plan in script["statuses"]]

    def reset(self) -> None:
        super().reset()
        self._status.reset()
        self.callbacks.clear()
        self.messages.clear()
        self.contents.clear()
        self.content.made.clear()
        self.people.reset()
        self.account.reset()
        self.accounts, self._faults = dict(self._first_accounts), _Faults([])

    async def post_status(self, sid: str, status: str, error_code: int | None = None) -> int | None:
        """Posts one status callback now, from the caller's loop: the HTTP status of the answer, or None."""
        return await self._status.post(self.messages[sid], {"status": status, "error_code": error_code})

    def routes(self) -> list[Route]:
        return [
            Route(f"{_BASE}/Messages.json", self._send, methods=["POST"]),
            Route(f"{_BASE}/Messages.json", self._list, methods=["GET"]),
            Route(f"{_BASE}/Messages/{{sid}}.json", self._fetch, methods=["GET"]),
            Route("/v2/Indicators/Typing.json", self._typing, methods=["POST"]),
            Route("/_callbacks", self._get_callbacks, methods=["GET"]),
            Route("/_status", self._post_status, methods=["POST"]),
            *self.people.routes(),
            *self.content.routes(),
            *self.account.routes(),
        ]

    def not_found(self, request: Request) -> Response:
        return _failure(error_body(20404, path=request.url.path))

    def _token(self, account_sid: str) -> str:
        return self.accounts.get(account_sid, AUTH_TOKEN)

    async def _send(self, request: Request) -> Response:
        form = pairs((await request.body()).decode())
        if not self._authorised(request):
            return self._refuse(request, "send", form, error_body(20003))
        problem = send_problem(form) or self.content.problem(form)
        if problem:
            return self._refuse(request, "send", form, problem)
        fault = self._faults.take("send", form)
        message = None if fault and not fault["after"] else self._accept(request, form)
        self.record(request, "send", form, _summary(fault, message))
        if message is None:
            refused = _faulty(fault) if await self.pause(fault) else CutResponse()
            if refused is not None:
                return refused
            message, fault = self._accept(request, form), {}  # it was only late
        return await self._answer_send(fault, message)

    def _accept(self, request: Request, form: JsonObject) -> Message:
        now = datetime.now(UTC).replace(microsecond=0)
        message = Message(
            sid=new_sid("MM" if form.get("MediaUrl") else "SM"),
            account_sid=request.path_params["account_sid"],
            form=form,
            body=rendered(form, self.contents | {sid: self.content.text(sid) or "" for sid in self.content.made}),
            created=now,
            status="queued" if form.get("From") else "accepted",
        )
        self.messages[message.sid] = message
        return message

    async def _answer_send(self, fault: JsonObject, message: Message) -> Response:
        resource = message.resource()
        await self._status.start(message)
        if not await self.pause(fault):
            return CutResponse()
        return _faulty(fault) or JSONResponse(resource, status_code=201, headers=_headers())

    async def _fetch(self, request: Request) -> Response:
        message = self.messages.get(request.path_params["sid"])
        refused = await self._gate(request, "fetch", message.form if message else {})
        if refused is not None:
            return refused
        if message is None or message.account_sid != request.path_params["account_sid"]:
            return _failure(error_body(20404, path=request.url.path))
        return JSONResponse(message.resource(), headers=_headers())

    async def _list(self, request: Request) -> Response:
        query = pairs(request.url.query)
        refused = await self._gate(request, "list", query)
        if refused is not None:
            return refused
        account = request.path_params["account_sid"]
        every = sorted([*self.people.heard.values(), *self.messages.values()], key=lambda message: message.created)
        own = [message for message in every if message.account_sid == account]
        return JSONResponse(listing(account, own, query), headers=_headers())

    async def _typing(self, request: Request) -> Response:
        form = pairs((await request.body()).decode())
        refused = await self._gate(request, "typing", form)
        if refused is not None:
            return refused
        if not form.get("messageId") or form.get("channel") != "whatsapp":
            return _failure(error_body(20001, 400, "Invalid parameter: messageId or channel"))
        return JSONResponse({"success": True}, headers=_headers())

    async def _gate(self, request: Request, op: str, form: JsonObject) -> Response | None:
        """Records a request; credentials and faults of the operations that change nothing."""
        if not self._authorised(request):
            return self._refuse(request, op, form, error_body(20003))
        fault = self._faults.take(op, form)
        self.record(request, op, form, _summary(fault, None))
        return _faulty(fault) if await self.pause(fault) else CutResponse()

    def _authorised(self, request: Request) -> bool:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        owner = request.path_params.get("account_sid", user)
        return scheme.lower() == "basic" and user == owner and self.accounts.get(user) == password

    def _refuse(self, request: Request, kind: str, form: JsonObject, body: JsonObject) -> Response:
        self.record(request, kind, form, f"error {body['code']}")
        return _failure(body)

    async def _get_callbacks(self, request: Request) -> Response:
        return JSONResponse(self.callbacks.entries())

    async def _post_status(self, request: Request) -> Response:
        given = await request.json()
        answer = await self.post_status(given["sid"], given["status"], given.get("error_code"))
        return JSONResponse({"answer": answer})


def _summary(fault: JsonObject, message: Message | None) -> str:
    words = [word for word in ("code", "status", "hang", "cut", "hold", "latency") if fault.get(word)]
    named = f"{words[0]} {fault[words[0]]}" if words else "ok"
    return f"{named} {message.sid}" if message else named


def _faulty(fault: JsonObject) -> Response | None:
    if fault.get("cut"):
        return CutResponse()
    if fault.get("html"):
        return HTMLResponse(HTML_503, status_code=fault.get("status", 503))
    if not (fault.get("code") or fault.get("status")):
        return None
    code = fault.get("code") or {429: 20429, 503: 20503}.get(fault["status"], 20500)
    headers = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
    return _failure(error_body(code, fault.get("status"), fault.get("message")), headers)


def _failure(body: JsonObject, headers: dict[str, str] | None = None) -> Response:
    challenge = {"WWW-Authenticate": 'Basic realm="Twilio API"'} if body["status"] == 401 else {}
    return JSONResponse(body, status_code=body["status"], headers=_headers() | challenge | (headers or {}))


def _headers() -> dict[str, str]:
    return {"Twilio-Request-Id": new_sid("RQ"), "Twilio-Concurrent-Requests": "1", "X-Home-Region": "us1"}


def _from_arguments(args: argparse.Namespace) -> TwilioFake:
    return TwilioFake({args.account_sid: args.auth_token}, log=args.log)


if __name__ == "__main__":
    parser = argument_parser("A local Twilio")
    parser.add_argument("--account-sid", default=ACCOUNT_SID)
    parser.add_argument("--auth-token", default=AUTH_TOKEN)
    serve_forever(_from_arguments, parser)
