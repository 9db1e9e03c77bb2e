"""All SQL about one merchant's documents, but for the search."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.insert import insert_new
from recado.db.models import Document
from recado.db.paging import page_of
from recado.errors import DocumentNotFound


class DocumentRepository:
    """One merchant's documents."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def get(self, document_id: int) -> Document:
        """One document. Raises DocumentNotFound."""
        found = await self._session.scalar(
            select(Document).where(Document.merchant_id == self._merchant_id, Document.id == document_id)
        )
        if found is None:
            raise DocumentNotFound(f"Document {document_id} not found")
        return found

    async def add(self, key: str, **values: Any) -> Document:
        """A new document, or the one that was created under this key before, as it is."""
        is_sqlite = self._session.get_bind().dialect.name == "sqlite"
        statement = insert_new(Document, is_sqlite).values(merchant_id=self._merchant_id, key=key, **values)
        new: Document | None = (await self._session.scalars(statement.returning(Document))).one_or_none()
        if new is not None:
            return new
        query = select(Document).where(Document.merchant_id == self._merchant_id, Document.key == key)
        return (await self._session.scalars(query)).one()

    async def page(
        self, category: str | None, searched: str, retired: bool, limit: int, offset: int
    ) -> tuple[Sequence[Document], int]:
        """(documents, how many there are in all), newest first. `searched`: as `recado.text.searchable` gives it."""
        conditions: list[Any] = [
            Document.merchant_id == self._merchant_id,
            Document.retired_at.is_not(None) if retired else Document.retired_at.is_(None),
        ]
        if category is not None:
            conditions.append(Document.category == category)
        if searched:
            conditions.append(Document.search_text.contains(searched, autoescape=True))
        query = select(Document).where(*conditions).order_by(Document.updated_at.desc(), Document.id.desc())
        rows, total = await page_of(self._session, query, limit, offset)
        return [row[0] for row in rows], total


async def merchant_of(session: AsyncSession, document_id: int) -> int:
    """Which merchant a document belongs to, for a caller who only has its id. Raises DocumentNotFound."""
    found = await session.scalar(select(Document.merchant_id).where(Document.id == document_id))
    if found is None:
        raise DocumentNotFound(f"Document {document_id} not found")
    return found
