"""SQLite through aiosqlite, with a trip to its thread only for what may wait.

aiosqlite keeps each connection in a thread, and every cursor, statement, fetch and close is a trip there and back: each
costs several times what the statement itself does. Within a transaction a statement does not wait (a writer holds
SQLite's lock from its start, and in WAL mode readers need none), so it runs where it is. What may wait runs in the
thread: committing, for the disk, and taking the lock, for another process.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import aiosqlite

BUSY_SECONDS = 30.0
"""How long another process's lock is waited for."""
TAKE_LOCK = "BEGIN IMMEDIATE"


class DirectConnection(aiosqlite.Connection):
    """An aiosqlite connection that runs statements in the caller's thread. `durable`: commits wait for the disk."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], *, durable: bool, in_place: bool) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._durable = durable
        self._in_place = in_place
        # As SQLAlchemy does: a connection that was forgotten must not keep the process alive.
        self._thread.daemon = True

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """What every method of aiosqlite's connections and cursors ends in."""
        if not self._in_place:
            return await self._in_thread(partial(fn, **kwargs), *args)
        if args and args[0] == TAKE_LOCK and not self._take_lock():
            return await self._in_thread(fn, *args)
        if args and args[0] == TAKE_LOCK:
            return None
        return fn(*args, **kwargs)

    async def commit(self) -> None:
        """Commit, in the thread when that waits for the disk."""
        if not self._in_place or (self._durable and self._conn.in_transaction):
            await self._in_thread(self._conn.commit)
        else:
            self._conn.commit()

    def _take_lock(self) -> bool:
        """Take SQLite's lock if it is free, as it nearly always is: this process's writers queue elsewhere."""
        self._conn.execute("PRAGMA busy_timeout = 0")
        try:
            self._conn.execute(TAKE_LOCK)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        finally:
            self._conn.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        return True

    async def _in_thread(self, fn: Any, *args: Any) -> Any:
        return await super()._execute(fn, *args)  # type: ignore[no-untyped-call]


def connect(path: str, *, durable: bool = True, in_place: bool = True, **options: Any) -> DirectConnection:
    """A connection to await. Other options are those of `sqlite3.connect`."""
    options = {"timeout": BUSY_SECONDS, **options, "check_same_thread": False}
    return DirectConnection(lambda: sqlite3.connect(path, **options), durable=durable, in_place=in_place)
