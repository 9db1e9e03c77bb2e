"""Fetching a file from a provider: from its own hosts only, never more than is wanted, with credentials to few.

Where a file is comes from outside, and so does every redirect: each address is checked before there is a connection.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO

import httpx

from recado.errors import AccountRefused, MediaRefused, Permanent, Retryable
from recado.lanes import ssl_context

MAX_REDIRECTS = 5

_ADDRESS = re.compile(
    r"https://(?P<host>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+)(?::443)?(?:[/?][!-\[\]-~]*)?",
    re.IGNORECASE,
)
"""What an address may look like: nothing in it that two readers of addresses could take for different hosts."""
_LONGEST_ADDRESS = 8_192
_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_SECONDS = re.compile(r"[0-9]{1,6}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Trusted:
    """Where a provider keeps files. `hosts` are exact names, or `.suffix` for every name under it.

    `base_url` replaces all of them, and may itself be named: for a provider that stands somewhere else.
    """

    hosts: frozenset[str]
    base_url: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """An address that was checked: what it says (`url`), where that is (`at`), and whether credentials may go there."""

    url: str
    at: str
    is_for_us: bool


def file_client(timeout_seconds: float) -> httpx.AsyncClient:
    """A client for one file: what a download that is given up leaves of its connection goes with it."""
    return httpx.AsyncClient(verify=ssl_context(), timeout=timeout_seconds)


async def fetch_file(
    client: httpx.AsyncClient,
    url: str,
    *,
    trusted: Trusted,
    file: BinaryIO,
    limit: int,
    headers: Mapping[str, str] = _NONE,
    auth_hosts: Collection[str] = (),
) -> str | None:
    """Write what is at `url`, of at most `limit` bytes, into `file`. Returns its content type, where told.

    `headers` go to `auth_hosts` (exact names or `.suffix`) alone. Give a client with timeouts; it follows nothing by
    itself. Raises MediaRefused (`foreign` for a host that is not trusted, before any connection), Permanent for what
    is not there any more, AccountRefused for refused credentials, and Retryable.
    """
    place = _check(url, trusted, auth_hosts)
    for _ in range(MAX_REDIRECTS + 1):
        request = client.build_request("GET", place.at, headers={"Accept-Encoding": "identity"})
        for name in _CREDENTIALS:  # such as the client has for its own host
            request.headers.pop(name, None)
        if place.is_for_us:
            request.headers.update(headers)
        try:
            response = await client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                if response.status_code not in _REDIRECTS:
                    return await _read(response, file, limit)
                place = _check(_target(place, response), trusted, auth_hosts)
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise Retryable(f"no file from the provider: {type(error).__name__}") from None
    raise MediaRefused(f"more than {MAX_REDIRECTS} redirects")


def _check(url: str, trusted: Trusted, auth_hosts: Collection[str]) -> _Place:
    """Raises MediaRefused for an address that is not among the trusted ones."""
    base = trusted.base_url.rstrip("/")
    if base and url.startswith(f"{base}/") and len(url) <= _LONGEST_ADDRESS and url.isascii() and url.isprintable():
        return _Place(url, url, bool(auth_hosts))
    match = _ADDRESS.fullmatch(url) if len(url) <= _LONGEST_ADDRESS else None
    if match is None:
        raise MediaRefused("a file's address is none that a provider gives", foreign=True)
    host = match["host"].lower()
    if not _is_among(host, trusted.hosts):
        raise MediaRefused(f"a file is on a foreign host: {host[:100]}", foreign=True)
    parsed = httpx.URL(url)
    if parsed.host != host:
        raise MediaRefused(f"a file's address can be read in two ways: {host[:100]}", foreign=True)
    at = f"{base}{parsed.raw_path.decode('ascii')}" if base else str(parsed)
    return _Place(url, at, _is_among(host, auth_hosts))


def _is_among(host: str, names: Collection[str]) -> bool:
    return any(host.endswith(name) and host != name if name.startswith(".") else host == name for name in names)


def _target(place: _Place, response: httpx.Response) -> str:
    try:
        return str(httpx.URL(place.url).join(response.headers.get("location", "")))
    except httpx.InvalidURL:
        raise MediaRefused("a redirect leads to no address", foreign=True) from None


async def _read(response: httpx.Response, file: BinaryIO, limit: int) -> str | None:
    _raise_for(response)
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise MediaRefused(f"larger than {limit} bytes")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        # It was not asked for, and a small one can hold any number of bytes.
        raise MediaRefused("it comes compressed")
    file.seek(0)
    file.truncate()
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > limit:
            raise MediaRefused(f"larger than {limit} bytes")
        file.write(chunk)
    return content_type_of(response.headers.get("content-type"))


def content_type_of(header: str | None) -> str | None:
    """The bare type of a Content-Type header, in small letters; None for what is none."""
    bare = (header or "").partition(";")[0].strip().lower()
    return bare if _CONTENT_TYPE.fullmatch(bare) else None


def _raise_for(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (401, 403):
        remedy = "renew the access token of this channel account, or give it the right to read media"
        raise AccountRefused(f"a file was refused: HTTP {status}", str(status), remedy=remedy)
    if status in (408, 429) or status >= 500:
        wait = response.headers.get("retry-after", "")
        after = float(wait) if _SECONDS.fullmatch(wait) else None
        raise Retryable(f"no file: HTTP {status}", str(status), retry_after=after)
    raise Permanent(f"no file: HTTP {status}", str(status))
