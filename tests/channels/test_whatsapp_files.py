"""How files that people sent are fetched from Meta."""

from io import BytesIO

import pytest

from recado.channels.base import Attachment
from recado.channels.whatsapp.channel import WhatsAppChannel
from recado.errors import (
    MediaRefused,
    Permanent,
    Retryable,
    SendError,
)
from tests.channels.party_whatsapp import account
from tests.fakes.meta_api import MetaFake
from tests.fakes.recorder import JsonObject

ACCOUNT = account()
PICTURE = Attachment("image", "1003383421387256", "image/jpeg")


async def test_a_file_is_fetched_in_two_steps(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    graph.apply_script({"media": {PICTURE.source: {"content": "a shoe", "type": "image/png"}}})
    file = BytesIO()
    assert await cloud.download(ACCOUNT, PICTURE, file, 6) == "image/png"
    assert file.getvalue() == b"a shoe"
    assert [entry["path"] for entry in graph.requests.entries("file")] == [f"/files/{PICTURE.source}"]


async def test_a_file_that_says_that_it_is_too_large_is_not_fetched(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    graph.apply_script({"media": {PICTURE.source: {"content": "a shoe", "type": "image/png"}}})
    with pytest.raises(MediaRefused):
        await cloud.download(ACCOUNT, PICTURE, BytesIO(), 5)
    assert graph.requests.entries("file") == []
    # and one that lies is not kept
    graph.apply_script({"media": {PICTURE.source: {"content": "a shoe", "type": "image/png", "size": 1}}})
    with pytest.raises(MediaRefused):
        await cloud.download(ACCOUNT, PICTURE, BytesIO(), 5)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/", "https://evil.example/a", "https://lookaside.fbsbx.com.evil.example/a"]
)
async def test_a_file_is_fetched_from_meta_only(graph: MetaFake, cloud: WhatsAppChannel, url: str) -> None:
    graph.apply_script({"media": {PICTURE.source: {"content": "a shoe", "type": "image/png", "url": url}}})
    with pytest.raises(MediaRefused) as refused:
        await cloud.download(ACCOUNT, PICTURE, BytesIO(), 100)
    assert refused.value.foreign


@pytest.mark.parametrize(
    ("fault", "kind"),
    [({"code": 100, "subcode": 33}, Permanent), ({"code": 131000}, Retryable), ({"cut": True}, Retryable)],
)
async def test_a_file_that_is_not_to_be_had(
    graph: MetaFake, cloud: WhatsAppChannel, fault: JsonObject, kind: type[SendError]
) -> None:
    media = {PICTURE.source: {"content": "a shoe", "type": "image/png"}}
    graph.apply_script({"media": media, "faults": [{"when": {"op": "media"}, "fault": fault}]})
    with pytest.raises(kind):
        await cloud.download(ACCOUNT, PICTURE, BytesIO(), 100)
