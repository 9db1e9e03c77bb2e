"""What a turn knows: documents by word and by meaning, at no more queries than a turn had without."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from graphs.conversation.nodes import ConversationNodes
from recado.agent.checkpoints import open_checkpoints
from recado.bootstrap import Services, connect, make_handlers, make_services
from recado.db.engine import Database
from recado.db.models import Document
from recado.documents.jobs import embed_missing
from recado.documents.knowledge import LIMIT, Knowledge
from recado.documents.vectors import Vector
from recado.settings import Settings
from recado.turns.repository import TurnRepository
from tests.builders import ANA, NOON, ROSA, Shop, make_shop
from tests.documents.library import Library
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.support import BODEGA, prepare_database


@dataclass
class Watching:
    """An embedder that notes how many connections to the database are in use while it works."""

    database: Database
    name: str = "watching/2"
    in_use: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        self.in_use.append(self.database.engine.pool.checkedout())  # type: ignore[attr-defined]
        self.asked.extend(texts)
        return [(float(len(text)), 1.0) for text in texts]


@dataclass
class Desk:
    """The conversation graph's first step on a shop's documents."""

    shop: Shop
    library: Library
    embedder: Watching
    knowledge: Knowledge

    async def begin(self, *messages: tuple[str, str], phone: str = ANA) -> Any:
        """A turn that answers these messages, (kind, text) each."""
        for kind, text in messages:
            conversation_id = await self.shop.hear(text, phone, kind=kind)
        async with self.shop.database.transaction() as session:
            turns = TurnRepository(session, self.shop.merchant_id)
            turn = turns.start(conversation_id, "p", NOON, NOON)
            await session.flush()
            await turns.attach_pending(turn)
            return {"merchant_id": self.shop.merchant_id, "conversation_id": conversation_id, "turn_id": turn.id}

    async def load(self, *messages: tuple[str, str], phone: str = ANA) -> dict[str, Any]:
        """What a turn that answers these messages starts from."""
        turn = await self.begin(*messages, phone=phone)
        loaded = await self.nodes().load(turn)
        async with self.shop.database.transaction() as session:
            (await TurnRepository(session, self.shop.merchant_id).get(turn["turn_id"])).state = "done"
        return loaded

    def nodes(self) -> ConversationNodes:
        """The graph's steps; the first one calls neither a chat model nor a tool."""
        none: Any = None
        shop = self.shop
        return ConversationNodes(shop.database, shop.clock, none, self.knowledge, none, 30, pictures=none)


@pytest.fixture
async def desk(database: Database) -> Desk:
    shop = await make_shop(database)
    library, embedder = Library(shop), Watching(database)
    await library.write(("¿Hacen envíos?", "Sí."))
    await library.fill(LIMIT)
    await embed_missing(database, embedder)
    embedder.asked.clear()
    embedder.in_use.clear()
    return Desk(shop, library, embedder, Knowledge(database, embedder))


def titles(loaded: dict[str, Any]) -> list[str]:
    return [document["title"] for document in loaded["documents"]]


async def test_no_connection_is_held_while_the_model_is_asked(desk: Desk) -> None:
    loaded = await desk.load(("text", "hola, ¿hacen envíos?"))
    assert "¿Hacen envíos?" in titles(loaded)
    assert desk.embedder.in_use == [0]


async def test_the_model_gets_title_and_content_and_nothing_else(desk: Desk) -> None:
    loaded = await desk.load(("text", "¿hacen envíos?"))
    assert {"title": "¿Hacen envíos?", "content": "Sí."} in loaded["documents"]
    assert all(set(document) == {"title", "content"} for document in loaded["documents"])


async def test_all_messages_of_the_turn_are_one_question(desk: Desk) -> None:
    await desk.load(("text", "hola"), ("text", "¿hacen envíos?"), ("reaction", "👍"))
    assert desk.embedder.asked == ["hola\n¿hacen envíos?"]


@pytest.mark.parametrize(
    ("kind", "text", "phone"),
    [("text", "hola, ¿hacen envíos?", ROSA), ("reaction", "hola", ANA), ("image", "", ANA), ("location", "", ANA)],
    ids=["staff", "reaction", "image", "location"],
)
async def test_staff_and_turns_without_text_ask_for_no_meaning(desk: Desk, kind: str, text: str, phone: str) -> None:
    loaded = await desk.load((kind, text), phone=phone)
    assert desk.embedder.asked == []
    assert (titles(loaded) == []) == (phone == ROSA or kind == "reaction")


@pytest.mark.parametrize("by_meaning", [True, False])
async def test_a_turn_starts_with_five_queries(desk: Desk, by_meaning: bool) -> None:
    if not by_meaning:
        desk.knowledge = Knowledge(desk.shop.database)
    await desk.load(("text", "¿hacen envíos?"))  # from now on the vectors are known
    turn = await desk.begin(("text", "¿y a provincia?"))
    statements: list[str] = []
    engine = desk.shop.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    await desk.nodes().load(turn)
    assert len([statement for statement in statements if "SELECT" in statement]) == 5


@pytest.fixture
def openai() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        fake.apply_script({"topics": [["envío", "domicilio"]]})
        yield fake


@asynccontextmanager
async def product(folder: Path, openai: OpenAIFake) -> AsyncIterator[tuple[Services, dict[str, Any]]]:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=f"sqlite+aiosqlite:///{folder}/recado.db",
        checkpoint_url=f"sqlite:///{folder}/checkpoints.db",
        openai_api_key="sk-test",
        openai_base_url=openai.base_url,
        model_retries=0,
    )
    await prepare_database(settings.database_url, BODEGA)
    services = make_services(settings)
    async with connect(services), open_checkpoints(settings.checkpoint_url) as checkpoints:
        yield services, make_handlers(services, checkpoints)


async def test_the_sweep_has_documents_embedded_once(tmp_path: Path, openai: OpenAIFake) -> None:
    async with product(tmp_path, openai) as (services, handlers):
        await handlers["sweep"]()
        assert await services.nudges.queue.job("embed") is not None
        await handlers["embed"]()
        async with services.database.read() as session:
            rows = list(await session.scalars(select(Document)))
        assert {row.category for row in rows if row.embedding} == {"faq"}
        assert len(openai.embedded()) == 1

        job = await services.nudges.queue.job("embed")
        assert job is not None
        await job.abort("done by hand")
        await handlers["sweep"]()
        again = await services.nudges.queue.job("embed")
        assert again is None or again.status != "queued"
        await handlers["embed"]()
        assert len(openai.embedded()) == 1
