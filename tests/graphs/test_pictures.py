"""Pictures, voice notes and edits on their way through the compiled graph, to a local OpenAI."""

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from recado.agent.checkpoints import open_checkpoints
from recado.bootstrap import connect, make_handlers, make_services
from recado.db.models import MediaFile, Message
from recado.settings import Settings
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.graphs.test_conversation import ANA, SHOP, Product
from tests.media.host import OGG, PDF, PNG
from tests.support import BODEGA, prepare_database

ROSA = "+51900000001"
URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
NO_PICTURES = {"status": 400, "type": "invalid_request_error", "message": "You uploaded an unsupported image."}


@pytest.fixture
def openai() -> Iterator[OpenAIFake]:
    with running(OpenAIFake(lambda request: {"content": "Lo veo."})) as fake:
        fake.apply_script({"transcription": {"text": "¿Hacen envíos?"}})
        yield fake


@pytest.fixture
async def product(tmp_path: Path, openai: OpenAIFake) -> AsyncIterator[Product]:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=f"sqlite+aiosqlite:///{tmp_path}/recado.db",
        checkpoint_url=f"sqlite:///{tmp_path}/checkpoints.db",
        media_dir=tmp_path / "media",
        model_provider="openai",
        openai_api_key="sk-test",
        openai_base_url=openai.base_url,
        model_retries=0,
        turn_quiet_seconds=0.0,
    )
    await prepare_database(settings.database_url, BODEGA)
    services = make_services(settings)
    async with connect(services), open_checkpoints(settings.checkpoint_url) as checkpoints:
        yield Product(services, make_handlers(services, checkpoints), tmp_path)


async def sends(product: Product, text: str = "", *files: tuple[str, bytes], phone: str = ANA, **more: Any) -> None:
    """A person sends files from the simulator, and is answered."""
    attachments = [{"content_type": kind, "data": data} for kind, data in files]
    values = {"address": SHOP, "phone": phone, "text": text, "name": "Ana", "attachments": attachments, **more}
    await product.services.network.person_sends(values)
    await product.handlers["ingest"]()
    [*_, last] = await product.rows(Message)
    await product.handlers["turn"](conversation_id=last.conversation_id, merchant_id=1)


def last_said(openai: OpenAIFake) -> Any:
    """What the model read last of a person."""
    return [message["content"] for message in openai.chats()[-1]["body"]["messages"] if message["role"] == "user"][-1]


async def test_a_picture_is_shown_in_its_own_turn_only(product: Product, openai: OpenAIFake) -> None:
    await sends(product, "¿Tienen este?", ("image/png", PNG))
    shown = {"type": "image_url", "image_url": {"url": URL}}
    assert last_said(openai) == [{"type": "text", "text": "[image] ¿Tienen este?"}, shown]
    await sends(product, "¿Y en azul?")
    assert last_said(openai) == "¿Y en azul?"
    assert "data:image" not in str(openai.chats()[-1]["body"])
    assert "[image] ¿Tienen este?" in str(openai.chats()[-1]["body"]["messages"])


async def test_staff_show_pictures_too(product: Product, openai: OpenAIFake) -> None:
    await sends(product, "así es", ("image/png", PNG), phone=ROSA)
    assert last_said(openai)[1]["image_url"]["url"] == URL


async def test_no_checkpoint_holds_a_picture(product: Product, openai: OpenAIFake) -> None:
    big = PNG + bytes(1_000_000)
    await sends(product, "", ("image/png", big))
    assert len(last_said(openai)[1]["image_url"]["url"]) > len(big)
    with sqlite3.connect(product.folder / "checkpoints.db") as connection:
        size = "coalesce(length(checkpoint), 0) + coalesce(length(metadata), 0)"
        kept = connection.execute(f"SELECT sum({size}) FROM checkpoints").fetchone()[0]  # noqa: S608
        kept += connection.execute("SELECT coalesce(sum(length(value)), 0) FROM writes").fetchone()[0]
    assert 0 < kept < 50_000


async def test_a_model_that_takes_no_pictures_answers_all_the_same(product: Product, openai: OpenAIFake) -> None:
    def brain(request: dict[str, Any]) -> dict[str, Any]:
        return {"error": NO_PICTURES} if "image_url" in str(request) else {"content": "¿Me lo cuenta?"}

    openai.brain = brain
    await sends(product, "¿Tienen este?", ("image/png", PNG))
    assert last_said(openai) == "[image] ¿Tienen este? [a picture that cannot be shown]"
    assert (await product.rows(Message))[-1].text == "¿Me lo cuenta?"


async def test_a_picture_that_is_gone_is_not_talked_about(product: Product, openai: OpenAIFake) -> None:
    await sends(product, "", ("image/png", PNG))
    [media] = await product.rows(MediaFile)
    found = await product.services.conversation_nodes().pictures.data_urls(2, [media.id])
    assert found == {}  # another merchant's
    await asyncio.to_thread((product.folder / "media" / media.path).unlink)
    assert await product.services.conversation_nodes().pictures.data_urls(1, [media.id]) == {}


async def test_a_voice_note_is_answered_as_if_it_were_written(product: Product, openai: OpenAIFake) -> None:
    await sends(product, "", ("audio/ogg", OGG))
    assert last_said(openai) == "[voice note] ¿Hacen envíos?"
    [request] = openai.requests.entries("transcription")
    assert request["body"]["file"]["data"] == OGG.hex()
    prompt = openai.chats()[-1]["body"]["messages"][0]["content"]
    assert "Sí, a todo Lima en 24 horas." in prompt  # what was said finds the document


async def test_documents_and_places_are_named(product: Product, openai: OpenAIFake) -> None:
    file = {"content_type": "application/pdf", "filename": "lista.pdf", "data": PDF}
    await sends(product, "la lista", attachments=[file])
    assert last_said(openai) == "[document: lista.pdf, application/pdf, 1 kB] la lista"
    await sends(product, location={"latitude": -12.05, "longitude": -77.04, "name": "Casa"})
    assert last_said(openai) == "[location: Casa, -12.05, -77.04]"
