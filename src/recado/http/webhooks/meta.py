"""Meta's posts, of WhatsApp and Instagram: who signed, may they say so, and then they are stored."""

import asyncio
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter, Request, Response

from recado.alerts.raising import Alarm
from recado.channels.meta.events import MetaPost
from recado.http.services import HttpServices
from recado.http.webhooks.refusing import REREAD_SECONDS, TOKENS_SECONDS, refused
from recado.merchants.account import WABA, Account
from recado.merchants.repository import find_accounts

log = structlog.get_logger(__name__)

CHANNELS = ("whatsapp", "instagram")
HEAVY_BYTES = 1024 * 1024
"""More than this is not hashed within the event loop."""
SHOWN_NAMES = 5
META_REMEDY = "app_secret of the channel account must be that of Meta's app (App settings, Basic)"
_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})")

Names = Mapping[tuple[str, str], set[bytes]]


def router(services: HttpServices) -> APIRouter:
    """The handshake and the posts, on these services."""
    webhook = MetaWebhook(services)
    routes = APIRouter(prefix="/webhooks/meta", tags=["webhooks"])
    routes.add_api_route("", webhook.shake_hands, methods=["GET"], summary="Meta makes sure that the address is ours")
    routes.add_api_route("", webhook.receive, methods=["POST"], summary="Messages and statuses")
    return routes


@dataclass(frozen=True, slots=True)
class _Secrets:
    """What the active accounts hold. `by_name`: an address, with its channel, and the app secrets that speak for it."""

    by_name: Names = field(default_factory=dict)
    verify_tokens: frozenset[bytes] = frozenset()
    read_at: float = float("-inf")

    @classmethod
    def of(cls, accounts: list[Account]) -> "_Secrets":
        by_name: dict[tuple[str, str], set[bytes]] = {}
        for account in accounts:
            secret = _credential(account, "app_secret")
            for address in (account.address, WABA + account.waba_id if account.waba_id else ""):
                if address:  # for an account without a secret nobody speaks
                    by_name.setdefault((account.channel, address), set()).update({secret} - {b""})
        tokens = frozenset(filter(None, (_credential(account, "verify_token") for account in accounts)))
        return cls(by_name, tokens, time.monotonic())

    @property
    def all(self) -> set[bytes]:
        return set().union(*self.by_name.values())


class MetaWebhook:
    """Verify, store, answer."""

    def __init__(self, services: HttpServices) -> None:
        self._services = services
        self._secrets = _Secrets()

    async def shake_hands(self, request: Request) -> Response:
        """The bare challenge for who knows the verify token of one of our accounts, 403 for everybody else."""
        query = request.query_params
        given = query.get("hub.verify_token", "").encode()
        for oldest in (TOKENS_SECONDS, REREAD_SECONDS):
            await self._refresh(oldest)
            # Each is compared, so that the time tells nothing.
            known = [hmac.compare_digest(given, token) for token in self._secrets.verify_tokens]
            if query.get("hub.mode") == "subscribe" and any(known):
                return Response(query.get("hub.challenge", ""), media_type="text/plain")
        log.warning("refused a handshake: is the verify token at Meta that of the channel account?")
        return Response("wrong verify token", 403)

    async def receive(self, request: Request) -> Response:
        """Verify the signature on the raw body, store its events, answer. 403 when it is not Meta's.

        One merchant's app may not speak of another's account: such a post is refused as a whole.
        """
        body = await request.body()
        found = _SIGNATURE.fullmatch(request.headers.get("X-Hub-Signature-256", ""))
        post = await self._believe(body, bytes.fromhex(found[1])) if found else None
        if post is None:
            return Response("wrong signature", 403)
        if events := post.events():
            await self._services.intake.accept(events)
        return Response(status_code=200)

    async def _believe(self, body: bytes, signature: bytes) -> MetaPost | None:
        """The post, read; None where nobody signed it who may."""
        post: MetaPost | None = None
        for oldest in (TOKENS_SECONDS, REREAD_SECONDS):
            await self._refresh(oldest)
            signer = await _signer(self._secrets.all, body, signature)
            if signer is None:
                continue
            post = post or MetaPost(body)
            named = {name: self._secrets.by_name.get((post.channel, name)) for name in post.names()}
            if all(secrets is None or signer in secrets for secrets in named.values()):
                return post
        if post is None:
            log.warning("refused a post with a wrong signature: is app_secret that of Meta's app?")
            refused(self._services.alerts, "meta", META_REMEDY, signed=True)
        else:
            names = sorted(post.names())[:SHOWN_NAMES]
            log.error("refused a post about accounts of another app than signed it", channel=post.channel, names=names)
            self._services.alerts.soon(Alarm("security_foreign_account", f"{post.channel}: {', '.join(names)}"))
        return None

    async def _refresh(self, oldest: float) -> None:
        if time.monotonic() - self._secrets.read_at <= oldest:
            return
        async with self._services.database.read() as session:
            accounts = [account for channel in CHANNELS for account in await find_accounts(session, channel)]
        self._secrets = _Secrets.of(accounts)


async def _signer(secrets: set[bytes], body: bytes, signature: bytes) -> bytes | None:
    """The secret with which `body` was signed. None: with none of these."""

    def find() -> bytes | None:
        matching = (key for key in secrets if hmac.compare_digest(hmac.digest(key, body, "sha256"), signature))
        return next(matching, None)

    if len(secrets) * len(body) > HEAVY_BYTES:
        return await asyncio.to_thread(find)
    return find()


def _credential(account: Account, name: str) -> bytes:
    value = account.credentials.get(name)
    return value.encode() if isinstance(value, str) else b""
