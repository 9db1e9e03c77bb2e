"""Finding what a customer's question can be answered from: by word always, by meaning where there is a model for it."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

import structlog

from recado.db.engine import Database
from recado.documents.search import DocumentSearch, Found
from recado.documents.vectors import Embedder, Vector, Vectors
from recado.errors import InvalidInput, ModelError
from recado.text import shorten, words

log = structlog.get_logger(__name__)

LIMIT = 12
"""How many documents the model reads."""
QUESTION_SECONDS = 2.0
"""How long a turn waits for the meaning of its question."""
REST_SECONDS = 30.0
"""How long questions are searched by word alone after their meaning could not be had, so that an outage costs one turn
its patience, not every one."""
QUESTION_CHARACTERS = 2_000
CACHE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """What this process remembers of a merchant's documents, as they were at `version`."""

    version: str
    vectors: Vectors


class Knowledge:
    """What merchants know. `embedder`: None to search by word alone."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder | None = None,
        *,
        question_seconds: float = QUESTION_SECONDS,
        rest_seconds: float = REST_SECONDS,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._question_seconds = question_seconds
        self._rest_seconds = rest_seconds
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[int, _Known] = OrderedDict()
        self._resting_until = 0.0

    async def find(self, merchant_id: int, asked: str) -> list[Found]:
        """What may answer `asked`, best first, then the newest, at most `LIMIT`. One query; two more after a change.

        The model is called before a database session is opened. When it fails, the search goes by word alone.
        """
        vector = await self._meaning(merchant_id, asked)
        embedded_with = self._embedder.name if self._embedder else None
        known = self._cache.get(merchant_id)
        async with self._database.read() as session:
            search = DocumentSearch(session, merchant_id)
            near = known.vectors.nearest(vector, LIMIT) if known and vector else []
            findings = await search.find(asked, LIMIT, near=near, embedded_with=embedded_with)
            if embedded_with is None:
                return findings.found
            if known and known.version == findings.version:
                self._remember(merchant_id, known)
                return findings.found
            # What all fits needs no vectors: the model reads every document anyway.
            known = _Known(findings.version, Vectors([] if findings.all else await search.vectors(embedded_with)))
            self._remember(merchant_id, known)
            if vector and known.vectors:
                near = known.vectors.nearest(vector, LIMIT)
                findings = await search.find(asked, LIMIT, near=near, embedded_with=embedded_with)
        return findings.found

    async def _meaning(self, merchant_id: int, asked: str) -> Vector | None:
        """The question's vector, where it is of use and can be had."""
        known = self._cache.get(merchant_id)
        useless = known is not None and not known.vectors
        if self._embedder is None or useless or time.monotonic() < self._resting_until or not words(asked):
            return None
        try:
            async with asyncio.timeout(self._question_seconds):
                [vector] = await self._embedder.embed([shorten(asked, QUESTION_CHARACTERS)])
        except (ModelError, InvalidInput, TimeoutError) as error:
            # The error's own text may quote the question.
            problem = type(error.__cause__ or error).__name__
            log.warning("searched by word alone", merchant_id=merchant_id, error=problem)
            if not isinstance(error, InvalidInput):
                self._resting_until = time.monotonic() + self._rest_seconds
            return None
        return vector

    def _remember(self, merchant_id: int, known: _Known) -> None:
        self._cache[merchant_id] = known
        self._cache.move_to_end(merchant_id)
        while len(self._cache) > 1 and sum(each.vectors.size for each in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)
