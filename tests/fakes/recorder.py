"""What a fake server remembers, and how a test waits for it without sleeping."""

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]


class Recorder:
    """Entries in order of arrival; also written at once, one JSON line each, when a path is given.

    It is read from the test's thread and written from the server's, hence the condition.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._entries: list[JsonObject] = []
        self._changed = threading.Condition()
        self._log = log

    def add(self, entry: JsonObject) -> JsonObject:
        """Numbers (`n`, from 1) and stamps (`at`, epoch seconds) the entry, and keeps it."""
        with self._changed:
            numbered = {"n": len(self._entries) + 1, "at": time.time(), **entry}
            self._entries.append(numbered)
            if self._log is not None:
                # opened per line: the line is the kernel's before the answer goes out, so it outlives a kill
                with self._log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(numbered, ensure_ascii=False) + "\n")
            self._changed.notify_all()
        return numbered

    def entries(self, kind: str | None = None) -> list[JsonObject]:
        with self._changed:
            return self._matching(kind)

    def clear(self) -> None:
        """Forgets; the file keeps its lines, it is the history of the process."""
        with self._changed:
            self._entries.clear()
            self._changed.notify_all()

    def wait(self, count: int, kind: str | None = None, timeout: float = 10.0) -> list[JsonObject]:
        """Blocks until `count` entries (of `kind`) are there. Raises TimeoutError, with what there is."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._matching(kind)) >= count, timeout):
                raise TimeoutError(f"{len(self._matching(kind))} of {count} {kind or 'entries'} in {timeout} s")
            return self._matching(kind)

    async def until(self, count: int, kind: str | None = None, timeout: float = 10.0) -> list[JsonObject]:
        """`wait` for async tests: the product under test often runs in the same loop, and must not stall."""
        return await asyncio.to_thread(self.wait, count, kind, timeout)

    def _matching(self, kind: str | None) -> list[JsonObject]:
        return [entry for entry in self._entries if kind is None or entry.get("kind") == kind]


class Gates:
    """Requests held on purpose. A test releases them when it has set up what should happen meanwhile."""

    def __init__(self) -> None:
        self._held: dict[str, set[asyncio.Future[bool]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def hold(self, name: str) -> bool:
        """True when released by name; False when the fake was reset or stops, and the answer is moot."""
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = self._loop.create_future()
        self._held.setdefault(name, set()).add(future)
        return await future

    def release(self, name: str | None = None, *, proceed: bool = True) -> None:
        """From any thread. A request that is already recorded is certain to be let through:

        recording and holding happen in one step of the server's loop, and this is queued behind it.
        """
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._let_go, name, proceed)

    def _let_go(self, name: str | None, proceed: bool) -> None:
        for key in [key for key in self._held if name in (None, key)]:
            for future in self._held.pop(key):
                if not future.done():
                    future.set_result(proceed)
