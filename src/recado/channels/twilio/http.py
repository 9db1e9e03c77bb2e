"""Twilio's REST calls. The one place that knows the faults of its library's async client (9.13.0)."""

import asyncio
import json
import re
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from twilio.base.exceptions import TwilioException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from recado.channels.codes import meaning_of
from recado.channels.twilio.codes import CODES
from recado.errors import Retryable, SendError
from recado.text import clean_text, mask_phone, shorten

T = TypeVar("T")

WITHOUT_CODE = {401: 20003}
"""The code that a status without one stands for."""

LONGEST_WAIT = 3_600.0
"""No longer is waited because an answer says so, in seconds."""

SETTLING = 5.0
"""How long Twilio may still be about to take what it has not answered, in seconds: its list tells nothing before."""
LONGEST_SAID = 300
_PHONE = re.compile(r"\+?[0-9]{7,}")


class TwilioHttp(AsyncTwilioHttpClient):
    """The library's async client, with the timeout that it ignores and, when set, another host.

    A refusal is raised here, as our own error: the library's lists lose its code, and everything of it loses
    `Retry-After`.
    """

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        super().__init__()
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    async def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        """Send one request. Raises SendError for an answer that refuses it."""
        if self._base_url:
            parts = urlsplit(url)
            url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        sent = super().request(method, url, *args, **kwargs)
        response = await asyncio.wait_for(sent, self._timeout_seconds)
        if response.status_code >= 400:
            raise refusal(response.status_code, response.text, response.headers or {})
        return response


class TwilioApi:
    """Calls on any account. `base_url`: instead of all of Twilio's hosts."""

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._http: TwilioHttp | None = None

    def client(self, credentials: Mapping[str, Any]) -> Client:
        """The library's client of an account. What it does is awaited within `call`."""
        return Client(credentials["account_sid"], credentials["auth_token"], http_client=self._connections())

    async def call(self, request: Awaitable[T]) -> T:
        """The outcome of a call of the library's. Raises SendError."""
        try:
            return await request
        except aiohttp.ClientConnectorError as error:
            raise Retryable(f"cannot connect to Twilio: {error}") from error
        except TwilioException as error:  # an answer that its lists cannot read
            raise Retryable(f"Twilio: {error}", ambiguous=True) from error
        except TimeoutError as error:
            raise Retryable("no answer from Twilio in time", ambiguous=True, retry_after=SETTLING) from error
        except (aiohttp.ClientError, ConnectionError, ValueError) as error:
            # ValueError: the library could not read the answer as JSON (a proxy's error page).
            raise Retryable(f"no answer from Twilio: {type(error).__name__}", ambiguous=True) from error

    async def json_call(
        self, credentials: Mapping[str, Any], method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The JSON object that `url` (of Twilio's own host) answers, `body` being sent as JSON. Raises SendError.

        The library's own calls encode a JSON body as a form.
        """
        response = await self.call(
            self._connections().request(
                method,
                url,
                data=None if body is None else json.dumps(body, ensure_ascii=False),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                auth=(credentials["account_sid"], credentials["auth_token"]),
            )
        )
        try:
            answer = json.loads(response.text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Retryable("no answer from Twilio: it is no JSON object", ambiguous=True)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    def _connections(self) -> TwilioHttp:
        if self._http is None:  # it must be made inside the running loop
            self._http = TwilioHttp(self._base_url, self._timeout_seconds)
        return self._http


def refusal(status: int, text: str, headers: Mapping[str, str]) -> SendError:
    """What an answer of 4xx or 5xx means. Its body is `{code, message}`, or RFC 9457's `{code, title, detail}`."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    code = body.get("code")
    known = code if isinstance(code, int) and code > 0 else WITHOUT_CODE.get(status)
    meaning = meaning_of(CODES, known, status)
    said = without_numbers(str(body.get("message") or body.get("detail") or body.get("title") or ""))
    more: dict[str, Any] = {}
    if issubclass(meaning.error, Retryable):
        more = {"ambiguous": status >= 500, "retry_after": _seconds(headers.get("Retry-After"))}
    return meaning.to_error("Twilio", known or status, said, **more)


def without_numbers(said: str) -> str:
    """Twilio's own words, short, and without the phone numbers that it likes to repeat."""
    return shorten(_PHONE.sub(lambda found: mask_phone(found[0]), clean_text(said)), LONGEST_SAID)


def _seconds(value: str | None) -> float | None:
    """A `Retry-After` in seconds. One that is a date is not used: our own backoff serves."""
    return min(float(value), LONGEST_WAIT) if value and value.isascii() and value.isdigit() else None
