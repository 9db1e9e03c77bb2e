"""Giving documents their vectors, after the fact: nobody who writes a document waits for a model."""

from collections.abc import Sequence

import structlog
from sqlalchemy import CompoundSelect, bindparam, select, union_all, update

from recado.db.engine import Database
from recado.db.models import ANSWERING_DOCUMENT, Document
from recado.documents.vectors import Embedder, Vector, pack
from recado.errors import InvalidInput

log = structlog.get_logger(__name__)

BATCH = 64
MAX_CHARACTERS = 6_000
"""How much of one document is embedded; it may hold at most 8,192 tokens."""
HARMLESS = "ok"


def _missing(name: str, limit: int) -> CompoundSelect[int, int, str, str]:
    """Documents of all merchants that customers are answered from and that this model was not given as they are."""
    columns = (Document.id, Document.merchant_id, Document.title, Document.content)
    other = (Document.embedded_with.is_(None), Document.embedded_with < name, Document.embedded_with > name)
    # Each part is a range of an index; with OR, SQLite would look at every document.
    return union_all(*(select(*columns).where(ANSWERING_DOCUMENT, part) for part in other)).limit(limit)


async def has_missing(database: Database, embedder: Embedder) -> bool:
    """Whether any document waits for its vector."""
    async with database.read() as session:
        return (await session.execute(_missing(embedder.name, 1))).first() is not None


async def embed_missing(database: Database, embedder: Embedder, batch: int = BATCH) -> int:
    """Give every document its vector that has none of this model. Returns how many documents were looked at.

    A document that changes meanwhile is left for the next time. One that the model refuses is marked as done, without a
    vector. Raises ModelError when the model cannot be reached; what is done until then is kept.
    """
    done = 0
    while True:
        async with database.read() as session:
            rows = (await session.execute(_missing(embedder.name, batch))).all()
        if not rows:
            return done
        vectors = await _embed(embedder, [f"{row.title}\n{row.content}"[:MAX_CHARACTERS] for row in rows])
        same = update(Document).where(
            Document.id == bindparam("document_id"),
            Document.merchant_id == bindparam("of_merchant"),
            Document.title == bindparam("as_title"),
            Document.content == bindparam("as_content"),
        )
        values = [
            {
                "document_id": row.id,
                "of_merchant": row.merchant_id,
                "as_title": row.title,
                "as_content": row.content,
                "vector": pack(vector) if vector is not None else None,
            }
            for row, vector in zip(rows, vectors, strict=True)
        ]
        async with database.transaction() as session:
            connection = await session.connection()
            changes = {"embedding": bindparam("vector"), "embedded_with": embedder.name}
            await connection.execute(same.values(changes), values)
        done += len(rows)
        log.info("documents embedded", count=len(rows), model=embedder.name)


async def _embed(embedder: Embedder, texts: Sequence[str]) -> Sequence[Vector | None]:
    """A vector for each text, None for one that the model refuses. Raises ModelError or InvalidInput."""
    try:
        return await embedder.embed(texts)
    except InvalidInput:
        # Is it the texts that are refused, or all that this configuration asks for? The latter is nobody's document's
        # fault, and will be mended.
        await embedder.embed([HARMLESS])
    vectors: list[Vector | None] = []
    for text in texts:
        try:
            vectors.extend(await embedder.embed([text]))
        except InvalidInput:
            log.warning("the model refuses to embed a document", characters=len(text), model=embedder.name)
            vectors.append(None)
    return vectors
