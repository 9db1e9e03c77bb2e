"""Files that people sent, as the API gives them: to their merchant only, and never as a page of ours."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from recado.channels.base import Attachment, InboundMessage
from recado.db.engine import Database
from recado.db.models import MediaFile
from recado.media.storage import MediaStore
from tests.builders import ANA, NOON, Shop
from tests.http.counter import Counter, open_counter
from tests.media.host import HTML

MEDIA = "/conversation/media"


@pytest.fixture
async def counter(database: Database, tmp_path: Path) -> AsyncIterator[Counter]:
    async with open_counter(database, media_dir=tmp_path / "media") as counter:
        yield counter


async def kept(counter: Counter, shop: Shop, filename: str | None = None, state: str = "stored") -> int:
    """The id of a file that Ana sent to this merchant."""
    store = MediaStore(counter.services.settings.media_dir)
    path = store.new_path(shop.merchant_id, NOON)
    with store.incoming() as (file, incoming):
        file.write(HTML)
        store.keep(file, incoming, path)
    attachment = Attachment("document", "x", "text/html", filename)
    inbound = InboundMessage("wamid.1", ANA, ANA, "Ana", "document", "", attachments=(attachment,))
    async with shop.conversations() as service:
        message = (await service.receive(shop.account, inbound, NOON)).message
    async with shop.database.transaction() as session:
        media = (await session.scalars(select(MediaFile).where(MediaFile.message_id == message.id))).one()
        media.state, media.path, media.content_type = state, path, "text/html"
        return media.id


async def test_a_file_is_to_be_saved_under_its_own_name(counter: Counter) -> None:
    media_id = await kept(counter, counter.mine, 'lista "ñ"\r\nx: y.html')
    response = await counter.call("GET", f"{MEDIA}/{media_id}")
    assert (response.status_code, response.content) == (200, HTML)
    assert response.headers["content-type"].partition(";")[0] == "text/html"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    said = "attachment; filename*=UTF-8''lista%20%22%C3%B1%22%0D%0Ax%3A%20y.html"
    assert response.headers["content-disposition"] == said
    assert "x" not in response.headers


async def test_other_merchants_files_and_what_is_not_kept_are_not_found(counter: Counter) -> None:
    theirs = await kept(counter, counter.theirs)
    refused = await kept(counter, counter.mine, state="refused")
    for media_id in (theirs, refused, 999_999):
        await counter.refused(404, "GET", f"{MEDIA}/{media_id}", f"File {media_id} not found")
    assert (await counter.call("GET", f"{MEDIA}/{refused}", key=None)).status_code == 401


async def test_a_file_that_is_gone_from_the_disk_is_not_found(counter: Counter) -> None:
    media_id = await kept(counter, counter.mine)
    for path in counter.services.settings.media_dir.rglob("*/*/*/*"):
        path.unlink()
    await counter.refused(404, "GET", f"{MEDIA}/{media_id}")


async def test_a_message_names_its_files(counter: Counter) -> None:
    media_id = await kept(counter, counter.mine, "carta.html")
    (conversation,) = (await counter.ok("GET", "/conversation/conversations"))["items"]
    (message,) = (await counter.ok("GET", f"/conversation/conversations/{conversation['id']}/messages"))["items"]
    (file,) = message["attachments"]
    assert (file["id"], file["state"], file["content_type"]) == (media_id, "stored", "text/html")
    assert (await counter.call("GET", f"{MEDIA}/{file['id']}")).content == HTML
