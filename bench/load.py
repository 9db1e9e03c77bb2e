"""The load: signed posts of Twilio, over keep-alive connections, from a process of its own.

`python -m bench.load URL COUNT SECONDS CONNECTIONS` makes and signs the posts first, then sends them, each connection
one after the other, until all are sent or the time is up, and writes {seconds, accepted, p50_ms, p99_ms} as JSON. Raw
sockets, because an HTTP client would cost more than the server that it measures.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlencode, urlsplit

import uvloop

from tests.fakes.twilio_inbound import inbound_form, sign

OUR_NUMBER = "+14155238886"
PEOPLE = 500
QUESTIONS = ("¿Hacen envíos?", "Hola", "¿Cuál es el horario de atención?", "Gracias")
END_OF_HEAD = b"\r\n\r\n"


def make_posts(url: str, count: int) -> list[bytes]:
    """Whole requests, each with a message id of its own, from many people in turn."""
    place = urlsplit(url)
    posts = []
    for number in range(count):
        person = f"+5190{number % PEOPLE:07}"
        form = inbound_form(from_=person, to=OUR_NUMBER, body=QUESTIONS[number % len(QUESTIONS)])
        body = urlencode(form).encode()
        head = (
            f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nUser-Agent: TwilioProxy/1.1\r\n"
            f"Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
            f"X-Twilio-Signature: {sign(url, form)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        posts.append(head.encode() + body)
    return posts


class Connection(asyncio.Protocol):
    """Sends the next post whenever the last one is answered."""

    def __init__(self, posts: Iterator[bytes], latencies: list[float], deadline: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.accepted = 0
        self._posts = posts
        self._latencies = latencies
        self._deadline = deadline
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        """The next post, or the end."""
        assert self._transport is not None
        post = next(self._posts, None) if time.perf_counter() < self._deadline else None
        if post is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(post)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(END_OF_HEAD)
        if not found or len(body) < _content_length(head):
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        self.accepted += head.startswith(b"HTTP/1.1 200 ")
        self._received = b""
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def load(url: str, count: int, seconds: float, connections: int) -> dict[str, float]:
    """Send at most `count` posts within `seconds` and measure."""
    posts = iter(make_posts(url, count))
    place = urlsplit(url)
    host, port = str(place.hostname), int(place.port or 80)
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds
    made = [
        (await loop.create_connection(lambda: Connection(posts, latencies, deadline), host, port))[1]
        for _ in range(connections)
    ]
    start = time.perf_counter()
    for connection in made:
        connection.send()
    await asyncio.gather(*(connection.done for connection in made))
    taken = time.perf_counter() - start
    hundredths = statistics.quantiles(latencies, n=100)
    return {
        "seconds": taken,
        "accepted": sum(connection.accepted for connection in made),
        "p50_ms": hundredths[49] * 1_000,
        "p99_ms": hundredths[98] * 1_000,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))))
