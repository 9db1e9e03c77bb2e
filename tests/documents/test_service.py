"""Documents: what may be written, where an answer came from, and retiring."""

from datetime import timedelta

import pytest

from recado.db.engine import Database
from recado.db.models import Document
from recado.documents.service import DocumentService
from recado.errors import DocumentNotFound, InvalidInput
from tests.builders import NOON, make_shop
from tests.documents.library import Library

FAQ = {"category": "faq", "title": "¿Hacen envíos?", "content": "Sí."}


async def titles(library: Library, *given: object) -> tuple[list[str], int]:
    async with library.service() as service:
        rows, total = await service.page(*given)  # type: ignore[arg-type]
    return [row.title for row in rows], total


async def test_an_answer_keeps_where_it_came_from(library: Library) -> None:
    async with library.service() as service:
        document_id = (await service.ask("notification:7", "¿Hielo?")).id
    library.shop.clock.forward(minutes=5)
    async with library.service() as service:
        await service.learn(document_id, "Sí.", notification_id=7, answered_by=2)
    row = await library.row(document_id)
    assert (row.title, row.content, row.category, row.source) == ("¿Hielo?", "Sí.", "user_question", "free_input")
    assert (row.notification_id, row.answered_by, row.answered_at) == (7, 2, NOON + timedelta(minutes=5))
    assert row.created_at == NOON
    library.shop.clock.forward(minutes=5)
    async with library.service() as service:  # a step that is done again after a crash
        await service.learn(document_id, "Sí.", notification_id=7, answered_by=2)
    assert (await library.row(document_id)).answered_at == NOON + timedelta(minutes=5)


async def test_what_is_created_is_clean_and_complete(library: Library) -> None:
    [document_id] = await library.write((" ¿Hacen \x00envíos? ", "Sí,\r\na Lima."))
    row = await library.row(document_id)
    assert (row.title, row.content) == ("¿Hacen envíos?", "Sí,\na Lima.")
    assert (row.source, row.search_text) == ("api", "hacen envios si a lima")
    assert (row.answered_at, row.retired_at, row.embedded_with, row.embedding) == (None, None, None, None)


async def test_the_same_key_creates_once(library: Library) -> None:
    async with library.service() as service:
        one = await service.create("faq", "Uno", "x", key="k")
        two = await service.create("faq", "Dos", "y", key="k")
        other = await service.create("faq", "Tres", "z")
    assert one.id == two.id != other.id
    assert (await library.row(one.id)).title == "Uno"


@pytest.mark.parametrize(
    ("category", "title", "content", "field"),
    [
        ("faq", "", "x", "title"),
        ("faq", " \n\u200b ", "x", "title"),
        ("faq", "x", "", "content"),
        ("faq", "x" * 20_001, "x", "title"),
        ("faq", "x", "x" * 20_001, "content"),
        ("news", "x", "x", "category"),
        ("", "x", "x", "category"),
    ],
)
async def test_what_is_no_document_is_refused(
    library: Library, category: str, title: str, content: str, field: str
) -> None:
    async with library.service() as service:
        with pytest.raises(InvalidInput) as refused:
            await service.create(category, title, content)
    assert refused.value.field == field
    assert await titles(library) == ([], 0)


async def test_the_longest_document_is_taken(library: Library) -> None:
    [document_id] = await library.write(("ñ" * 20_000, "x" * 20_000))
    assert len((await library.row(document_id)).content) == 20_000


async def test_update_changes_what_is_given(library: Library) -> None:
    [document_id] = await library.write(("Envíos", "Sí."))
    written = (await library.row(document_id)).updated_at
    library.shop.clock.forward(minutes=1)
    async with library.service() as service:
        await service.update(document_id, content="No.")
    row = await library.row(document_id)
    assert (row.title, row.content, row.search_text) == ("Envíos", "No.", "envios no")
    assert row.updated_at == written + timedelta(minutes=1)
    async with library.service() as service:
        with pytest.raises(InvalidInput):
            await service.update(document_id, title=" ")
        await service.update(document_id, title="Envíos")
    assert (await library.row(document_id)).updated_at == written + timedelta(minutes=1)


async def test_one_of_a_yaml_file_is_changed_there_only(database: Database) -> None:
    library = Library(await make_shop(database, documents=[FAQ]))
    async with library.service() as service:
        [row], _ = await service.page()
        for change in (service.update(row.id, content="No."), service.retire(row.id), service.restore(row.id)):
            with pytest.raises(InvalidInput, match="YAML file: change it there"):
                await change
    assert (await library.row(row.id)).content == "Sí."


async def test_retiring_and_restoring_twice_is_harmless(library: Library) -> None:
    [document_id] = await library.write(("Envíos", "Sí."))
    async with library.service() as service:
        first = (await service.retire(document_id)).retired_at
    library.shop.clock.forward(minutes=1)
    async with library.service() as service:
        assert (await service.retire(document_id)).retired_at == first
        assert (await service.restore(document_id)).retired_at is None
        assert (await service.restore(document_id)).retired_at is None


async def test_retired_ones_are_listed_only_when_asked_for(library: Library) -> None:
    first, *_ = await library.write(("Uno", "x"), ("Dos", "x"), ("Tres", "x"))
    async with library.service() as service:
        await service.retire(first)
    assert await titles(library) == (["Tres", "Dos"], 2)
    assert await titles(library, None, None, True) == (["Uno"], 1)


async def test_pages_by_category_and_by_words(library: Library) -> None:
    await library.write(*((f"Envío {number}", "A Lima.") for number in range(5)), ("Pagos", "100%_ con tarjeta."))
    await library.write(("returns", "Devoluciones y envíos"), category="support_classification")
    assert await titles(library, "faq", "ENVÍO", False, 2, 1) == (["Envío 3", "Envío 2"], 5)
    assert await titles(library, "support_classification") == (["returns"], 1)
    assert await titles(library, None, "envios") == (["returns"], 1)
    assert await titles(library, None, "100 con") == (["Pagos"], 1)
    assert (await titles(library, None, "%"))[1] == 7  # no word, so all
    assert await titles(library, None, "nada") == ([], 0)


async def test_another_merchants_documents_do_not_exist(library: Library, database: Database) -> None:
    other = Library(await make_shop(database, "other", "+15550200"))
    [document_id] = await library.write(("Envíos", "Sí."))
    async with other.service() as service:
        for attempt in (
            service.get(document_id),
            service.update(document_id, title="x"),
            service.retire(document_id),
            service.restore(document_id),
            service.learn(document_id, "x"),
        ):
            with pytest.raises(DocumentNotFound):
                await attempt
    assert await titles(other) == ([], 0)
    assert (await library.row(document_id)).content == "Sí."


async def test_documents_come_back_from_the_database_as_they_were_written(library: Library) -> None:
    [document_id] = await library.write(("Ñandú 👍", "«Sí» — 1/2"))
    async with library.shop.database.read() as session:
        row = await DocumentService(session, library.shop.merchant_id, library.shop.clock).get(document_id)
    assert isinstance(row, Document)
    assert (row.title, row.content, row.search_text) == ("Ñandú 👍", "«Sí» — 1/2", "nandu si 1 2")
