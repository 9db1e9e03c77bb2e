"""What a worker process shows of itself: it serves nothing else."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from recado.errors import ConfigurationError


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def probes(host: str, port: int) -> AsyncIterator[None]:
    """`/healthz` and `/metrics` of this process, within this block. Port 0: none.

    The event loop that works answers them, so they also tell when that is stuck. Raises ConfigurationError where the
    port cannot be had.
    """
    if port == 0:
        yield
        return
    app = Starlette(routes=[Route("/healthz", _healthz), Route("/metrics", _metrics)])
    server = _Server(
        uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
    )
    with _listen(host, port) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        # Its own text repeats the address; a name that is not found has no number of the system's.
        why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error
        raise ConfigurationError(
            f"metrics cannot be served at {host}:{port}: {why}; set another WORKER_METRICS_PORT or --metrics-port"
        ) from None
