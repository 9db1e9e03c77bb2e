"""What people send from the simulator beside texts, by its API."""

import base64
import io
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from recado.channels.base import Attachment, OutboundMedia, OutboundMessage
from recado.channels.simulator.channel import SimulatorChannel
from recado.db.engine import Database
from recado.db.models import InboxEvent
from recado.errors import MediaRefused, Permanent
from tests.builders import ANA
from tests.http.counter import Counter, is_problem, open_counter
from tests.media.host import HTML, OGG, PDF, PNG

SHOP = "+15550100"
ENDS = {"from": ANA, "to": SHOP}


@pytest.fixture
async def counter(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Counter]:
    shutil.copy(migrated_file, tmp_path / "test.db")
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    async with open_counter(database, media_dir=tmp_path / "media") as counter:
        yield counter
    await database.close()


def file(data: bytes, content_type: str, **more: Any) -> dict[str, Any]:
    return {"content_type": content_type, "data": base64.b64encode(data).decode(), **more}


async def post(counter: Counter, **body: Any) -> Any:
    return await counter.client.post("/simulator/messages", json={**ENDS, **body})


async def shown(counter: Counter) -> list[dict[str, Any]]:
    response = await counter.client.get("/simulator/messages", params={"phone": ANA})
    return list(response.json())


async def reported(counter: Counter) -> Any:
    """What the adapter makes of what the network has reported last."""
    async with counter.services.database.read() as session:
        event = (await session.scalars(InboxEvent.__table__.select().order_by(InboxEvent.id.desc()).limit(1))).one()
        return counter.services.channels["simulator"].parse((await session.get_one(InboxEvent, event)).payload)


async def test_files_arrive_as_attachments(counter: Counter) -> None:
    files = [file(PNG, "image/png"), file(OGG, "audio/ogg"), file(PDF, "application/pdf", filename="lista.pdf")]
    assert (await post(counter, text="mira", attachments=files)).status_code == 202
    message = await reported(counter)
    assert (message.kind, message.text) == ("image", "mira")
    assert [(each.kind, each.filename, each.voice) for each in message.attachments] == [
        ("image", None, False),
        ("audio", None, True),
        ("document", "lista.pdf", False),
    ]
    channel = counter.services.channels["simulator"]
    for attachment, data in zip(message.attachments, (PNG, OGG, PDF), strict=True):
        written = io.BytesIO()
        assert await channel.download(counter.mine.account, attachment, written, 1_000) == attachment.content_type
        assert written.getvalue() == data
    with pytest.raises(MediaRefused):
        await channel.download(counter.mine.account, message.attachments[0], io.BytesIO(), 3)
    for name in ("0" * 64, "../../etc/passwd"):
        with pytest.raises(Permanent):
            await channel.download(counter.mine.account, Attachment("image", name), io.BytesIO(), 1_000)


async def test_the_page_is_told_and_shows_pictures_only(counter: Counter) -> None:
    await post(counter, attachments=[file(PNG, "image/png"), file(HTML, "image/png")])
    [message] = await shown(counter)
    assert (message["kind"], message["text"]) == ("image", "")
    picture, page = [await counter.client.get(f"/simulator/files/{each['source']}") for each in message["attachments"]]
    assert (picture.content, picture.headers["content-type"]) == (PNG, "image/png")
    assert "content-disposition" not in picture.headers
    assert (page.headers["content-type"], page.headers["content-disposition"]) == (
        "application/octet-stream",
        "attachment",
    )
    assert page.headers["x-content-type-options"] == "nosniff"
    for name in ("0" * 64, "x", "..%2fx"):
        assert (await counter.client.get(f"/simulator/files/{name}")).status_code == 404


async def test_a_place(counter: Counter) -> None:
    place = {"latitude": -12.05, "longitude": -77.04, "name": "Casa"}
    await post(counter, location=place)
    message = await reported(counter)
    assert (message.kind, message.text, message.data) == ("location", "", place)
    assert (await shown(counter))[0]["location"] == place


async def test_the_same_id_again_is_the_same_message(counter: Counter) -> None:
    for _ in range(2):
        await post(counter, id="one", attachments=[file(PNG, "image/png")])
    assert len(await shown(counter)) == 1
    folder = counter.services.settings.media_dir / "simulator"
    assert [path.read_bytes() for path in folder.iterdir()] == [PNG]


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        ({}, "give a text"),
        ({"attachments": [file(b"x" * 2_000_001, "image/png")]}, "larger than 2 MB"),
        ({"attachments": [file(b"x" * 1_000_001, "image/png")] * 2}, "larger than 2 MB"),
        ({"attachments": [file(b"", "image/png")]}, "data"),
        ({"attachments": [{"content_type": "image/png", "data": "*"}]}, "data"),
        ({"attachments": [file(PNG, "nonsense")]}, "content_type"),
        ({"attachments": [file(PNG, "image/png", filename="a\x00b")]}, "filename"),
        ({"attachments": [file(PNG, "image/png")] * 11}, "attachments"),
        ({"location": {"latitude": 91, "longitude": 0}}, "latitude"),
        ({"location": {"latitude": 0}}, "longitude"),
    ],
)
async def test_what_cannot_be_sent(counter: Counter, body: dict[str, Any], fragment: str) -> None:
    assert fragment in is_problem(await post(counter, **body), 422)["detail"]
    assert await shown(counter) == []


async def test_files_and_lists_of_ours_arrive(counter: Counter) -> None:
    channel = SimulatorChannel(counter.services.network)
    media = OutboundMedia("image", "https://shop.example/shoe.jpg", "shoe.jpg")
    rows = tuple({"id": f"NOTIF_{n}", "title": f"NOTIF_{n}", "description": f"¿{n}?"} for n in range(1, 8))
    await channel.send(counter.mine.account, OutboundMessage(1, ANA, text="Este", media=media))
    await channel.send(counter.mine.account, OutboundMessage(2, ANA, text="¿Cuál?", buttons=rows))
    picture, choice = await shown(counter)
    assert (picture["kind"], picture["text"], picture["media"]["url"]) == ("image", "Este", media.url)
    assert (choice["kind"], choice["buttons"]) == ("interactive", list(rows))
