"""The database: one engine, short sessions, and the rule for who may write when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from recado.db.sqlite import TAKE_LOCK, connect

SYNCS = "conversation_sync"
"""The key in `Session.info` that says whether what is written has to reach the conversation API."""


class Database:
    """Opens sessions on SQLite or PostgreSQL.

    SQLite has one writer at a time and makes others poll for its lock, so within this process writers queue on an
    `asyncio.Lock` instead; another process (a migration, a second server) still waits for SQLite's own lock.
    `in_place`: SQLite's statements run in the event loop's own thread, which is quickest; else each goes to another.
    An urgent writer waits for two others at most, however many there are. `syncs`: see `SYNCS`.
    """

    def __init__(self, url: str, *, in_place: bool = True, syncs: bool = False) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = (
            _sqlite_engine(url, in_place)
            if self.is_sqlite
            else create_async_engine(url, pool_size=20, hide_parameters=True)
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, autoflush=False, info={SYNCS: syncs})
        self._writer = asyncio.Lock()
        # Of those that are not urgent, only the one at the head of this queue waits for `_writer`.
        self._queue = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for reading."""
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def transaction(self, *, urgent: bool = False) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed when the block ends, and undone when it raises. `urgent` is for what a
        provider waits for: it goes before the turns that are being worked on.
        """
        if not self.is_sqlite:
            async with self._sessions.begin() as session:
                yield session
            return
        async with nullcontext() if urgent else self._queue, self._writer, self._sessions() as session:
            # The pool's `begin` event reads this: only a writer takes SQLite's lock at once.
            await session.connection(execution_options={"writes": True})
            yield session
            await session.commit()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _sqlite_engine(url: str, in_place: bool) -> AsyncEngine:
    database = make_url(url).database
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    # Parameters are people's messages: an error must not carry them into a log.
    # The driver must not open transactions on its own: `begin` below does, and knows of which kind.
    arguments = {"isolation_level": None, "async_creator_fn": partial(connect, in_place=in_place)}
    engine = create_async_engine(url, connect_args=arguments, pool_size=8, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql(TAKE_LOCK if writes else "BEGIN")

    return engine
