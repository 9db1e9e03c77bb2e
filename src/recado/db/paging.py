"""Reading a list page by page."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func
from sqlalchemy.ext.asyncio import AsyncSession


async def page_of(
    session: AsyncSession, query: Select[*tuple[Any, ...]], limit: int, offset: int
) -> tuple[Sequence[Any], int]:
    """The rows of one page of `query`, and how many it has on all pages. Two queries.

    `query` must be ordered by something unique, or pages overlap, and joins must not multiply its rows.
    """
    counting = query.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    total = (await session.execute(counting)).scalar_one()
    return (await session.execute(query.limit(limit).offset(offset))).all(), total
