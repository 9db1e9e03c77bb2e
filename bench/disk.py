"""What lies on disk."""

import sqlite3
from pathlib import Path


def checkpointed_bytes(database: Path) -> int:
    """The size of a SQLite database once its write-ahead log is worked into it."""
    connection = sqlite3.connect(database, timeout=30)
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy, "somebody reads the database"
    finally:
        connection.close()
    return sum(found.stat().st_size for found in database.parent.glob(f"{database.name}*"))
