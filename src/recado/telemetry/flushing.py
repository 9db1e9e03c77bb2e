"""Handing over what is left when the process stops, without waiting for who does not take it."""

import asyncio
import threading
from collections.abc import Callable

LONGEST_FLUSH_SECONDS = 3.0


async def flush(work: Callable[[], object], seconds: float = LONGEST_FLUSH_SECONDS) -> bool:
    """Do this blocking work, and wait for it at most so long. Whether it is done.

    In a daemon thread: Python waits for every other kind when it ends, and a collector that hangs would keep it.
    """
    thread = threading.Thread(target=work, name="flush", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, seconds)
    return not thread.is_alive()
