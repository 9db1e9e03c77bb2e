"""Inserting what may be there already, the same on both databases."""

from typing import Any

from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert


def insert_new(table: Any, is_sqlite: bool) -> Any:
    """An INSERT that leaves out rows that break a unique constraint; with `returning` it tells which ones are new."""
    insert = sqlite_insert if is_sqlite else postgresql_insert
    return insert(table).on_conflict_do_nothing()
