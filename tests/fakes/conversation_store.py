"""Where the conversation API's stand-in keeps its documents: SQLite, and so the next one on the same file has them."""

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from tests.fakes.recorder import JsonObject

_SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (
    session_id TEXT PRIMARY KEY, phone TEXT NOT NULL, last_activity TEXT NOT NULL, document TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS conversations_phone ON conversations (phone, last_activity);
CREATE TABLE IF NOT EXISTS processed (
    id INTEGER PRIMARY KEY, session_id TEXT NOT NULL, operation TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS processed_session ON processed (session_id, operation);
"""


class Store:
    """Whole documents in and out, from any thread. None: in memory."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = OFF")  # it outlives a killed process, and need not more
        self._connection.executescript(_SCHEMA)

    def get(self, session_id: str) -> JsonObject | None:
        found = self._query("SELECT document FROM conversations WHERE session_id = ?", session_id)
        return json.loads(found[0][0]) if found else None

    def of_phone(self, phone: str) -> list[JsonObject]:
        """The latest activity first; of the same millisecond, what was written last."""
        order = "ORDER BY last_activity DESC, rowid DESC"
        found = self._query(f"SELECT document FROM conversations WHERE phone = ? {order}", phone)  # noqa: S608
        return [json.loads(row[0]) for row in found]

    def all(self) -> list[JsonObject]:
        """What was written last comes last."""
        return [json.loads(row[0]) for row in self._query("SELECT document FROM conversations ORDER BY rowid")]

    def add(self, document: JsonObject) -> None:
        with self._lock:
            self._put(document)

    def replace(self, document: JsonObject) -> bool:
        """Writes the whole document back. False where it has been deleted meanwhile."""
        with self._lock:
            known = "SELECT 1 FROM conversations WHERE session_id = ?"
            if not self._connection.execute(known, (document["sessionId"],)).fetchall():
                return False
            self._put(document)
        return True

    def delete(self, session_id: str) -> None:
        self._query("DELETE FROM conversations WHERE session_id = ?", session_id)

    def clear(self) -> None:
        self._query("DELETE FROM conversations")
        self._query("DELETE FROM processed")

    def note(self, session_id: str, operation: str, body: JsonObject) -> None:
        """Remembers that a request was processed, whether the document kept it or not."""
        values = (session_id, operation, json.dumps(body))
        self._query("INSERT INTO processed (session_id, operation, body) VALUES (?, ?, ?)", *values)

    def processed(self, session_id: str, operation: str) -> list[JsonObject]:
        """The bodies, in order."""
        condition = "session_id = ? AND operation = ? ORDER BY id"
        found = self._query(f"SELECT body FROM processed WHERE {condition}", session_id, operation)  # noqa: S608
        return [json.loads(row[0]) for row in found]

    def _put(self, document: JsonObject) -> None:
        # REPLACE gives a new rowid: rows are in the order in which they were last written
        values = (document["sessionId"], document["userPhone"], document["lastActivity"], json.dumps(document))
        self._connection.execute("REPLACE INTO conversations VALUES (?, ?, ?, ?)", values)

    def _query(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()
