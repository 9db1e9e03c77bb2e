"""One HTTP exchange with the conversation API: sending, timing out, and telling what a failure means."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import httpx
import structlog

from recado.errors import ConversationGone, SyncError, SyncRejected, SyncUnavailable, WrongPrefix
from recado.lanes import Lanes
from recado.sync.answers import read_answer
from recado.sync.circuit import Circuit
from recado.sync.metrics import ATTEMPTS, CIRCUIT_OPEN, FAILURES, SECONDS

STALE_SOCKETS = 3
"""So many of them in a row are replaced at once before that is a failure."""
VERSION = version("recado")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `path` is encoded; `shown` is the same as people may see it. `idempotent`: repeating is harmless.
    `trying`: whether the API has such a route at all is what the call finds out."""

    operation: str
    method: str
    path: str
    shown: str
    query: str = ""
    body: Mapping[str, Any] | None = None
    idempotent: bool = True
    trying: bool = False


class _Flight:
    """What became of one request on its way, as httpcore's trace extension tells it."""

    __slots__ = ("answered", "fresh", "sent", "torn")

    def __init__(self) -> None:
        self.fresh = self.sent = self.torn = self.answered = False

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            self.sent = True
        elif event == "http11.receive_response_headers.complete":
            self.answered = True
        elif event == "connection.connect_tcp.started":
            self.fresh = True
        elif event in ("http11.send_request_headers.failed", "http11.send_request_body.failed"):
            self.torn = True

    @property
    def stale(self) -> bool:
        """The connection had been idle, and the server had let go of it."""
        return self.sent and not self.fresh and not self.answered

    @property
    def arrived(self) -> bool:
        """Whether the server may have the whole request."""
        return self.sent and not self.torn


class Connection:
    """The conversation API at one address, with one key. `timeout`, in seconds, is for a whole exchange."""

    def __init__(self, base_url: str, key: str, timeout: float, circuit: Circuit | None) -> None:
        self._base = base_url.strip().rstrip("/")
        self._key = key.strip()
        self._timeout = timeout
        self._circuit = circuit
        self._problem = _problem(self._base, self._key)
        self.host = "" if self._problem else httpx.URL(self._base).host
        self._headers = _headers("" if self._problem else self._key)
        self._lanes = Lanes()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host!r})"

    async def close(self) -> None:
        """Close its connections."""
        await self._lanes.aclose()

    async def send(self, call: Call) -> Any:
        """The `data` of the API's answer. Raises SyncUnavailable (WrongPrefix), SyncRejected or ConversationGone."""
        if self._problem:
            raise SyncUnavailable(self._problem, "misconfigured")
        request = self._request(call)
        if self._circuit is not None:
            self._circuit.enter()
        ATTEMPTS.labels(call.operation).inc()
        began = time.perf_counter()
        try:
            data = read_answer(await self._deliver(request, call), call.shown, self._clean)
        except SyncError as error:
            self._failed(call, error)
            raise
        finally:
            SECONDS.labels(call.operation).observe(time.perf_counter() - began)
        self._succeeded()
        return data

    def _request(self, call: Call) -> httpx.Request:
        url = f"{self._base}{call.path}{'?' + call.query if call.query else ''}"
        if call.body is None:
            return httpx.Request(call.method, url, headers=self._headers)
        headers = [*self._headers, ("Content-Type", "application/json")]
        return httpx.Request(call.method, url, headers=headers, content=_encode(call.body))

    async def _deliver(self, request: httpx.Request, call: Call) -> httpx.Response:
        for _ in range(STALE_SOCKETS):
            flight = _Flight()
            request.extensions["trace"] = flight
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._lanes.handle_async_request(request)
            except TimeoutError:
                text = f"the conversation API did not answer within {self._timeout:g} s"
                raise SyncUnavailable(text, "timeout", ambiguous=flight.arrived) from None
            except httpx.DecodingError:
                raise SyncUnavailable("the conversation API's answer is garbled", "not_json", ambiguous=True) from None
            except httpx.TransportError as error:
                failure = self._lost(flight, error)
            if not flight.stale or (flight.arrived and not call.idempotent):
                break
        raise failure

    def _lost(self, flight: _Flight, error: httpx.TransportError) -> SyncUnavailable:
        if not flight.sent:
            return SyncUnavailable(f"connection refused to API at {self.host}: {self._clean(str(error))}", "refused")
        return SyncUnavailable(
            f"the conversation API at {self.host} cut the connection", "cut", ambiguous=flight.arrived
        )

    def _failed(self, call: Call, error: SyncError) -> None:
        tried = call.trying and isinstance(error, WrongPrefix)
        looked = isinstance(error, ConversationGone) and call.operation.startswith("lookup")
        if not tried and not looked:
            FAILURES.labels(call.operation, error.reason).inc()
        if tried or isinstance(error, SyncRejected | ConversationGone):
            self._succeeded()
        elif self._circuit is not None:
            opened = self._circuit.failed()
            CIRCUIT_OPEN.set(self._circuit.state != "closed")
            if opened:
                log.warning("conversation sync error: the API is left alone for a while", host=self.host)

    def _succeeded(self) -> None:
        if self._circuit is not None:
            self._circuit.succeeded()
            CIRCUIT_OPEN.set(0)

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


def _problem(base: str, key: str) -> str | None:
    """What is wrong with the address or the key, and its remedy. None: nothing that can be seen."""
    try:
        url = httpx.URL(base)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        return "CARTAAI_API_BASE_URL is no address: set it as in https://ssgg.api.cartaai.pe"
    if not key.isascii() or not key.isprintable():
        return "CARTAAI_API_KEY holds characters that no header can: copy it anew"
    return None


def _headers(key: str) -> list[tuple[str, str]]:
    always = [("Accept", "application/json"), ("User-Agent", f"recado/{VERSION}")]
    return [*always, ("Authorization", f"Bearer {key}")] if key else always


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError):
        # Not what was wrong: that would quote a customer.
        raise SyncRejected("what should be synced cannot be written as JSON", "unserialisable", 0) from None
    return text.encode("utf-8", "replace")


def _plain(value: object) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)
