"""Twilio's posts: inbound messages and statuses."""

import hashlib
import time
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter, Request, Response

from recado.channels.twilio.forms import Form, first, own_address, raw_event, read_form, verify
from recado.http.services import HttpServices
from recado.http.webhooks.refusing import REREAD_SECONDS, TOKENS_SECONDS, refused
from recado.merchants.repository import find_accounts
from recado.text import mask_phone

log = structlog.get_logger(__name__)

TWILIO_REMEDY = "PUBLIC_BASE_URL must be the address that Twilio calls, and auth_token the account's own"


def router(services: HttpServices) -> APIRouter:
    """The two routes, on these services."""
    webhook = TwilioWebhook(services)
    routes = APIRouter(prefix="/webhooks/twilio", tags=["webhooks"])
    routes.add_api_route("", webhook.receive, methods=["POST"], summary="An inbound message")
    routes.add_api_route("/status", webhook.receive, methods=["POST"], summary="A status of an outbound message")
    return routes


@dataclass(frozen=True, slots=True)
class _Tokens:
    by_address: dict[str, str] = field(default_factory=dict)
    by_account_sid: dict[str, str] = field(default_factory=dict)
    read_at: float = float("-inf")

    def of(self, form: Form) -> str | None:
        """The auth token that must have signed: that of the number's own account.

        A number that nobody has configured is verified with the token of the Twilio account that it belongs to, when
        a merchant uses that account: such a post is stored as unrouted.
        """
        address = own_address(form)
        if address in self.by_address:
            return self.by_address[address]
        return self.by_account_sid.get(first(form, "AccountSid"))


class TwilioWebhook:
    """Verify, store, answer."""

    def __init__(self, services: HttpServices) -> None:
        self._services = services
        self._public_url = services.settings.public_base_url.rstrip("/")
        self._tokens = _Tokens()

    async def receive(self, request: Request) -> Response:
        """Verify the signature on the public URL, store the event, answer. 403 when it is not Twilio's."""
        body = await request.body()
        try:
            form = read_form(body)
        except ValueError:
            return Response("not a form", 400)
        query = request.url.query
        url = f"{self._public_url}{request.url.path}" + (f"?{query}" if query else "")
        if not await self._is_signed(url, form, request.headers.get("X-Twilio-Signature", "")):
            log.warning(
                "refused a post with a wrong signature: is PUBLIC_BASE_URL the address that Twilio calls?",
                url=url,
                to=mask_phone(own_address(form)),
            )
            refused(self._services.alerts, "twilio", TWILIO_REMEDY, signed="X-Twilio-Signature" in request.headers)
            return Response("wrong signature", 403)
        # Our own signed query (which delivery a status is about) is part of what is stored.
        payload = query.encode() + b"&" + body if query else body
        await self._services.intake.accept([raw_event(form, payload, hashlib.sha256(body).hexdigest())])
        return Response("<Response/>", media_type="application/xml")

    async def _is_signed(self, url: str, form: Form, signature: str) -> bool:
        if not signature:
            return False
        for oldest in (TOKENS_SECONDS, REREAD_SECONDS):
            if time.monotonic() - self._tokens.read_at > oldest:
                await self._read_tokens()
            token = self._tokens.of(form)
            if token is not None and verify(url, form, signature, token):
                return True
        return False

    async def _read_tokens(self) -> None:
        async with self._services.database.read() as session:
            accounts = await find_accounts(session, "twilio")
        self._tokens = _Tokens(
            {account.address: account.credentials["auth_token"] for account in accounts},
            {account.credentials["account_sid"]: account.credentials["auth_token"] for account in accounts},
            time.monotonic(),
        )
