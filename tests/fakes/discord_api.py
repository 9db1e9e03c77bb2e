"""A local Discord: one webhook, which checks what it is given as Discord documents it.

In a test: `with running(DiscordFake()) as fake`, then DISCORD_WEBHOOK_URL is `fake.webhook_url`.
As a process: `python -m tests.fakes.discord_api --port N --log FILE`.

`POST /_script` takes `{"faults": [{"mode": …, "times": n, …}]}`; without `times` a fault stays. Modes:

    429        `retry_after` in body and header, which may be given apart as `body` and `header`; null leaves one out
    status     `status`, with Discord's JSON (`message` and `errors` as given), or a page with `html`
    redirect   `status` (302), to another path of this server, which would take the message
    hang, hold as other fakes have it; the message is not taken
    cut        before anything is answered; `taken: true`: after the message was taken and the head sent
    page       HTTP 200 with HTML
    huge       HTTP 200 and a body that does not end; the message is taken

https://docs.discord.com/developers/resources/webhook#execute-webhook
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.discord_rules import mistakes_in
from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse, Fake, argument_parser, pairs, serve_forever

WEBHOOK = "1300000000000000001"
TOKEN = "s3cret-Token_of-the-webhook-that-nobody-may-see-in-a-log-or-an-exception"
STATUS_CODES = {401: 50027, 403: 50013, 404: 10015}
STATUS_TEXTS = {401: "Invalid Webhook Token", 403: "Missing Permissions", 404: "Unknown Webhook", 500: "500: Internal"}


class DiscordFake(Fake):
    """`messages`: the bodies that were taken, oldest first. `limit`: so many messages in so many seconds."""

    def __init__(self, log: Path | None = None, limit: tuple[int, float] | None = None) -> None:
        super().__init__(log)
        self.limit = limit
        self._clear()

    def _clear(self) -> None:
        self.messages: list[JsonObject] = []
        self._faults: list[JsonObject] = []
        self._window = (0.0, 0)

    @property
    def webhook_url(self) -> str:
        return f"{self.url}/api/webhooks/{WEBHOOK}/{TOKEN}"

    def fail(self, mode: str, times: int | None = None, **facts: Any) -> None:
        """Add a fault."""
        self._faults.append({"mode": mode, **({} if times is None else {"times": times}), **facts})

    def apply_script(self, script: Any) -> None:
        if set(script) - {"faults"}:
            raise ValueError(f"unknown words in script: {sorted(set(script) - {'faults'})}")
        self._faults = [dict(fault) for fault in script["faults"]]

    def reset(self) -> None:
        super().reset()
        self._clear()

    def routes(self) -> list[Route]:
        path = "/api/webhooks/{id}/{token}"
        return [Route(path, self._execute, methods=["POST"]), Route(path, self._show)]

    def not_found(self, request: Request) -> Response:
        return _refusal(404)

    async def _show(self, request: Request) -> Response:
        fault = self._fault()
        self.record(request, "show", None, str(fault.get("mode", "ok")))
        if fault.get("mode") == "status":
            return _refusal(fault["status"])
        return JSONResponse({"id": WEBHOOK, "type": 1, "name": "alerts", "token": TOKEN})

    async def _execute(self, request: Request) -> Response:
        body = json.loads(await request.body())
        fault = self._fault()
        self.record(request, "execute", body, str(fault.get("mode", "ok")))
        if (request.path_params["id"], request.path_params["token"]) != (WEBHOOK, TOKEN):
            return _refusal(404)
        if fault:
            if not await self.pause({fault["mode"]: fault.get("name", True)}):
                return CutResponse()
            answer = self._faulty(fault, body)
            if answer is not None:
                return answer
        mistakes = mistakes_in(body)
        if mistakes:
            return JSONResponse({"message": "Invalid Form Body", "code": 50035, "errors": mistakes}, status_code=400)
        return self._take(body, pairs(request.url.query).get("wait") == "true")

    def _take(self, body: JsonObject, wait: bool) -> Response:
        headers = self._count()
        if headers is None:
            return _limited(self._left(), self._left())
        self.messages.append(body)
        if not wait:
            return Response(status_code=204, headers=headers)
        message = {"id": str(len(self.messages)), "type": 0, "webhook_id": WEBHOOK, "embeds": body.get("embeds", [])}
        return JSONResponse(message, headers=headers)

    def _count(self) -> dict[str, str] | None:
        """The headers of Discord's rate limit. None: it is reached."""
        if self.limit is None:
            return {}
        most, seconds = self.limit
        if self._left() <= 0:
            self._window = (time.monotonic() + seconds, 0)
        until, used = self._window
        if used >= most:
            return None
        self._window = (until, used + 1)
        left = {"X-RateLimit-Limit": most, "X-RateLimit-Remaining": most - used - 1}
        return {name: str(value) for name, value in left.items()} | {"X-RateLimit-Reset-After": f"{self._left():.3f}"}

    def _left(self) -> float:
        return self._window[0] - time.monotonic()

    def _fault(self) -> JsonObject:
        for fault in self._faults:
            if fault.get("times") != 0:
                if "times" in fault:
                    fault["times"] -= 1
                return dict(fault)
        return {}

    def _faulty(self, fault: JsonObject, body: JsonObject) -> Response | None:
        match fault["mode"]:
            case "429":
                wait = fault.get("retry_after", 0.05)
                return _limited(fault.get("body", wait), fault.get("header", wait))
            case "status":
                said = {name: fault[name] for name in ("message", "errors") if name in fault}
                return _refusal(fault["status"], html=bool(fault.get("html")), **said)
            case "redirect":
                return RedirectResponse(self.webhook_url, status_code=fault.get("status", 302))
            case "cut" if not fault.get("taken"):
                return CutResponse()
            case "cut":
                self.messages.append(body)
                return CutResponse(b'{"id": "1", "type"')
            case "page":
                return HTMLResponse("<!DOCTYPE html><html><body>Sign in to the network</body></html>")
            case "huge":
                self.messages.append(body)
                return StreamingResponse(_endless(), media_type="application/json")
        return None  # it was only late


def _limited(body: Any, header: Any) -> Response:
    data = {"message": "You are being rate limited.", "global": False} | ({} if body is None else {"retry_after": body})
    headers = {"X-RateLimit-Scope": "shared"} | ({} if header is None else {"Retry-After": str(header)})
    # `json`: it writes what is no JSON either, such as NaN
    return Response(json.dumps(data), status_code=429, headers=headers, media_type="application/json")


def _refusal(status: int, *, html: bool = False, **said: Any) -> Response:
    if html:
        return HTMLResponse(f"<html><body><h1>{status}</h1>cloudflare</body></html>", status_code=status)
    body = {"message": STATUS_TEXTS.get(status, "Bad Request"), "code": STATUS_CODES.get(status, 0)}
    return JSONResponse(body | said, status_code=status)


def _endless() -> Iterator[bytes]:
    yield b'{"id": "1", "content": "'
    for _ in itertools.count():
        yield b"x" * 65_536


def _from_arguments(args: argparse.Namespace) -> DiscordFake:
    return DiscordFake(log=args.log)


if __name__ == "__main__":
    serve_forever(_from_arguments, argument_parser("A local Discord"))
