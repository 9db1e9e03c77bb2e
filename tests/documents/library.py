"""A shop's documents, written and searched as the product does it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from recado.db.models import Document
from recado.documents.search import DocumentSearch
from recado.documents.service import DocumentService
from tests.builders import Shop


class Library:
    """One shop's documents."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    @asynccontextmanager
    async def service(self) -> AsyncIterator[DocumentService]:
        """The service, in a transaction."""
        async with self.shop.database.transaction() as session:
            yield DocumentService(session, self.shop.merchant_id, self.shop.clock)

    async def write(self, *documents: tuple[str, str], category: str = "faq") -> list[int]:
        """The ids of new documents, (title, content) each, one a minute."""
        ids = []
        for title, content in documents:
            self.shop.clock.forward(minutes=1)
            async with self.service() as service:
                ids.append((await service.create(category, title, content)).id)
        return ids

    async def fill(self, number: int) -> None:
        """So many newer documents that share no word with anything."""
        await self.write(*((f"relleno{n:03}", f"zz{n:03}") for n in range(number)))

    async def titles(self, asked: str, limit: int = 12, **by_meaning: Any) -> list[str]:
        """What a search by word gives, best first."""
        async with self.shop.database.read() as session:
            findings = await DocumentSearch(session, self.shop.merchant_id).find(asked, limit, **by_meaning)
        return [found.title for found in findings.found]

    async def row(self, document_id: int) -> Document:
        """A document as it is stored."""
        async with self.service() as service:
            return await service.get(document_id)


def before_filler(titles: Sequence[str]) -> list[str]:
    """What stands before the documents that only fill up: what the search found."""
    return [title for title in titles if not title.startswith("relleno")]
