"""Searching by word, on both databases: what is found, in which order, and what never is."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, text

from recado.db.engine import Database
from recado.documents import search
from recado.documents.search import fuse
from recado.documents.words import search_forms
from recado.text import clean_text
from tests.builders import NOON, apply_specs, make_shop, merchant_spec
from tests.documents.library import Library, before_filler

HOSTILE = [
    '"',
    "'",
    "\\",
    "envio OR",
    "NEAR(envio lima, 2)",
    "envio AND NOT lima",
    "search_text: envio",
    "{words} : envio*",
    "^envio",
    "m1xenvio",
    "envio & | ! ( <-> :*",
    "envio:A",
    "';DROP TABLE documents;--",
    "%s %(x)s :x {answering}",
    "\x00envio",
    "()",
    "-envio",
    "*",
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("hacen envios", "¿Hacen envíos?"),
        ("ENVÍO a provincia", "¿Hacen envíos?"),
        ("gift cards?", "Do you sell a gift card?"),
        ("Vocês têm promoção?", "Quais são as promoções?"),
        ("les delais de la livraison", "Quels sont vos délais de livraison ?"),
        ("livraisons", "Quels sont vos délais de livraison ?"),
        ("atención los domingos", "Horario de atención"),
    ],
)
async def test_found_by_word_in_each_language_without_accents_and_in_the_plural(
    library: Library, asked: str, found: str
) -> None:
    await library.write(
        ("¿Hacen envíos?", "Sí, a todo Lima en 24 horas."),
        ("Do you sell a gift card?", "Yes, from 10 dollars."),
        ("Quais são as promoções?", "Dois por um às terças."),
        ("Quels sont vos délais de livraison ?", "Deux jours."),
        ("Horario de atención", "De lunes a domingo."),
    )
    await library.fill(12)
    assert before_filler(await library.titles(asked)) == [found]


async def test_rare_words_count_more_than_common_ones(library: Library) -> None:
    await library.write(("Garantía", "El producto tiene un año."))
    await library.write(*((f"Producto {letter}", "producto de la tienda, producto nuevo") for letter in "abcdefgh"))
    assert (await library.titles("garantía del producto", 3))[0] == "Garantía"


async def test_more_of_the_words_come_first(library: Library) -> None:
    await library.write(("Envío a Lima", "Gratis."), ("Envío", "Diez soles."), ("Lima", "Centro."))
    await library.fill(12)
    found = before_filler(await library.titles("¿cuánto cuesta el envío a Lima?"))
    assert found[0] == "Envío a Lima"
    assert sorted(found[1:]) == ["Envío", "Lima"]


async def test_answered_questions_are_ranked_in_with_the_rest(library: Library) -> None:
    await library.write(("Tienda", "Vendemos hielo."))
    async with library.service() as service:
        document_id = (await service.ask("notification:1", "¿Venden hielo seco?")).id
    await library.fill(12)
    assert before_filler(await library.titles("hielo seco")) == ["Tienda"]  # a question alone answers nothing
    async with library.service() as service:
        await service.learn(document_id, "Sí, por kilo.")
    assert before_filler(await library.titles("hielo seco")) == ["¿Venden hielo seco?", "Tienda"]


async def test_filled_up_with_the_newest_each_once(library: Library) -> None:
    await library.write(("Envíos", "Sí."), ("Horario", "De 9 a 19."), ("Pagos", "Con tarjeta."))
    assert await library.titles("envios") == ["Envíos", "Pagos", "Horario"]
    assert await library.titles("envios", 2) == ["Envíos", "Pagos"]
    assert await library.titles("") == ["Pagos", "Horario", "Envíos"]


async def test_no_more_than_the_limit(library: Library) -> None:
    await library.write(*((f"Envío {number}", "Sí.") for number in range(30)))
    titles = await library.titles("envío")
    assert len(titles) == len(set(titles)) == 12


async def test_never_another_merchants_whatever_is_asked(library: Library, database: Database) -> None:
    other = Library(await make_shop(database, "other", "+15550200"))
    mine, theirs = library.shop.merchant_id, other.shop.merchant_id
    await other.write(("Secreto", f"envio m{mine}xenvio m{theirs}xenvio"))
    await library.write(("Envíos", "Sí."))
    for asked in ("secreto", "envio", f"m{theirs}xsecreto", f"m{mine}xenvio", ""):
        assert await library.titles(asked) == ["Envíos"]
        assert await other.titles(asked) == ["Secreto"]
    [secret] = [found.id async for found in _documents(other)]
    assert await library.titles("nada", near=[secret]) == ["Envíos"]


async def _documents(library: Library) -> Any:
    async with library.service() as service:
        for document in (await service.page())[0]:
            yield document


async def test_never_a_retired_one_or_a_classification(library: Library) -> None:
    old, *_ = await library.write(("Envíos antiguos", "Ya no."), ("Envíos", "Sí."))
    await library.write(("Envíos y devoluciones", "support"), category="support_classification")
    async with library.service() as service:
        await service.retire(old)
    assert await library.titles("envíos antiguos", near=[old]) == ["Envíos"]
    async with library.service() as service:
        await service.restore(old)
    assert await library.titles("envíos antiguos") == ["Envíos antiguos", "Envíos"]


async def test_the_index_follows_every_change(library: Library, database: Database) -> None:
    first, second = await library.write(("Envíos", "Sí."), ("Pagos", "Con tarjeta."))
    async with library.service() as service:
        await service.update(first, content="Solo recojo en tienda.")
        await service.update(second, title="Abonos")
    await library.fill(12)
    assert before_filler(await library.titles("recojo")) == ["Envíos"]
    assert before_filler(await library.titles("pagos")) == []
    async with database.transaction() as session:
        await session.execute(text("UPDATE documents SET content = '', search_text = '' WHERE id = :id"), {"id": first})
        await session.execute(text("DELETE FROM documents WHERE id = :id"), {"id": second})
    assert before_filler(await library.titles("recojo abonos envíos")) == []
    if database.is_sqlite:
        async with database.transaction() as session:  # raises when the index and the documents differ
            check = "INSERT INTO documents_fts (documents_fts, rank) VALUES ('integrity-check', 1)"
            await session.execute(text(check))


async def test_documents_of_a_file_are_found_as_it_says_now(database: Database) -> None:
    faq = {"category": "faq", "title": "¿Hacen envíos?", "content": "Sí."}
    library = Library(await make_shop(database, documents=[faq]))
    await library.fill(12)
    assert before_filler(await library.titles("envíos")) == ["¿Hacen envíos?"]
    await apply_specs(database, merchant_spec(documents=[{**faq, "content": "Con motorizado."}]))
    assert before_filler(await library.titles("motorizado")) == ["¿Hacen envíos?"]
    await apply_specs(database, merchant_spec(documents=[]))
    assert before_filler(await library.titles("motorizado")) == []


@pytest.mark.parametrize("asked", HOSTILE)
async def test_hostile_text_is_only_text(library: Library, asked: str) -> None:
    await library.write(("Envíos", "Sí."))
    await library.fill(12)
    assert before_filler(await library.titles(asked)) == (["Envíos"] if "envio" in asked and "m1x" not in asked else [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.text(max_size=300) | st.text("\"'\\*:()&|!<->^{}-+ envio\x00NEARORAND", max_size=60))
async def test_any_text_can_be_asked(library: Library, asked: str) -> None:
    assert await library.titles(asked) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.text(min_size=1, max_size=60))
async def test_what_any_word_is_written_with_it_is_found_with(library: Library, written: str) -> None:
    """Python, SQLite and PostgreSQL have ideas of their own of what a letter is: they must not come between."""
    written = clean_text(written)  # as every message is before it is stored
    if not search_forms(written):
        return
    async with library.service() as service:
        found, other = await service.create("faq", f"x {written}", "y"), await service.create("faq", "newest", "y")
        ids = [found.id, other.id]
    assert await library.titles(written, 1) == [found.title]
    async with library.shop.database.transaction() as session:
        for document_id in ids:
            await session.execute(text("DELETE FROM documents WHERE id = :id"), {"id": document_id})


async def test_the_statement_is_one_and_the_same_however_much_is_asked(library: Library, database: Database) -> None:
    statements: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for asked in ("", "envío", " ".join(f"palabra{number}" for number in range(200))):
        await library.titles(asked, near=[1, 2, 3][: len(asked) % 4])
    selects = [statement for statement in statements if "SELECT" in statement]
    assert len(selects) == 3
    assert len(set(selects)) == 1


MANY = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 3000)
INSERT INTO documents
    (merchant_id, key, category, source, title, content, search_text, created_at, updated_at)
SELECT :merchant_id, CAST(n AS text), 'faq', 'api', 'x', :content, 'palabra' || CAST(n AS text) || ' y', :now, :now
FROM number
"""


