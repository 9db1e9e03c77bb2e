"""A TCP server that answers each request with given bytes, for what no well-made server does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CUT = b""
"""In place of an answer: the connection is closed."""


def answer(body: str, content_type: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    """An HTTP response."""
    encoded = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(encoded)}\r\n{more}\r\n"
    return head.encode() + encoded


DONE = answer('{"type": "1", "message": "done", "data": {"sessionId": "s1"}}')


@dataclass
class RawServer:
    """`requests`: (number of the connection, first line) of each request that came in whole."""

    answers: list[bytes]
    read_limit: int | None = None
    """Cut a connection after so many bytes, in the middle of a request."""
    url: str = ""
    connections: int = 0
    requests: list[tuple[int, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    open: dict[asyncio.Task[None], asyncio.Transport] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.open[task] = writer.transport
        connection = self.connections
        try:
            while True:
                if self.read_limit is not None:
                    await reader.readexactly(self.read_limit)
                    break
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [
                    line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length:")
                ]
                self.bodies.append(await reader.readexactly(int(lengths[0]) if lengths else 0))
                self.requests.append((connection, head.splitlines()[0]))
                reply = self.answers.pop(0)
                if reply == CUT:
                    break
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            del self.open[task]


@asynccontextmanager
async def raw_server(*answers: bytes, read_limit: int | None = None) -> AsyncIterator[RawServer]:
    """A server with these answers, in this order, whichever connection asks."""
    raw = RawServer(list(answers), read_limit)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        server.close()
        for transport in list(raw.open.values()):
            transport.abort()
        if raw.open:
            await asyncio.wait(raw.open)
