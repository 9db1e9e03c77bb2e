"""Documents get their vectors after the fact: all that need one, once, whatever happens meanwhile."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection, select, text

from recado.db.engine import Database
from recado.db.models import Document
from recado.documents import jobs
from recado.documents.jobs import BATCH, MAX_CHARACTERS, embed_missing, has_missing
from recado.documents.vectors import Vector
from recado.errors import InvalidInput, ModelError
from tests.builders import apply_specs, make_shop, merchant_spec
from tests.documents.library import Library


@dataclass
class Lengths:
    """Embeds a text as its length. `refuses`: texts that hold it; `during` happens while it works."""

    name: str = "lengths/2"
    refuses: str = "\0"
    fails: bool = False
    during: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        self.calls.append(list(texts))
        if self.during:
            await self.during.pop(0)()
        if self.fails:
            raise ModelError("away")
        if any(self.refuses in each for each in texts):
            raise InvalidInput("refused")
        return [(float(len(each)), 1.0) for each in texts]


async def documents(database: Database) -> dict[str, Document]:
    async with database.read() as session:
        return {document.title: document for document in await session.scalars(select(Document))}


async def embedded(database: Database, name: str = "lengths/2") -> set[str]:
    """The titles of those that have a vector of this model."""
    found = (await documents(database)).values()
    return {document.title for document in found if document.embedded_with == name and document.embedding}


async def test_all_that_customers_are_answered_from_of_all_merchants(library: Library, database: Database) -> None:
    other = Library(await make_shop(database, "other", "+15550200"))
    _, retired = await library.write(("Envíos", "Sí."), ("Antes", "No."))
    await library.write(("returns", "Refunds"), category="support_classification")
    await other.write(("Pagos", "Con tarjeta."))
    async with library.service() as service:
        await service.retire(retired)
        question = await service.ask("notification:1", "¿Hielo?")
    assert await has_missing(database, Lengths())
    assert await embed_missing(database, Lengths()) == 2
    assert await embedded(database) == {"Envíos", "Pagos"}
    assert not await has_missing(database, Lengths())

    async with library.service() as service:
        await service.learn(question.id, "Sí.")
        await service.restore(retired)
    assert await embed_missing(database, Lengths()) == 2
    assert await embedded(database) == {"Envíos", "Pagos", "¿Hielo?", "Antes"}


async def test_in_batches_each_document_once(library: Library, database: Database) -> None:
    await library.fill(10)
    embedder = Lengths()
    assert await embed_missing(database, embedder, batch=4) == 10
    assert [len(call) for call in embedder.calls] == [4, 4, 2]
    assert sorted(each for call in embedder.calls for each in call) == [f"relleno{n:03}\nzz{n:03}" for n in range(10)]
    assert await embed_missing(database, embedder) == 0
    assert len(embedder.calls) == 3
    assert BATCH * MAX_CHARACTERS < 4 * 300_000  # what one request may hold, at four characters a token


async def test_again_after_every_change_of_the_text_and_of_nothing_else(library: Library, database: Database) -> None:
    [document_id] = await library.write(("Envíos", "Sí."))
    await embed_missing(database, Lengths())
    before = (await library.row(document_id)).embedding

    async with library.service() as service:
        await service.update(document_id, content="Sí.")
        await service.retire(document_id)
        await service.restore(document_id)
    assert not await has_missing(database, Lengths())

    async with library.service() as service:
        await service.update(document_id, content="Ya no.")
    assert (await library.row(document_id)).embedded_with is None
    await embed_missing(database, Lengths())
    assert (await library.row(document_id)).embedding != before

    async with library.service() as service:
        await service.learn(document_id, "Otra vez sí.")
    assert await has_missing(database, Lengths())


async def test_a_document_of_a_file_again_when_the_file_changes(database: Database) -> None:
    faq = {"category": "faq", "title": "¿Hacen envíos?", "content": "Sí."}
    await apply_specs(database, merchant_spec(documents=[faq]))
    await embed_missing(database, Lengths())
    await apply_specs(database, merchant_spec(documents=[faq]))
    assert not await has_missing(database, Lengths())
    await apply_specs(database, merchant_spec(documents=[{**faq, "content": "No."}]))
    assert await has_missing(database, Lengths())


@pytest.mark.parametrize("name", ["a/2", "z/2"])
async def test_all_again_for_another_model(library: Library, database: Database, name: str) -> None:
    await library.fill(3)
    await embed_missing(database, Lengths())
    assert await has_missing(database, Lengths(name))
    assert await embed_missing(database, Lengths(name)) == 3
    assert len(await embedded(database, name)) == 3
    assert not await has_missing(database, Lengths(name))


async def test_a_text_that_changes_meanwhile_gets_the_vector_of_what_it_became(
    library: Library, database: Database
) -> None:
    [document_id] = await library.write(("Envíos", "Sí."))

    async def change() -> None:
        # In the same moment by the clock: times cannot tell.
        async with library.service() as service:
            await service.update(document_id, content="Ya no, desde hoy.")

    embedder = Lengths(during=[change])
    assert await embed_missing(database, embedder) == 2
    assert embedder.calls == [["Envíos\nSí."], ["Envíos\nYa no, desde hoy."]]
    fresh = Lengths()
    [expected] = await fresh.embed(["Envíos\nYa no, desde hoy."])
    assert (await library.row(document_id)).embedding == jobs.pack(expected)


async def test_what_is_done_before_a_failure_is_kept(library: Library, database: Database) -> None:
    await library.fill(4)
    embedder = Lengths()

    async def go_away() -> None:
        embedder.fails = len(embedder.calls) > 1

    embedder.during = [go_away, go_away]
    with pytest.raises(ModelError):
        await embed_missing(database, embedder, batch=2)
    assert len(await embedded(database)) == 2
    embedder.fails = False
    assert await embed_missing(database, embedder) == 2


async def test_one_that_is_refused_does_not_hold_up_the_others(library: Library, database: Database) -> None:
    await library.write(("Uno", "x"), ("Dos", "VENENO"), ("Tres", "x"))
    embedder = Lengths(refuses="VENENO")
    await embed_missing(database, embedder)
    assert await embedded(database) == {"Uno", "Tres"}
    assert not await has_missing(database, embedder)
    [document_id] = [document.id for document in (await documents(database)).values() if document.title == "Dos"]
    async with library.service() as service:
        await service.update(document_id, content="remedio")
    await embed_missing(database, embedder)
    assert await embedded(database) == {"Uno", "Dos", "Tres"}


async def test_a_model_that_refuses_everything_marks_nothing_as_done(library: Library, database: Database) -> None:
    await library.fill(2)
    with pytest.raises(InvalidInput):
        await embed_missing(database, Lengths(refuses=""))
    assert await has_missing(database, Lengths())


async def test_a_long_document_is_embedded_by_its_beginning(library: Library, database: Database) -> None:
    await library.write(("Largo", "ñ" * 20_000))
    embedder = Lengths()
    await embed_missing(database, embedder)
    assert [[len(each) for each in call] for call in embedder.calls] == [[MAX_CHARACTERS]]


@pytest.mark.usefixtures("new_tables")
async def test_looking_for_what_is_missing_reads_nothing_else(library: Library, database: Database) -> None:
    """The sweep looks every few seconds."""
    await library.fill(3)

    def plan(connection: Connection) -> str:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")
        query = jobs._missing("m", 1).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        statement = text((explain + str(query)).replace(":", "\\:"))
        return "\n".join(str(row[-1]) for row in connection.execute(statement))

    async with database.engine.connect() as connection:
        found = await connection.run_sync(plan)
    assert "ix_documents_embedded_with" in found
    assert "SCAN documents" not in found
    assert "Seq Scan" not in found
