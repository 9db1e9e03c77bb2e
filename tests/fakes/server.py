"""What every fake shares: control routes, recording, cut connections, and ways to run one.

In the test's process: `with running(OpenAIFake()) as fake: fake.url`. As a process of its own, which survives
a `kill -9` of the product: `with spawned("tests.fakes.openai_api", log=path) as process: process.url`.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fakes.recorder import Gates, JsonObject, Recorder

TRANSPORT = "recado.fakes.transport"
_direct = httpx.Client(trust_env=False)  # a proxy in the environment must not swallow control requests
ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class CutResponse(Response):
    """Ends the connection without a complete answer: no byte of it, or `first` bytes of the body."""

    def __init__(self, first: bytes = b"", media_type: str = "application/json") -> None:
        super().__init__(content=b"", media_type=media_type)
        self.first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.first:
            headers = [(b"content-type", str(self.media_type).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self.first, "more_body": True})
        await cut(scope, receive)


async def cut(scope: Scope, receive: Receive) -> None:
    """Drops the connection under a request, as a crashed proxy does. What was written before still leaves."""
    scope[TRANSPORT].close()
    while (await receive())["type"] != "http.disconnect":
        pass


class _WithTransport:
    """Puts the connection's transport into the scope; ASGI itself has no way to drop a connection.

    uvicorn hands the bound `send` of its request cycle to the outermost app; the cycle knows the transport.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[TRANSPORT] = send.__self__.transport  # type: ignore[attr-defined]
        await self.app(scope, receive, send)


class Fake:
    """Base of the fakes. Subclasses give `routes()` and read `apply_script()`; `url` is set once it runs.

    `keep_alive`: after so many idle seconds a connection is closed. `greeting`: printed below READY by a process.
    """

    keep_alive: float = 5.0
    greeting = ""

    def __init__(self, log: Path | None = None) -> None:
        self.requests = Recorder(log)
        self.gates = Gates()
        self.url = ""

    def routes(self) -> Sequence[BaseRoute]:
        raise NotImplementedError

    def apply_script(self, script: Any) -> None:
        raise NotImplementedError

    def not_found(self, request: Request) -> Response:
        raise NotImplementedError

    def reset(self) -> None:
        """Forgets requests and script, and drops what is held."""
        self.requests.clear()
        self.gates.release(proceed=False)

    def app(self) -> ASGIApp:
        control = [
            Route("/_log", self._get_log, methods=["GET"]),
            Route("/_script", self._post_script, methods=["POST"]),
            Route("/_reset", self._post_reset, methods=["POST"]),
            Route("/_release", self._post_release, methods=["POST"]),
        ]
        rest = Route("/{path:path}", self._unknown, methods=ALL_METHODS)
        return _WithTransport(Starlette(routes=[*control, *self.routes(), rest]))

    def record(self, request: Request, kind: str, body: Any, outcome: str) -> JsonObject:
        """Call it before any await that belongs to the answer, so that held requests are visible."""
        return self.requests.add(
            {
                "kind": kind,
                "method": request.method,
                "path": request.url.path,
                "query": pairs(request.url.query),
                "headers": dict(request.headers),
                "body": body,
                "outcome": outcome,
            }
        )

    async def pause(self, behaviour: Mapping[str, Any]) -> bool:
        """`latency` seconds, `hold` until released by name, `hang` for good. False: cut, do not answer."""
        if behaviour.get("latency"):
            await asyncio.sleep(float(behaviour["latency"]))
        if behaviour.get("hold"):
            return await self.gates.hold(str(behaviour["hold"]))
        if behaviour.get("hang"):
            await self.gates.hold("hang")
            return False
        return True

    async def _unknown(self, request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        self.record(request, "unknown", body, "404")
        return self.not_found(request)

    async def _get_log(self, request: Request) -> Response:
        """`?kind=` filters; `?count=N` waits for N of them, at most `timeout` (10) seconds: else 408."""
        query = request.query_params
        kind, count = query.get("kind"), int(query.get("count", 0))
        try:
            entries = await self.requests.until(count, kind, float(query.get("timeout", 10)))
        except TimeoutError as error:
            return JSONResponse({"ok": False, "problem": str(error)}, status_code=408)
        return JSONResponse(entries)

    async def _post_script(self, request: Request) -> Response:
        try:
            self.apply_script(await request.json())
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"ok": False, "problem": repr(error)}, status_code=400)
        return JSONResponse({"ok": True})

    async def _post_reset(self, request: Request) -> Response:
        self.reset()
        return JSONResponse({"ok": True})

    async def _post_release(self, request: Request) -> Response:
        body = await request.body()
        self.gates.release((json.loads(body) if body else {}).get("name"))
        return JSONResponse({"ok": True})


