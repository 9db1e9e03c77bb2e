"""All SQL about one merchant's documents."""

import re

from sqlalchemy import ColumnElement, case, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import Document
from recado.errors import DocumentNotFound
from recado.text import fold

MIN_WORD = 3
MAX_WORDS = 24
_WORD = re.compile(r"\w+")


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

    async def by_key(self, key: str) -> Document | None:
        """The document that was created under this key."""
        return await self._session.scalar(
            select(Document).where(Document.merchant_id == self._merchant_id, Document.key == key)
        )

    async def search(self, text: str, categories: tuple[str, ...], limit: int) -> list[Document]:
        """Answered documents that share words with `text`, most shared first; without any, the newest."""
        score: ColumnElement[int] = literal(0)
        for word in search_words(text):
            score = score + case((Document.search_text.contains(word, autoescape=True), 1), else_=0)
        query = (
            select(Document)
            .where(
                Document.merchant_id == self._merchant_id,
                Document.category.in_(categories),
                Document.content != "",
            )
            .order_by(score.desc(), Document.updated_at.desc(), Document.id.desc())
            .limit(limit)
        )
        return list(await self._session.scalars(query))

    def add(self, document: Document) -> None:
        """Keep a new document."""
        document.merchant_id = self._merchant_id
        self._session.add(document)


def search_words(text: str) -> list[str]:
    """The words of `text` worth looking for: without case and accents, each once, at most 24."""
    words = dict.fromkeys(word for word in _WORD.findall(fold(text)) if len(word) >= MIN_WORD)
    return list(words)[:MAX_WORDS]


async def merchant_of(session: AsyncSession, document_id: int) -> int:
    """Which merchant a document belongs to, for a caller who only has its id. Raises DocumentNotFound."""
    found = await session.scalar(select(Document.merchant_id).where(Document.id == document_id))
    if found is None:
        raise DocumentNotFound(f"Document {document_id} not found")
    return found
