"""Searching by meaning: over OpenAI's wire, beside the search by word, and without it when the model is not there."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from recado.agent.embeddings import OpenAIEmbedder
from recado.db.engine import Database
from recado.documents.jobs import embed_missing
from recado.documents.knowledge import LIMIT, Knowledge
from recado.settings import Settings
from tests.builders import make_shop
from tests.documents.library import Library, before_filler
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running

DELIVERY = ["reparto", "envío", "domicilio", "livraison"]
REFUNDS = ["reembolso", "devolver", "dinero"]


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


@pytest.fixture
def openai(server: OpenAIFake) -> OpenAIFake:
    server.reset()
    server.apply_script({"topics": [DELIVERY, REFUNDS]})
    return server


@pytest.fixture
def embedder(openai: OpenAIFake) -> OpenAIEmbedder:
    return embedder_of(openai)


def embedder_of(openai: OpenAIFake, **changes: Any) -> OpenAIEmbedder:
    values = {"openai_api_key": "sk-test", "model_timeout_seconds": 5.0, "model_retries": 0, **changes}
    return OpenAIEmbedder(Settings(_env_file=None, openai_base_url=openai.base_url, **values))  # type: ignore[call-arg]


async def asked(knowledge: Knowledge, library: Library, question: str) -> list[str]:
    return before_filler([found.title for found in await knowledge.find(library.shop.merchant_id, question)])


def selects_of(database: Database) -> list[str]:
    """The queries from now on."""
    statements: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    return statements


async def test_found_by_meaning_when_no_word_is_the_same(library: Library, embedder: OpenAIEmbedder) -> None:
    await library.write(("Reparto", "En 24 horas."), ("Reembolso", "En siete días."))
    await library.fill(LIMIT)
    database = library.shop.database
    assert await asked(Knowledge(database), library, "¿llevan a domicilio?") == []
    await embed_missing(database, embedder)
    knowledge = Knowledge(database, embedder)
    assert (await asked(knowledge, library, "¿llevan a domicilio?"))[0] == "Reparto"
    assert (await asked(knowledge, library, "quiero mi dinero"))[0] == "Reembolso"


async def test_what_both_rankings_find_comes_first(library: Library, embedder: OpenAIEmbedder) -> None:
    await library.write(
        ("Reparto", "Por la tarde."), ("Envío a Lima", "Diez soles."), ("Lima", "Nuestra tienda del centro.")
    )
    await library.fill(LIMIT)
    await embed_missing(library.shop.database, embedder)
    found = await asked(Knowledge(library.shop.database, embedder), library, "envío a Lima")
    assert found[0] == "Envío a Lima"
    assert {"Reparto", "Lima"} <= set(found[1:])


async def test_never_more_than_the_limit_and_each_once(library: Library, embedder: OpenAIEmbedder) -> None:
    await library.write(*((f"Envío {number}", "reparto") for number in range(3 * LIMIT)))
    await embed_missing(library.shop.database, embedder)
    found = await asked(Knowledge(library.shop.database, embedder), library, "envío")
    assert len(found) == len(set(found)) == LIMIT


async def test_a_shop_whose_documents_all_fit_asks_for_no_meaning(
    library: Library, embedder: OpenAIEmbedder, openai: OpenAIFake
) -> None:
    await library.write(("Reparto", "En 24 horas."), ("Reembolso", "En siete días."))
    await embed_missing(library.shop.database, embedder)
    knowledge = Knowledge(library.shop.database, embedder)
    await asked(knowledge, library, "¿llevan a domicilio?")
    openai.requests.clear()
    assert await asked(knowledge, library, "¿llevan a domicilio?") == ["Reembolso", "Reparto"]
    assert openai.embedded() == []


@pytest.mark.parametrize("wordless", ["", "👍👍", "?!"])
async def test_a_question_without_words_asks_for_no_meaning(
    library: Library, embedder: OpenAIEmbedder, openai: OpenAIFake, wordless: str
) -> None:
    await library.fill(LIMIT + 1)
    await embed_missing(library.shop.database, embedder)
    openai.requests.clear()
    await asked(Knowledge(library.shop.database, embedder), library, wordless)
    assert openai.embedded() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "server_error"},
        {"error": "rate_limit_exceeded"},
        {"error": "invalid_api_key"},
        {"error": "model_not_found"},
        {"hang": True},
        {"cut": True},
        {"raw": "{}"},
        {"raw": "<html>"},
        {"raw": '{"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}'},
        {"refuses": "domicilio"},
    ],
    ids=str,
)
async def test_an_outage_leaves_the_search_by_word(
    library: Library, embedder: OpenAIEmbedder, openai: OpenAIFake, fault: dict[str, Any]
) -> None:
    await library.write(("Reparto", "En 24 horas."), ("Domicilio", "Calle Uno."))
    await library.fill(LIMIT)
    await embed_missing(library.shop.database, embedder)
    openai.apply_script({"embedding": fault})
    knowledge = Knowledge(library.shop.database, embedder, question_seconds=0.5, rest_seconds=0.0)
    assert await asked(knowledge, library, "a domicilio") == ["Domicilio"]
    openai.apply_script({"embedding": {}})
    assert set(await asked(knowledge, library, "a domicilio")) == {"Domicilio", "Reparto"}


async def test_after_a_failure_turns_do_not_wait_for_the_next_one(
    library: Library, embedder: OpenAIEmbedder, openai: OpenAIFake
) -> None:
    await library.fill(LIMIT + 1)
    await embed_missing(library.shop.database, embedder)
    openai.requests.clear()
    openai.apply_script({"embedding": {"error": "server_error"}})
    knowledge = Knowledge(library.shop.database, embedder)
    for _ in range(3):
        await asked(knowledge, library, "a domicilio")
    assert len(openai.embedded()) == 1


async def test_one_query_a_question_and_two_more_after_a_change(library: Library, embedder: OpenAIEmbedder) -> None:
    database = library.shop.database
    await library.write(("Reparto", "En 24 horas."))
    await library.fill(LIMIT)
    await embed_missing(database, embedder)
    knowledge = Knowledge(database, embedder)
    statements = selects_of(database)

    async def queries() -> int:
        statements.clear()
        await asked(knowledge, library, "¿llevan a domicilio?")
        return len([statement for statement in statements if "SELECT" in statement])

    assert [await queries(), await queries(), await queries()] == [3, 1, 1]
    await library.write(("Envío gratis", "Desde cien soles."))
    assert await queries() == 1
    await embed_missing(database, embedder)
    assert [await queries(), await queries()] == [3, 1]
    assert set((await asked(knowledge, library, "¿llevan a domicilio?"))[:2]) == {"Envío gratis", "Reparto"}


async def test_without_a_model_one_query(library: Library) -> None:
    await library.fill(LIMIT + 1)
    statements = selects_of(library.shop.database)
    await asked(Knowledge(library.shop.database), library, "a domicilio")
    assert len([statement for statement in statements if "SELECT" in statement]) == 1


async def test_the_vectors_follow_every_change(library: Library, embedder: OpenAIEmbedder) -> None:
    database = library.shop.database
    first, second = await library.write(("Uno", "reparto"), ("Dos", "horario"))
    await library.fill(2 * LIMIT)
    await embed_missing(database, embedder)
    knowledge = Knowledge(database, embedder)
    assert (await asked(knowledge, library, "domicilio"))[0] == "Uno"

    library.shop.clock.forward(minutes=1)
    async with library.service() as service:
        await service.update(first, content="horario")
        await service.update(second, content="reparto")
    await embed_missing(database, embedder)
    assert (await asked(knowledge, library, "domicilio"))[0] == "Dos"

    async with library.service() as service:
        await service.retire(second)
    assert "Dos" not in await asked(knowledge, library, "domicilio")
    async with library.service() as service:
        await service.restore(second)
    assert (await asked(knowledge, library, "domicilio"))[0] == "Dos"


async def test_another_merchants_vectors_are_never_near(
    library: Library, database: Database, embedder: OpenAIEmbedder
) -> None:
    other = Library(await make_shop(database, "other", "+15550200"))
    await other.write(("Secreto", "reparto a domicilio"))
    await library.write(("Reparto", "En 24 horas."))
    for each in (library, other):
        await each.fill(LIMIT)
    await embed_missing(database, embedder)
    knowledge = Knowledge(database, embedder)
    for _ in range(2):
        assert "Secreto" not in await asked(knowledge, library, "domicilio")
        assert (await asked(knowledge, other, "domicilio"))[0] == "Secreto"


async def test_only_so_many_vectors_are_remembered(
    library: Library, database: Database, embedder: OpenAIEmbedder
) -> None:
    other = Library(await make_shop(database, "other", "+15550200"))
    for each in (library, other):
        await each.write(("Reparto", "En 24 horas."))
        await each.fill(LIMIT)
    await embed_missing(database, embedder)
    knowledge = Knowledge(database, embedder, cache_bytes=1)
    statements = selects_of(database)
    for _ in range(2):
        for each in (library, other):
            assert (await asked(knowledge, each, "domicilio"))[0] == "Reparto"
    assert len([statement for statement in statements if "SELECT" in statement]) == 4 * 3
    assert len(knowledge._cache) == 1
