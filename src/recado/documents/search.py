"""Which of a merchant's documents a question is answered from: all SQL about finding them.

The migrations describe the full-text index. Every statement here is fixed, whatever and however much is asked.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.models import ANSWERING_DOCUMENT
from recado.documents.words import search_forms

BY_WORD, NEAR, NEWEST, STATE = range(1, 5)
"""Why a row is among those that the statement gives."""

RANK_DAMPING = 60
"""Of reciprocal rank fusion, as its authors chose it: how much less the first place of one list outweighs a good place
in both."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document that may hold the answer."""

    id: int
    title: str
    content: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What may hold the answer, best first. `all`: these are all documents that the merchant answers from. `version`:
    changes whenever their vectors do; empty when no search by meaning is asked for.
    """

    found: list[Found]
    all: bool
    version: str


# SQLite ranks by BM25.
_SQLITE_BY_WORD = """
SELECT d.id, d.title, d.content, hit.score
FROM (
    SELECT rowid AS id, rank AS score FROM documents_fts WHERE documents_fts MATCH :words ORDER BY rank LIMIT :limit
) AS hit
JOIN documents AS d ON d.id = hit.id
WHERE d.merchant_id = :merchant_id AND {answering}
"""

# PostgreSQL's `ts_rank` does not know that a rare word tells more than a common one, and parses again whatever text it
# ranks: fifteen times the time of this, which reads the index only. A document counts each word that it has, the
# rarer in this merchant's documents the more.
_POSTGRESQL_BY_WORD = """
SELECT d.id, d.title, d.content, ranked.score
FROM (
    WITH hit AS (
        SELECT word.forms, d.id, d.updated_at
        FROM unnest(CAST(:words AS text[])) AS word (forms)
        JOIN documents AS d
        ON to_tsvector('simple', replace(' ' || d.search_text, ' ', ' m' || d.merchant_id::text || 'x'))
            @@ to_tsquery('simple', word.forms)
        WHERE d.merchant_id = :merchant_id AND {answering}
    ),
    weight AS (SELECT forms, 1 / (1 + ln(count(*))) AS value FROM hit GROUP BY forms)
    SELECT hit.id, - CAST(sum(weight.value) AS double precision) AS score
    FROM hit JOIN weight ON weight.forms = hit.forms
    GROUP BY hit.id ORDER BY score, max(hit.updated_at) DESC, hit.id DESC LIMIT :limit
) AS ranked
JOIN documents AS d ON d.id = ranked.id
"""

_ALL = """
SELECT 1 AS kind, by_word.id, by_word.title, by_word.content, by_word.score FROM ({by_word}) AS by_word
UNION ALL
SELECT 2, d.id, d.title, d.content, 0
FROM documents AS d
WHERE d.id IN ({near}) AND d.merchant_id = :merchant_id AND {answering}
UNION ALL
SELECT 3, newest.id, newest.title, newest.content, newest.place
FROM (
    SELECT d.id, d.title, d.content, row_number() OVER (ORDER BY d.updated_at DESC, d.id DESC) AS place
    FROM documents AS d {by_age}
    WHERE d.merchant_id = :merchant_id AND {answering} ORDER BY d.updated_at DESC, d.id DESC LIMIT :limit + 1
) AS newest
"""

# Which vectors there are, told by the index alone: a document that has one was answered from when it got it, and loses
# it when its text changes.
_STATE = """
UNION ALL
SELECT
    4,
    0,
    CAST(count(*) AS text) || ' ' || CAST(coalesce(sum(d.id), 0) AS text) || ' '
        || coalesce(CAST(max(d.updated_at) AS text), ''),
    '',
    0
FROM documents AS d {by_vector}
WHERE d.merchant_id = :merchant_id AND d.embedded_with = :embedded_with AND d.retired_at IS NULL
"""

_VECTORS = """
SELECT d.id, d.embedding FROM documents AS d {by_vector}
WHERE d.merchant_id = :merchant_id AND d.embedded_with = :embedded_with AND d.retired_at IS NULL
    AND d.embedding IS NOT NULL