@pytest.mark.usefixtures("new_tables")
async def test_the_indexes_are_used(library: Library, database: Database) -> None:
    async with database.transaction() as session:
        values = {"merchant_id": library.shop.merchant_id, "now": NOON, "content": "y" * 1_000}
        await session.execute(text(MANY), values)
        await session.execute(text("ANALYZE documents" if not database.is_sqlite else "SELECT 1"))
    async with database.engine.connect() as connection:
        plan = await connection.run_sync(_plan, library.shop.merchant_id)
    if database.is_sqlite:
        assert "SCAN documents_fts VIRTUAL TABLE INDEX" in plan
        assert "SEARCH d USING INDEX ix_documents_answering (merchant_id=?)" in plan
        assert (
            "SEARCH d USING COVERING INDEX ix_documents_vectors (merchant_id=? AND embedded_with=? AND retired_at=?)"
            in plan
        )
        assert not [line for line in plan.splitlines() if line.split()[:2] == ["SCAN", "d"]]
    else:
        assert "Bitmap Index Scan on ix_documents_words" in plan
        assert "ix_documents_answering" in plan
        assert "Seq Scan" not in plan


def _plan(connection: Connection, merchant_id: int) -> str:
    is_sqlite = connection.dialect.name == "sqlite"
    statement = search._STATEMENTS[is_sqlite, True]
    values: dict[str, Any] = {"merchant_id": merchant_id, "limit": 12, "embedded_with": "m"}
    if is_sqlite:
        values |= {"words": '"m1xenvio"*', "near": "[1]"}
    else:
        values |= {"words": ["'m1xenvio':*"], "near": [1]}
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    return "\n".join(str(row[-1]) for row in connection.execute(text(explain + statement.text), values))


def test_two_rankings_become_one() -> None:
    assert fuse([1, 2, 3], [3, 4]) == [3, 1, 2, 4]
    assert fuse([1, 2, 3], [4, 5]) == [1, 4, 2, 5, 3]
    assert fuse([1, 2], []) == [1, 2]
    assert fuse([], []) == []
