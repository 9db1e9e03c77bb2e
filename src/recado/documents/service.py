"""What a merchant knows: questions that customers asked become documents when the staff answers them."""

from sqlalchemy.ext.asyncio import AsyncSession

from recado.clock import Clock
from recado.db.models import Document
from recado.documents.repository import DocumentRepository
from recado.text import fold

FAQ = "faq"
USER_QUESTION = "user_question"
SUPPORT_CLASSIFICATION = "support_classification"
FREE_INPUT = "free_input"
ANSWERING_CATEGORIES = (FAQ, USER_QUESTION)
SEARCH_LIMIT = 12


class DocumentService:
    """One merchant's documents, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._repository = DocumentRepository(session, merchant_id)
        self._session = session
        self._clock = clock

    async def ask(self, key: str, question: str) -> Document:
        """A document for a customer's question, without an answer yet. The same key gives the same document."""
        existing = await self._repository.by_key(key)
        if existing is not None:
            return existing
        now = self._clock.now()
        document = Document(
            key=key,
            category=USER_QUESTION,
            source=FREE_INPUT,
            title=question,
            content="",
            search_text=fold(question),
            created_at=now,
            updated_at=now,
        )
        self._repository.add(document)
        await self._session.flush()
        return document

    async def learn(self, document_id: int, answer: str) -> Document:
        """The answer to a question: from now on the agent knows it. Raises DocumentNotFound."""
        document = await self._repository.get(document_id)
        document.content = answer
        document.search_text = fold(f"{document.title}\n{answer}")
        document.updated_at = self._clock.now()
        return document

    async def relevant(self, text: str) -> list[Document]:
        """What may answer `text`, best first, at most `SEARCH_LIMIT`."""
        return await self._repository.search(text, ANSWERING_CATEGORIES, SEARCH_LIMIT)
