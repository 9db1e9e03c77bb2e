"""The ASGI app of a process: the API, and with an embedded queue its worker as well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from recado.bootstrap import EMBEDDED_QUEUE, GRACE_SECONDS, connect, make_services, open_worker
from recado.http.app import create_app
from recado.jobs.worker import run_worker
from recado.settings import Settings


def make_app(settings: Settings) -> FastAPI:
    """The app for these settings."""
    services = make_services(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(connect(services))
            if settings.queue_url != EMBEDDED_QUEUE:
                yield
                return
            worker = await stack.enter_async_context(open_worker(services))
            stopping = asyncio.Event()
            running = asyncio.create_task(run_worker(worker, stopping, GRACE_SECONDS))
            try:
                yield
            finally:
                stopping.set()
                await running

    return create_app(services, lifespan)
