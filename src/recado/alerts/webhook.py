"""Posting JSON to one address that is a secret, and telling what became of it."""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import httpx

from recado.errors import AlertFailed
from recado.lanes import proxy_for, ssl_context

SECONDS = 10.0
"""For one post in all."""
LARGEST_ANSWER = 65_536
"""Bytes. What says more is not the answer to an alert."""
PAUSE = 5.0
"""Seconds, where a server that asks for a pause does not say how long."""
LONGEST_PAUSE = 3_600.0
_FOR_HEAD = 0.8
"""Which part of the time is for the answer's head; the rest is for its body."""
_NAME = re.compile(r"[a-z0-9_]{1,30}")
"""Of a field. Tokens are longer."""
_NONE: Mapping[str, str] = MappingProxyType({})
_USER_AGENT = f"recado/{version('recado')}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. `body`: as much of it as came, at most `LARGEST_ANSWER` bytes."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_page(self) -> bool:
        """It is made for people: a proxy or a login has answered."""
        return "html" in self.headers.get("content-type", "").lower() or self.body[:64].lstrip().startswith(b"<")

    def data(self) -> dict[str, Any]:
        """Its JSON object; an empty one where it holds none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


async def post_json(
    url: httpx.URL, body: Mapping[str, Any], seconds: float, headers: Mapping[str, str] = _NONE
) -> Answer:
    """Post it and read the answer; a redirect is one. Raises TimeoutError, httpx.RequestError, OSError and ValueError.

    A transport and no client of httpx: that logs every address, which may be a secret. A connection of its own: alerts
    are rare.
    """
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    always = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": _USER_AGENT}
    request = httpx.Request("POST", url, headers={**always, **headers}, content=content)
    async with httpx.AsyncHTTPTransport(verify=ssl_context(), proxy=proxy_for(url)) as transport:
        async with asyncio.timeout(seconds * _FOR_HEAD):
            response = await transport.handle_async_request(request)
        start = await _start_of(response, seconds * (1 - _FOR_HEAD))
        return Answer(response.status_code, response.headers, start)


async def _start_of(response: httpx.Response, seconds: float) -> bytes:
    """What came of the body. Whole or not, the answer's head has said what became of the post."""
    start = bytearray()
    with suppress(httpx.TransportError, TimeoutError):
        async with asyncio.timeout(seconds):
            async for chunk in response.aiter_raw():
                start += chunk
                if len(start) >= LARGEST_ANSWER:
                    break
    return bytes(start[:LARGEST_ANSWER])


class Webhook:
    """An incoming webhook of `whose`. `url`, from `setting`, is a secret and is in no message. `seconds`: for one post.

    After a 429 nothing is posted until the time that it named.
    """

    def __init__(
        self, url: str, setting: str, whose: str, taken: Callable[[Answer], bool], seconds: float = SECONDS
    ) -> None:
        self._url = address_of(url)
        self._setting = setting
        self._whose = whose
        self._taken = taken
        self._seconds = seconds
        self._paused_until = 0.0

    @property
    def pause(self) -> float:
        """The seconds for which nothing may be posted."""
        return max(0.0, self._paused_until - time.monotonic())

    async def post(self, body: Mapping[str, Any], **query: str) -> None:
        """Returns when it was taken. Raises AlertFailed."""
        if self._url is None:
            raise AlertFailed(f"{self._setting} is no http(s) address: {self._remedy}", permanent=True)
        if self.pause:
            raise AlertFailed(f"{self._whose} asked for a pause", retry_after=self.pause)
        try:
            answer = await post_json(self._url.copy_merge_params(query), body, self._seconds)
        except TimeoutError:
            raise AlertFailed(f"{self._whose} did not answer within {self._seconds:g} s") from None
        except (httpx.RequestError, OSError, ValueError) as error:  # ValueError: no name server can be asked for it
            # Its name only: its text may hold the address.
            raise AlertFailed(f"{self._whose} cannot be reached: {type(error).__name__}") from None
        self._mind_limit(answer)
        self._raise_for(answer)

    def _mind_limit(self, answer: Answer) -> None:
        """Discord says with every answer how many more it takes now, and for how long it takes none after that:
        https://docs.discord.com/developers/topics/rate-limits
        """
        if answer.status != 429 and answer.headers.get("x-ratelimit-remaining", "").strip() == "0":
            wait = _seconds(answer.headers.get("x-ratelimit-reset-after")) or 0.0
            self._paused_until = time.monotonic() + min(wait, PAUSE)

    def _raise_for(self, answer: Answer) -> None:
        status = answer.status
        if status == 429:
            wait = retry_after_of(answer)
            self._paused_until = time.monotonic() + wait
            raise AlertFailed(f"{self._whose} takes no more for {wait:g} s (HTTP 429)", retry_after=wait)
        if 200 <= status < 300:
            if not self._taken(answer):
                raise AlertFailed(f"something else than {self._whose} answered (HTTP {status}): {self._remedy}")
            return
        if 300 <= status < 400:
            text = f"{self._whose}'s webhook leads elsewhere (HTTP {status}): {self._remedy}"
            raise AlertFailed(text, permanent=status in (301, 308))
        if status in (408, 425) or status >= 500:
            raise AlertFailed(f"{self._whose} failed (HTTP {status})")
        if status in (401, 403, 404, 410):
            text = f"{self._whose} does not know this webhook, or not any more (HTTP {status}): {self._remedy}"
            raise AlertFailed(text, permanent=True)
        raise AlertFailed(f"{self._whose} refused the alert (HTTP {status}{self._said(answer)})", permanent=True)

    @property
    def _remedy(self) -> str:
        return f"make a webhook there, and set {self._setting} to its address as it is shown"

    def _said(self, answer: Answer) -> str:
        """What is wrong, as far as it is said by codes and names: texts may repeat what was posted, or the address."""
        data = answer.data()
        code = data.get("code")
        number = f", code {code}" if isinstance(code, int) and not isinstance(code, bool) else ""
        places = sorted(_places(data.get("errors")))[:5]
        return number + (f": {', '.join(places)}" if places else "")


def address_of(url: str) -> httpx.URL | None:
    """The address that a setting holds. None: it is no http(s) one."""
    try:
        found = httpx.URL(url.strip())
    except (httpx.InvalidURL, UnicodeError):
        return None
    return found if found.scheme in ("http", "https") and found.host else None


def retry_after_of(answer: Answer) -> float:
    """The seconds to wait after a 429: `retry_after` of the body, else the header."""
    for value in (answer.data().get("retry_after"), answer.headers.get("retry-after")):
        seconds = _seconds(value)
        if seconds is not None:
            return seconds
    return PAUSE


def _seconds(value: object) -> float | None:
    """A server that asks for more than `LONGEST_PAUSE` is mistaken."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(seconds, LONGEST_PAUSE) if seconds >= 0 and not math.isnan(seconds) else None


def _places(errors: object, path: str = "", depth: int = 0) -> set[str]:
    """Where Discord finds mistakes: {"embeds": {"0": {"title": {"_errors": [{"code": …}]}}}} is `embeds.0.title`."""
    if not isinstance(errors, dict) or depth > 8:
        return set()
    found = {path} if path and "_errors" in errors else set()
    for name, inner in list(errors.items())[:30]:
        if _NAME.fullmatch(name):
            found |= _places(inner, f"{path}.{name}".removeprefix("."), depth + 1)
    return found
