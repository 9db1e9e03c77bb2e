"""LangGraph's checkpoints in SQLite, with the pruning that its saver leaves to us."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from sqlalchemy import make_url

from recado.db.sqlite import connect
from recado.errors import ConfigurationError


class SqliteCheckpoints(AsyncSqliteSaver):
    """The saver, whose threads can be cut down to their last checkpoint."""

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Forget a thread's checkpoints: all but the last (`keep_latest`) or all (`delete`)."""
        await self.setup()
        kept = (
            "AND checkpoint_id < (SELECT max(c.checkpoint_id) FROM checkpoints c"
            " WHERE c.thread_id = ?1 AND c.checkpoint_ns = '')"
        )
        condition = kept if strategy == "keep_latest" else ""
        async with self.lock:
            for thread_id in thread_ids:
                for table in ("writes", "checkpoints"):
                    statement = f"DELETE FROM {table} WHERE thread_id = ?1 {condition}"  # noqa: S608 - our own names
                    await self.conn.execute(statement, (thread_id,))
            await self.conn.commit()


@asynccontextmanager
async def open_checkpoints(url: str) -> AsyncIterator[SqliteCheckpoints]:
    """The saver on `CHECKPOINT_URL`. Raises ConfigurationError for a URL that is not SQLite's."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise ConfigurationError(f"CHECKPOINT_URL must be like sqlite:///data/checkpoints.db, not {url}")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    # A checkpoint survives the death of the process whether or not its commit waited for the disk. One lost with
    # the machine's power costs a model call that is made again; the rows, which do wait, say what was done.
    async with connect(parsed.database, durable=False) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=NORMAL")
        saver = SqliteCheckpoints(connection)
        await saver.setup()
        yield saver
