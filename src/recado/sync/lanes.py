"""Connections to one host, kept in small pools.

For each request, httpx's pool takes time in proportion to the square of its connections: 32 of them in one pool cost
3.3 ms of CPU a request, in eight pools of four 0.9 ms.
"""

import asyncio
from functools import lru_cache
from ssl import SSLContext

import httpx

CONNECTIONS = 4
"""In one lane."""
KEEPALIVE_SECONDS = 4.0
"""The API cuts a connection after 5 s without a request; ours must be the first to let go."""


@lru_cache
def _ssl_context() -> SSLContext:
    """Reading the authorities takes tens of milliseconds, so once per process."""
    return httpx.create_ssl_context()


class _Lane:
    """One small pool, and how many requests are on their way in it."""

    __slots__ = ("busy", "http")

    def __init__(self) -> None:
        self.busy = 0
        self.http = httpx.AsyncClient(
            verify=_ssl_context(),
            follow_redirects=False,
            timeout=None,  # noqa: S113 - the caller has one deadline for a whole exchange
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS),
        )


class Lanes:
    """As many lanes as are needed at once; nobody waits for a connection."""

    def __init__(self) -> None:
        self._lanes: list[_Lane] = []

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.RequestError."""
        lane = next((lane for lane in self._lanes if lane.busy < CONNECTIONS), None)
        if lane is None:
            lane = _Lane()
            self._lanes.append(lane)
        lane.busy += 1
        try:
            return await lane.http.send(request, auth=None)
        except asyncio.CancelledError:
            # httpcore may then keep the connection in its pool as one that is busy for ever, so the pool has to go.
            if lane in self._lanes:
                self._lanes.remove(lane)
            raise
        finally:
            lane.busy -= 1
            if not lane.busy and lane not in self._lanes:
                await lane.http.aclose()

    async def close(self) -> None:
        """Close all connections."""
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            await lane.http.aclose()