def pairs(encoded: str) -> JsonObject:
    """A query or form as {name: value}, or {name: [values]} for repeated names. Blanks are kept."""
    found: JsonObject = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        if name in found:
            earlier = found[name]
            found[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        else:
            found[name] = value
    return found


F = TypeVar("F", bound=Fake)


def _server(fake: Fake, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    # already listening when this returns: a client that comes before the loop runs waits in the backlog
    listener = socket.create_server((host, port), backlog=512, reuse_port=False)
    fake.url = f"http://{host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        fake.app(),
        log_level="critical",
        access_log=False,
        lifespan="off",
        proxy_headers=False,  # its middleware would hide the request cycle that `_WithTransport` needs
        server_header=False,
        timeout_keep_alive=fake.keep_alive,  # type: ignore[arg-type]  # handed to call_later as it is
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config), listener


@contextlib.contextmanager
def running(fake: F, host: str = "127.0.0.1", port: int = 0) -> Iterator[F]:
    """Serves the fake from a thread of this process, on a free port unless one is given."""
    server, listener = _server(fake, host, port)
    thread = threading.Thread(target=server.run, args=([listener],), name=type(fake).__name__, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.gates.release(proceed=False)
        server.should_exit = server.force_exit = True
        thread.join(timeout=10)
        listener.close()


@dataclass(slots=True)
class SpawnedFake:
    """A fake in its own process: the control routes as methods."""

    url: str
    process: subprocess.Popen[str]

    def log(self, kind: str | None = None, count: int = 0, timeout: float = 10) -> list[JsonObject]:
        """Requests so far (of `kind`), once there are `count` of them; else httpx.HTTPStatusError."""
        query = {"count": str(count), "timeout": str(timeout)} | ({"kind": kind} if kind else {})
        answer = _direct.get(f"{self.url}/_log", params=query, timeout=timeout + 5)
        found: list[JsonObject] = answer.raise_for_status().json()
        return found

    def script(self, script: Any) -> None:
        _direct.post(f"{self.url}/_script", json=script).raise_for_status()

    def reset(self) -> None:
        _direct.post(f"{self.url}/_reset").raise_for_status()

    def release(self, name: str | None = None) -> None:
        _direct.post(f"{self.url}/_release", json={"name": name}).raise_for_status()


@contextlib.contextmanager
def spawned(module: str, log: Path, *args: str, port: int = 0) -> Iterator[SpawnedFake]:
    """Runs `python -m module` and waits for its first line, `READY <url>`."""
    command = [sys.executable, "-m", module, "--port", str(port), "--log", str(log), *args]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert process.stdout is not None
        word, _, url = process.stdout.readline().strip().partition(" ")
        assert word == "READY", f"{module} did not start"
        yield SpawnedFake(url, process)
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def argument_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, default=None, help="JSON lines, one for each request received")
    parser.add_argument("--script", type=Path, default=None, help="JSON file, as for POST /_script")
    return parser


def serve_forever(make: Callable[[argparse.Namespace], Fake], parser: argparse.ArgumentParser) -> None:
    args = parser.parse_args()
    fake = make(args)
    if args.script is not None:
        fake.apply_script(json.loads(args.script.read_text(encoding="utf-8")))
    server, listener = _server(fake, args.host, args.port)
    sys.stdout.write(f"READY {fake.url}\n{fake.greeting}")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])
