"""Connections to one host, one pool for each.

A pool of many connections takes more time than the exchange itself, which grows with the square of their number, and
takes a connection whose call was cancelled for one that is busy for ever.
"""

import asyncio
from functools import lru_cache
from ssl import SSLContext
from urllib.request import getproxies, proxy_bypass

import httpx

KEEPALIVE_SECONDS = 4.0
"""Many servers cut a connection after 5 s without a request; ours must be the first to let go."""
_LIMITS = httpx.Limits(max_connections=1, keepalive_expiry=KEEPALIVE_SECONDS)


@lru_cache
def ssl_context() -> SSLContext:
    """Reading the authorities takes tens of milliseconds, so once per process."""
    return httpx.create_ssl_context()


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy that the environment names for an address (`HTTPS_PROXY`, `NO_PROXY` and their like)."""
    return None if proxy_bypass(url.host) else getproxies().get(url.scheme)


class Lanes(httpx.AsyncBaseTransport):
    """A transport with as many connections as are needed at once: nobody waits for one. For answers that are read
    whole: what comes of a stream is in memory.
    """

    def __init__(self) -> None:
        self._free: list[httpx.AsyncHTTPTransport] = []
        self._busy: set[httpx.AsyncHTTPTransport] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The whole answer. Raises httpx.RequestError."""
        # The one that was used last: its connection is the likeliest to be alive still.
        lane = self._free.pop() if self._free else self._open(request.url)
        self._busy.add(lane)
        try:
            response = await lane.handle_async_request(request)
            response.request = request
            await response.aread()
        except asyncio.CancelledError:
            # httpcore may then take the connection for one that is busy for ever: nobody can use this lane any more.
            self._busy.discard(lane)
            await lane.aclose()
            raise
        finally:
            if lane in self._busy:
                self._busy.discard(lane)
                self._free.append(lane)
        return response

    def _open(self, url: httpx.URL) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=ssl_context(), limits=_LIMITS, proxy=proxy_for(url))

    async def aclose(self) -> None:
        """Close all connections."""
        lanes, self._free = [*self._free, *self._busy], []
        self._busy.clear()
        for lane in lanes:
            await lane.aclose()