"""


def _statement(sql: str, *, is_sqlite: bool) -> TextClause:
    by_word = _SQLITE_BY_WORD if is_sqlite else _POSTGRESQL_BY_WORD
    near = "SELECT value FROM json_each(:near)" if is_sqlite else "SELECT unnest(CAST(:near AS integer[]))"
    # SQLite, which keeps no statistics here, takes another index, and then reads every document whole.
    parts = {
        "{by_word}": by_word,
        "{near}": near,
        "{by_age}": "INDEXED BY ix_documents_answering" if is_sqlite else "",
        "{by_vector}": "INDEXED BY ix_documents_vectors" if is_sqlite else "",
        "{answering}": str(ANSWERING_DOCUMENT),
    }
    for name, part in parts.items():
        sql = sql.replace(name, part)
    return text(sql)


_STATEMENTS = {
    (is_sqlite, by_meaning): _statement(_ALL + _STATE * by_meaning, is_sqlite=is_sqlite)
    for is_sqlite in (True, False)
    for by_meaning in (True, False)
}
_READ_VECTORS = {is_sqlite: _statement(_VECTORS, is_sqlite=is_sqlite) for is_sqlite in (True, False)}


class DocumentSearch:
    """Searches one merchant's documents that customers are answered from."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._is_sqlite = session.get_bind().dialect.name == "sqlite"

    async def find(
        self, asked: str, limit: int, *, near: Sequence[int] = (), embedded_with: str | None = None
    ) -> Findings:
        """What shares words with `asked` and what is `near` it in meaning, best first; then the newest. One query.

        `near`: ids, nearest first. `embedded_with`: the model whose vectors are searched, when any are.
        """
        values: dict[str, Any] = {"merchant_id": self._merchant_id, "limit": limit}
        forms = search_forms(asked)
        if self._is_sqlite:
            values |= {"words": self._match(forms), "near": json.dumps(list(near))}
        else:
            values |= {"words": [self._query(word) for word in forms], "near": list(near)}
        if embedded_with is not None:
            values["embedded_with"] = embedded_with
        statement = _STATEMENTS[self._is_sqlite, embedded_with is not None]
        rows = (await self._session.execute(statement, values)).all()
        documents = {row.id: Found(row.id, row.title, row.content) for row in rows if row.kind != STATE}
        ranked = sorted(rows, key=lambda row: row.score)
        by_word = [row.id for row in ranked if row.kind == BY_WORD]
        newest = [row.id for row in ranked if row.kind == NEWEST]
        best = fuse(by_word, [document_id for document_id in near if document_id in documents])
        ids = list(dict.fromkeys([*best, *newest]))[:limit]
        version = next((row.title for row in rows if row.kind == STATE), "")
        return Findings([documents[document_id] for document_id in ids], len(newest) <= limit, version)

    async def vectors(self, embedded_with: str) -> Sequence[tuple[int, bytes]]:
        """(document id, vector) of all that this model was given."""
        values = {"merchant_id": self._merchant_id, "embedded_with": embedded_with}
        statement = _READ_VECTORS[self._is_sqlite]
        return [(row.id, row.embedding) for row in await self._session.execute(statement, values)]

    def _match(self, forms: list[tuple[str, ...]]) -> str:
        # Quoted, and of letters and digits only, so that nothing in it is FTS5's syntax. Nothing matches the last one,
        # which stands there because a search for nothing at all is an error.
        phrases = [f'"{self._indexed(form)}"{"*" * form.endswith("*")}' for word in forms for form in word]
        return " OR ".join([*phrases, f'"{self._indexed("")}"'])

    def _query(self, forms: tuple[str, ...]) -> str:
        return " | ".join(f"'{self._indexed(form)}'{':*' * form.endswith('*')}" for form in forms)

    def _indexed(self, form: str) -> str:
        return f"m{self._merchant_id}x{form.removesuffix('*')}"


def fuse(*rankings: Sequence[int]) -> list[int]:
    """Reciprocal rank fusion: what stands high in one ranking, and higher what stands in several, best first."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, document_id in enumerate(ranking, start=1):
            scores[document_id] = scores.get(document_id, 0.0) + 1 / (RANK_DAMPING + place)
    return sorted(scores, key=lambda document_id: scores[document_id], reverse=True)
