"""SQLAlchemy's dialects, whose engines share what they have compiled.

Each test has an engine of its own, and each engine would compile each statement anew: a fifth of the time of all tests
with a database. In production one engine lives as long as its process.
"""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite


class _Shared:
    """What is compiled is found by its dialect: here all of a kind are equal."""

    _compiled: dict[Any, Any]

    def __init_subclass__(cls) -> None:
        cls._compiled = {}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=cls._compiled)


class SharedSqlite(_Shared, SQLiteDialect_aiosqlite):
    supports_statement_cache = True


class SharedPostgres(_Shared, PGDialectAsync_psycopg):
    supports_statement_cache = True

    @classmethod
    def get_async_dialect_cls(cls, url: Any) -> "type[SharedPostgres]":
        return cls


def share_compiled() -> None:
    """From now on."""
    registry.register("sqlite.aiosqlite", __name__, SharedSqlite.__name__)
    registry.register("postgresql.psycopg", __name__, SharedPostgres.__name__)
