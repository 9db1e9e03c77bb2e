"""What the fake tells of an account itself: whether it is active, its WhatsApp senders and Messaging Services.

Sources: www.twilio.com/docs/iam/api/account, …/whatsapp/api/senders, …/messaging/api/service-resource. A script may
have `account` {status, type}, `senders` [resources] and `services` {sid: {..., senders: [...]}}.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.recorder import JsonObject
from tests.fakes.twilio_content import Gate, Refuse
from tests.fakes.twilio_wire import error_body


class AccountApi:
    """`account`, `senders` and `services` are given as they are."""

    def __init__(self, gate: Gate, refuse: Refuse) -> None:
        self.account: JsonObject = {}
        self.senders: list[JsonObject] = []
        self.services: dict[str, JsonObject] = {}
        self._gate = gate
        self._refuse = refuse

    def reset(self) -> None:
        self.account, self.senders, self.services = {}, [], {}

    def routes(self) -> list[Route]:
        return [
            Route("/2010-04-01/Accounts/{account_sid}.json", self._account, methods=["GET"]),
            Route("/v2/Channels/Senders", self._list_senders, methods=["GET"]),
            Route("/v2/Channels/Senders/{sid}", self._sender, methods=["GET"]),
            Route("/v1/Services/{sid}", self._service, methods=["GET"]),
            Route("/v1/Services/{sid}/ChannelSenders", self._service_senders, methods=["GET"]),
        ]

    async def _account(self, request: Request) -> Response:
        sid = request.path_params["account_sid"]
        account = {"sid": sid, "friendly_name": "Bodega", "status": "active", "type": "Full"} | self.account
        return await self._gate(request, "account", {}) or JSONResponse(account)

    async def _list_senders(self, request: Request) -> Response:
        # A list says less than the sender itself does.
        few = [{name: sender[name] for name in ("sid", "sender_id", "status")} for sender in self.senders]
        return await self._gate(request, "senders", {}) or _page("senders", few)

    async def _sender(self, request: Request) -> Response:
        found = next((each for each in self.senders if each["sid"] == request.path_params["sid"]), None)
        return await self._gate(request, "sender", {}) or self._answer(request, found)

    async def _service(self, request: Request) -> Response:
        found = self.services.get(request.path_params["sid"])
        shown = found and {name: value for name, value in found.items() if name != "senders"}
        return await self._gate(request, "service", {}) or self._answer(request, shown)

    async def _service_senders(self, request: Request) -> Response:
        found = self.services.get(request.path_params["sid"])
        refused = await self._gate(request, "service_senders", {})
        if refused is not None or found is None:
            return refused or self._answer(request, None)
        return _page("senders", [{"sender": sender, "sender_type": "WhatsApp"} for sender in found["senders"]])

    def _answer(self, request: Request, found: JsonObject | None) -> Response:
        return JSONResponse(found) if found else self._refuse(error_body(20404, path=request.url.path))


def _page(key: str, rows: list[Any]) -> Response:
    return JSONResponse({key: rows, "meta": {"key": key, "page": 0, "page_size": 50, "next_page_url": None}})
