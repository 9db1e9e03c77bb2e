"""A local Instagram: the Graph API's sends, sender actions and conversations, and files that people sent.

In a test: `with running(InstagramFake()) as fake`, then META_GRAPH_BASE_URL is `fake.url`.
As a process: `python -m tests.fakes.instagram_api --port N --log FILE`.

`POST /_script` takes an object with any of:

    tokens    {access token: account id}; others answer 190
    files     {path: {"content": text, "type": content type}}, served without a token
    closed    [person, ...]: their window is closed, only HUMAN_AGENT reaches them
    faults    [{"when": {...}, "fault": {...}, "times": n}]; the first that matches a request decides

`when`: `op` (send, action, find; without it send), `to`, `contains` (in the text). A `fault` is `{"code": 613}` with
`subcode`, `status`, `message`, `retry_after`, or `{"status": 500, "html": true}`, or `latency` seconds, `hold` (a name,
see /_release), `hang`, `cut`. `after: true` takes the message first, which makes the send ambiguous.
"""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.fakes.instagram_inbound import ACCESS_TOKEN, ACCOUNT, new_mid
from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse, Fake, argument_parser, pairs, serve_forever

LONGEST_TEXT = 1_000
MESSAGES = {
    10: "(#10) This message is sent outside of allowed window.",
    100: "(#100) Invalid parameter",
    190: "Invalid OAuth access token - Cannot parse access token",
    551: "(#551) This person isn't available right now.",
    613: "Calls to this api have exceeded the rate limit.",
}
STATUS = {10: 403, 190: 401, 613: 429, 4: 429}


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was taken."""

    mid: str
    account: str
    body: JsonObject
    at: datetime

    @property
    def to(self) -> str:
        return str(self.body["recipient"]["id"])

    @property
    def text(self) -> str:
        return str(self.body["message"].get("text", ""))

    @property
    def shown(self) -> str:
        """Its text, or the address of its file."""
        return self.text or str(self.body["message"]["attachment"]["payload"]["url"])

    @property
    def titles(self) -> list[str]:
        return [reply["title"] for reply in self.body["message"].get("quick_replies", [])]


class InstagramFake(Fake):
    """`messages`: what was taken, oldest first. `heard`: what conversations list from the person, {id, message}."""

    def __init__(self, log: Path | None = None) -> None:
        super().__init__(log)
        self._clear()

    def _clear(self) -> None:
        self.tokens: dict[str, str] = {ACCESS_TOKEN: ACCOUNT}
        self.messages: list[Sent] = []
        self.files: dict[str, JsonObject] = {}
        self.closed: set[str] = set()
        self.heard: list[JsonObject] = []
        self._faults: list[JsonObject] = []

    def sends(self) -> list[JsonObject]:
        """The recorded send requests, taken or not, oldest first."""
        return self.requests.entries("send")

    def apply_script(self, script: Any) -> None:
        unknown = set(script) - {"tokens", "files", "closed", "faults"}
        if unknown:
            raise ValueError(f"unknown words in script: {sorted(unknown)}")
        self.tokens = dict(script.get("tokens", self.tokens))
        self.files |= script.get("files", {})
        self.closed = set(script.get("closed", self.closed))
        self._faults = [dict(rule) for rule in script.get("faults", self._faults)]

    def reset(self) -> None:
        super().reset()
        self._clear()

    def routes(self) -> list[Route]:
        return [
            Route("/{version}/me/messages", self._messages, methods=["POST"]),
            Route("/{version}/me/conversations", self._conversations, methods=["GET"]),
            Route("/files/{path:path}", self._file, methods=["GET"]),
        ]

    def not_found(self, request: Request) -> Response:
        return refusal(2500, 400, "Unknown path components")

    async def _messages(self, request: Request) -> Response:
        body = await request.json()
        op = "action" if "sender_action" in body else "send"
        account = self._account(request)
        fault = self._fault(op, str(body["recipient"]["id"]), str(body.get("message", {}).get("text", "")))
        problem = self._problem(account, body, op)
        taken = None
        if op == "send" and problem is None and account and (not fault or fault.get("after")):
            taken = self._take(account, body)
        self.record(request, op, body, "ok" if taken else "refused" if problem else str(fault or "ok"))
        if problem is not None:
            return problem
        if fault:
            answer = _faulty(fault) if await self.pause(fault) else CutResponse()
            if answer is not None:
                return answer
            if op == "send" and taken is None and account:
                taken = self._take(account, body)  # it was only late
        answer_body = {"recipient_id": body["recipient"]["id"]}
        return JSONResponse(answer_body | ({"message_id": taken.mid} if taken else {}))

    def _take(self, account: str, body: JsonObject) -> Sent:
        sent = Sent(new_mid(), account, body, datetime.now(UTC))
        self.messages.append(sent)
        return sent

    def _problem(self, account: str | None, body: JsonObject, op: str) -> Response | None:
        """Meta's own refusals."""
        if account is None:
            return refusal(190)
        if op == "action":
            return None
        message = body["message"]
        if "text" in message and not 0 < len(message["text"].encode()) <= LONGEST_TEXT:
            return refusal(100, subcode=2534038, message="(#100) Length of param message[text] must be in range")
        replies = message.get("quick_replies", [])
        if len(replies) > 13 or any(not 0 < len(reply["title"]) <= 20 for reply in replies):
            return refusal(100, message="(#100) Invalid quick replies")
        if set(message) - {"text", "quick_replies"} and set(message) != {"attachment"}:
            return refusal(100, message="(#100) A message has a text or an attachment")
        human = (body.get("messaging_type"), body.get("tag")) == ("MESSAGE_TAG", "HUMAN_AGENT")
        if not human and body["recipient"]["id"] in self.closed:
            return refusal(10, subcode=2534022)
        return None

    async def _conversations(self, request: Request) -> Response:
        query = pairs(request.url.query)
        person, account = str(query.get("user_id")), self._account(request)
        fault = self._fault("find", person, "")
        self.record(request, "find", query, str(fault or "ok"))
        if account is None:
            return refusal(190)
        if fault:
            answer = _faulty(fault) if await self.pause(fault) else CutResponse()
            if answer is not None:
                return answer
        mine = [sent for sent in self.messages if (sent.to, sent.account) == (person, account)]
        listed = [
            {
                "id": sent.mid,
                "created_time": sent.at.strftime("%Y-%m-%dT%H:%M:%S+0000"),
                "from": {"username": "shop", "id": account},
                "to": {"data": [{"username": "ana", "id": person}]},
                "message": sent.text,
            }
            for sent in reversed(mine)
        ]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
        listed = [{**said, "created_time": now, "from": {"id": person}} for said in self.heard] + listed
        return JSONResponse({"data": [{"messages": {"data": listed[:20]}, "id": "conversation"}] if listed else []})

    async def _file(self, request: Request) -> Response:
        self.record(request, "file", None, "ok")
        found = self.files.get(request.path_params["path"])
        if found is None:
            return Response(status_code=404)
        return Response(str(found["content"]).encode("latin-1"), media_type=found["type"])

    def _account(self, request: Request) -> str | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self.tokens.get(token) if scheme == "Bearer" else None

    def _fault(self, op: str, to: str, text: str) -> JsonObject:
        for rule in self._faults:
            when = {"op": "send", **rule.get("when", {})}
            fits = when["op"] == op and when.get("to", to) == to and when.get("contains", "") in text
            if not fits or rule.get("times") == 0:
                continue
            if "times" in rule:
                rule["times"] -= 1
            return dict(rule["fault"])
        return {}


def refusal(
    code: int, status: int | None = None, message: str = "", *, subcode: int | None = None, **headers: str
) -> Response:
    """Meta's answer with an error."""
    error: JsonObject = {"message": message or MESSAGES.get(code, "An error occurred"), "type": "OAuthException"}
    error |= {"code": code, "fbtrace_id": "AbCdEf"} | ({"error_subcode": subcode} if subcode else {})
    return JSONResponse({"error": error}, status_code=status or STATUS.get(code, 400), headers=headers)


def _faulty(fault: JsonObject) -> Response | None:
    if fault.get("cut"):
        return CutResponse()
    if fault.get("html"):
        return HTMLResponse("<html>bad gateway</html>", status_code=fault.get("status", 502))
    if not (fault.get("code") or fault.get("status")):
        return None
    headers = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
    return refusal(
        fault.get("code", 2), fault.get("status"), fault.get("message", ""), subcode=fault.get("subcode"), **headers
    )


def _from_arguments(args: argparse.Namespace) -> InstagramFake:
    return InstagramFake(log=args.log)


if __name__ == "__main__":
    serve_forever(_from_arguments, argument_parser("A local Instagram"))
