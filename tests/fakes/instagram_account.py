"""The local Instagram with what an operator asks of an account: whose a token is, and what is subscribed to.

A script may also have `me` {field: value}, `fields` [what is subscribed to] and `debug` {field: value}; the `op` of a
fault may be me, apps or debug. Sources: developers.facebook.com/docs/instagram-platform (`/me`, `/me/subscribed_apps`).
"""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.instagram_api import InstagramFake, refusal
from tests.fakes.instagram_inbound import ACCOUNT
from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse
from tests.fakes.twilio_wire import HTML_503

OWN = {"me", "fields", "debug"}


class InstagramAccountFake(InstagramFake):
    """`me` is what `/me` answers; `subscribed` what the account's app is subscribed to."""

    def __init__(self, log: Path | None = None) -> None:
        self._well()
        super().__init__(log)

    def _well(self) -> None:
        self.me: JsonObject = {"user_id": ACCOUNT, "username": "bodega.sol"}
        self.subscribed: Any = ["messages", "messaging_postbacks"]
        self.debug: JsonObject = {"is_valid": True, "expires_at": 0}

    def apply_script(self, script: Any) -> None:
        super().apply_script({name: value for name, value in script.items() if name not in OWN})
        self.me = script.get("me", self.me)
        self.subscribed = script.get("fields", self.subscribed)
        self.debug = script.get("debug", self.debug)

    def reset(self) -> None:
        super().reset()
        self._well()

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            Route("/{version}/me", self._me, methods=["GET"]),
            Route("/{version}/me/subscribed_apps", self._apps, methods=["GET"]),
            Route("/{version}/debug_token", self._debug, methods=["GET"]),
        ]

    async def _me(self, request: Request) -> Response:
        return await self._gate(request, "me") or JSONResponse(self.me)

    async def _apps(self, request: Request) -> Response:
        rows = [{"id": "1", "subscribed_fields": self.subscribed}]
        return await self._gate(request, "apps") or JSONResponse({"data": rows})

    async def _debug(self, request: Request) -> Response:
        return await self._gate(request, "debug") or JSONResponse({"data": self.debug})

    async def _gate(self, request: Request, op: str) -> Response | None:
        """Records a request; its token, and a scripted fault."""
        fault = self._fault(op, "", "")
        self.record(request, op, None, str(fault or "ok"))
        if self._account(request) is None:
            return refusal(190)
        if not fault:
            return None
        if not await self.pause(fault) or fault.get("cut"):
            return CutResponse()
        if fault.get("html"):
            return Response(HTML_503, status_code=fault.get("status", 502), media_type="text/html")
        return refusal(fault["code"], fault.get("status"))
