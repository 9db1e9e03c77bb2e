"""What a merchant knows: what its staff writes down, and the questions of customers that its staff answered."""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from recado.clock import Clock
from recado.db.models import YAML_SOURCE, Document
from recado.documents.repository import DocumentRepository
from recado.errors import InvalidInput
from recado.text import MAX_MESSAGE_CHARACTERS, clean_text, is_blank, searchable

FAQ = "faq"
USER_QUESTION = "user_question"
SUPPORT_CLASSIFICATION = "support_classification"
CATEGORIES = (FAQ, USER_QUESTION, SUPPORT_CLASSIFICATION)

FREE_INPUT = "free_input"
API = "api"


class DocumentService:
    """One merchant's documents, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._repository = DocumentRepository(session, merchant_id)
        self._clock = clock

    async def ask(self, key: str, question: str) -> Document:
        """A document for a customer's question, without an answer yet. The same key gives the same document."""
        return await self._add(key, USER_QUESTION, FREE_INPUT, question, "")

    async def learn(
        self,
        document_id: int,
        answer: str,
        *,
        notification_id: int | None = None,
        answered_by: int | None = None,
    ) -> Document:
        """The answer to a question: from now on the agent knows it. The same once more changes nothing.

        `notification_id`, `answered_by`: where it comes from, and which member of the staff said it. Raises
        DocumentNotFound.
        """
        document = await self._repository.get(document_id)
        learned = (document.content, document.notification_id, document.answered_by)
        if document.answered_at is not None and learned == (answer, notification_id, answered_by):
            return document
        now = self._clock.now()
        _write(document, document.title, answer, now)
        document.notification_id, document.answered_by, document.answered_at = notification_id, answered_by, now
        return document

    async def create(self, category: str, title: str, content: str, *, key: str | None = None) -> Document:
        """A new document. The same `key` gives the same document, as it is. Raises InvalidInput."""
        if category not in CATEGORIES:
            raise InvalidInput(f"the category is one of {', '.join(CATEGORIES)}, not {category[:50]!r}", "category")
        title, content = _checked("title", title), _checked("content", content)
        return await self._add(f"{API}:{key or uuid4().hex}", category, API, title, content)

    async def update(self, document_id: int, *, title: str | None = None, content: str | None = None) -> Document:
        """Change what is given. Raises DocumentNotFound, and InvalidInput also for one that a YAML file holds."""
        document = await self._changeable(document_id)
        title = document.title if title is None else _checked("title", title)
        content = document.content if content is None else _checked("content", content)
        if (title, content) != (document.title, document.content):
            _write(document, title, content, self._clock.now())
        return document

    async def retire(self, document_id: int) -> Document:
        """Answer from it no more; it is kept. Raises DocumentNotFound, and InvalidInput for one of a YAML file."""
        document = await self._changeable(document_id)
        if document.retired_at is None:
            document.retired_at = document.updated_at = self._clock.now()
        return document

    async def restore(self, document_id: int) -> Document:
        """Answer from it again. Raises DocumentNotFound, and InvalidInput for one of a YAML file."""
        document = await self._changeable(document_id)
        if document.retired_at is not None:
            document.retired_at, document.updated_at = None, self._clock.now()
        return document

    async def get(self, document_id: int) -> Document:
        """One document, also a retired one. Raises DocumentNotFound."""
        return await self._repository.get(document_id)

    async def page(
        self,
        category: str | None = None,
        query: str | None = None,
        retired: bool = False,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[Sequence[Document], int]:
        """(documents, how many in all), newest first. `query`: words that stand together in title or content.
        `retired`: those that are retired, else those that are not.
        """
        return await self._repository.page(category, searchable(query or ""), retired, limit, offset)

    async def _changeable(self, document_id: int) -> Document:
        document = await self._repository.get(document_id)
        if document.source == YAML_SOURCE:
            raise InvalidInput(
                "this document comes from a YAML file: change it there, or remove it, and run `recado apply`"
            )
        return document

    async def _add(self, key: str, category: str, source: str, title: str, content: str) -> Document:
        now = self._clock.now()
        return await self._repository.add(
            key,
            category=category,
            source=source,
            title=title,
            content=content,
            search_text=searchable(title, content),
            created_at=now,
            updated_at=now,
        )


def _write(document: Document, title: str, content: str, now: datetime) -> None:
    document.title, document.content = title, content
    document.search_text = searchable(title, content)
    document.embedded_with = None  # the vector is of another text
    document.updated_at = now


def _checked(field: str, text: str) -> str:
    """A text fit to be stored. Raises InvalidInput."""
    if is_blank(text):
        raise InvalidInput(f"the {field} is empty", field)
    if len(text) > MAX_MESSAGE_CHARACTERS:
        raise InvalidInput(f"the {field} has {len(text)} characters; {MAX_MESSAGE_CHARACTERS} are the most", field)
    return clean_text(text).strip()
