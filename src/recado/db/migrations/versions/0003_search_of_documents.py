"""Documents found by word, on each database with its own full text, and by meaning

Only documents that customers are answered from are in the index. Each word stands there behind its merchant, as
`m<merchant id>x<word>`: a search touches no other merchant's words, neither to find nor to rank.

SQLite's index has no copy of the text: it reads `answering_documents`, and triggers keep it in step, whoever writes.
Rebuilding the table `documents` (Alembic's batch mode) drops them: create them again then.

Revision: 0003, after 0002
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ANSWERING = "category IN ('faq', 'user_question') AND content <> '' AND retired_at IS NULL"
WORDS = "replace(' ' || {0}search_text, ' ', ' m' || {0}merchant_id || 'x')"
POSTGRESQL_WORDS = "replace(' ' || search_text, ' ', ' m' || merchant_id::text || 'x')"


def upgrade() -> None:
    _separate_words()
    op.create_index(
        "ix_documents_answering",
        "documents",
        ["merchant_id", "updated_at", "id"],
        postgresql_where=sa.text(ANSWERING),
        sqlite_where=sa.text(ANSWERING),
    )
    op.create_index("ix_documents_vectors", "documents", ["merchant_id", "embedded_with", "retired_at", "updated_at"])
    op.create_index(
        "ix_documents_embedded_with",
        "documents",
        ["embedded_with"],
        postgresql_where=sa.text(ANSWERING),
        sqlite_where=sa.text(ANSWERING),
    )
    if op.get_bind().dialect.name == "sqlite":
        _create_sqlite_index()
    else:
        vector = f"to_tsvector('simple', {POSTGRESQL_WORDS})"
        op.execute(f"CREATE INDEX ix_documents_words ON documents USING gin (({vector})) WHERE {ANSWERING}")


def _separate_words() -> None:
    """What was folded before gets one space between any two words, and nothing else."""
    documents = sa.table("documents", sa.column("id", sa.Integer), sa.column("search_text", sa.Text))
    connection = op.get_bind()
    for document_id, text in connection.execute(sa.select(documents.c.id, documents.c.search_text)).all():
        words = " ".join(re.findall(r"[^\W_]+", text))
        connection.execute(documents.update().where(documents.c.id == document_id).values(search_text=words))


def _create_sqlite_index() -> None:
    op.execute(
        f"CREATE VIEW answering_documents AS SELECT id, {WORDS.format('')} AS words"  # noqa: S608 - constants
        f" FROM documents WHERE {ANSWERING}"
    )
    op.execute(
        "CREATE VIRTUAL TABLE documents_fts USING fts5"
        "(words, content='answering_documents', content_rowid='id', tokenize='unicode61 remove_diacritics 0')"
    )
    op.execute("INSERT INTO documents_fts (documents_fts) VALUES ('rebuild')")
    put, take = _put(), _take()
    op.execute(f"CREATE TRIGGER documents_fts_insert AFTER INSERT ON documents BEGIN {put}; END")
    op.execute(f"CREATE TRIGGER documents_fts_delete AFTER DELETE ON documents BEGIN {take}; END")
    op.execute(
        "CREATE TRIGGER documents_fts_update"
        " AFTER UPDATE OF id, merchant_id, category, content, search_text, retired_at ON documents"
        f" BEGIN {take}; {put}; END"
    )


def _put() -> str:
    return f"INSERT INTO documents_fts (rowid, words) SELECT new.id, {WORDS.format('new.')} WHERE {_answering('new')}"


def _take() -> str:
    """FTS5 forgets a row only when it is told exactly what it had been given."""
    return (
        f"INSERT INTO documents_fts (documents_fts, rowid, words) SELECT 'delete', old.id, {WORDS.format('old.')}"
        f" WHERE {_answering('old')}"
    )


def _answering(row: str) -> str:
    return re.sub(r"\b(category|content|retired_at)\b", rf"{row}.\1", ANSWERING)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for when in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER documents_fts_{when}")
        op.execute("DROP TABLE documents_fts")
        op.execute("DROP VIEW answering_documents")
    else:
        op.execute("DROP INDEX ix_documents_words")
    op.drop_index("ix_documents_embedded_with", table_name="documents")
    op.drop_index("ix_documents_vectors", table_name="documents")
    op.drop_index("ix_documents_answering", table_name="documents")
