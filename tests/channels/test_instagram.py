"""Instagram's own ways, over a real socket: hosts, tags, quick replies, refusals, ambiguity, files."""

import io
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recado.channels.base import Attachment, InboundMessage, OutboundMedia, OutboundMessage
from recado.channels.instagram.channel import GRAPH_URL, INSTAGRAM_URL, InstagramChannel
from recado.errors import (
    AccountRefused,
    MediaRefused,
    OptedOut,
    Permanent,
    Retryable,
    SendError,
    WindowClosed,
)
from recado.merchants.account import Account
from tests.fakes.instagram_api import InstagramFake
from tests.fakes.instagram_inbound import ACCESS_TOKEN, ACCOUNT, PERSON
from tests.fakes.server import running
from tests.support import free_port

SHOP = Account(1, 1, "instagram", ACCOUNT, {"access_token": ACCESS_TOKEN}, {})
FILE = "https://example.com/menu.pdf"


@pytest.fixture(scope="module")
def server() -> Iterator[InstagramFake]:
    with running(InstagramFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: InstagramFake) -> InstagramFake:
    server.reset()
    return server


@pytest.fixture
async def channel(fake: InstagramFake) -> AsyncIterator[InstagramChannel]:
    channel = InstagramChannel(fake.url, "24.0", 10.0)
    yield channel
    await channel.close()


def to_ana(text: str | None = "hola", **more: Any) -> OutboundMessage:
    return OutboundMessage(7, PERSON, text=text, **more)


def fails(fake: InstagramFake, times: int = 1, op: str = "send", **fault: Any) -> None:
    fake.apply_script({"faults": [{"when": {"op": op}, "fault": fault, "times": times}]})


async def refused(channel: InstagramChannel, message: OutboundMessage | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(SHOP, message or to_ana())
    assert ACCESS_TOKEN not in str(caught.value)
    return caught.value


async def test_a_text_on_the_wire(fake: InstagramFake, channel: InstagramChannel) -> None:
    mid = await channel.send(SHOP, to_ana("¿Sí? 👍🏽"))
    (entry,) = fake.sends()
    assert (entry["method"], entry["path"]) == ("POST", "/v24.0/me/messages")
    assert entry["headers"]["authorization"] == f"Bearer {ACCESS_TOKEN}"
    assert entry["query"] == {}  # a token there would be in every proxy's log
    body = {"recipient": {"id": PERSON}, "message": {"text": "¿Sí? 👍🏽"}, "messaging_type": "RESPONSE"}
    assert entry["body"] == body
    assert mid == fake.messages[0].mid


async def test_what_a_human_wrote_reaches_a_person_outside_the_window(
    fake: InstagramFake, channel: InstagramChannel
) -> None:
    fake.apply_script({"closed": [PERSON]})
    assert type(await refused(channel)) is WindowClosed
    await channel.send(SHOP, to_ana(by_human=True))
    assert {**fake.messages[0].body, "message": None} == {
        "recipient": {"id": PERSON},
        "message": None,
        "messaging_type": "MESSAGE_TAG",
        "tag": "HUMAN_AGENT",
    }


async def test_choices_are_quick_replies(fake: InstagramFake, channel: InstagramChannel) -> None:
    buttons = tuple({"id": f"N{n}", "title": f"Una opción bastante larga {n}"} for n in range(15))
    await channel.send(SHOP, to_ana("¿Cuál?", buttons=buttons))
    replies = fake.messages[0].body["message"]["quick_replies"]
    assert len(replies) == 13
    assert replies[1] == {"content_type": "text", "title": "Una opción bastante…", "payload": "N1"}


@pytest.mark.parametrize(("kind", "named"), [("image", "image"), ("audio", "audio"), ("document", "file")])
async def test_a_file_goes_alone_and_its_text_after_it(
    fake: InstagramFake, channel: InstagramChannel, kind: str, named: str
) -> None:
    mid = await channel.send(SHOP, to_ana("El menú", media=OutboundMedia(kind, FILE)))
    await channel.send(SHOP, to_ana(None, media=OutboundMedia(kind, FILE)))
    contents = [sent.body["message"] for sent in fake.messages]
    attached = {"attachment": {"type": named, "payload": {"url": FILE}}}
    assert contents == [attached, {"text": "El menú"}, attached]
    assert mid == fake.messages[1].mid


REFUSALS: list[tuple[dict[str, Any], type[SendError]]] = [
    ({"code": 10, "subcode": 2534022}, WindowClosed),
    ({"code": 10, "subcode": 2018278}, WindowClosed),
    ({"code": 10}, AccountRefused),  # a permission is missing
    ({"code": 190}, AccountRefused),
    ({"code": 200}, AccountRefused),
    ({"code": 551}, Permanent),
    ({"code": 100, "subcode": 2018001}, Permanent),
    ({"code": 100}, Permanent),
    ({"code": 200, "subcode": 2018108}, OptedOut),
    ({"code": 4}, Retryable),
    ({"code": 613}, Retryable),
    ({"code": 80006, "status": 400}, Retryable),
    ({"code": 2, "status": 500}, Retryable),
    ({"code": 999_999, "status": 429}, Retryable),
    ({"code": 999_999, "status": 400}, Permanent),
    ({"status": 502, "html": True}, Retryable),
    ({"status": 404, "html": True}, Permanent),
]


@pytest.mark.parametrize(("fault", "error"), REFUSALS, ids=str)
async def test_a_refusal_means(
    fake: InstagramFake, channel: InstagramChannel, fault: dict[str, Any], error: type[SendError]
) -> None:
    fails(fake, **fault)
    found = await refused(channel)
    assert type(found) is error
    if isinstance(found, AccountRefused):
        assert found.remedy
    if isinstance(found, Retryable):
        assert found.ambiguous == (fault.get("status", 400) >= 500)


async def test_it_waits_as_long_as_it_is_told_to(fake: InstagramFake, channel: InstagramChannel) -> None:
    fails(fake, code=613, retry_after=90)
    error = await refused(channel)
    assert isinstance(error, Retryable)
    assert (error.code, error.retry_after) == ("613", 90.0)


async def test_the_token_of_another_account_is_refused_and_not_told(
    fake: InstagramFake, channel: InstagramChannel
) -> None:
    fake.apply_script({"tokens": {}, "faults": []})
    assert isinstance(await refused(channel), AccountRefused)
    fails(fake, code=190, message=f"bad token {ACCESS_TOKEN} of +51911111111")
    fake.apply_script({"tokens": {ACCESS_TOKEN: ACCOUNT}})
    said = str(await refused(channel))
    assert "+51911111111" not in said


async def test_an_outcome_that_is_not_known_can_be_looked_up(fake: InstagramFake, channel: InstagramChannel) -> None:
    since = datetime.now(UTC)
    for fault, taken in (({"cut": True}, False), ({"cut": True, "after": True}, True)):
        fails(fake, **fault)
        error = await refused(channel)
        assert isinstance(error, Retryable)
        assert error.ambiguous
        assert await channel.find(SHOP, to_ana(), since) == ([fake.messages[0].mid] if taken else [])


async def test_a_call_that_hangs_ends(fake: InstagramFake) -> None:
    impatient = InstagramChannel(fake.url, "24.0", 0.2)
    fails(fake, hang=True)
    error = await refused(impatient)
    assert isinstance(error, Retryable)
    assert error.ambiguous
    await impatient.close()


async def test_without_a_connection_nothing_was_sent() -> None:
    nowhere = InstagramChannel(f"http://127.0.0.1:{free_port()}", "24.0", 10.0)
    error = await refused(nowhere)
    assert isinstance(error, Retryable)
    assert not error.ambiguous
    await nowhere.close()


async def test_an_answer_without_an_id_is_not_trusted(fake: InstagramFake, channel: InstagramChannel) -> None:
    fails(fake, status=200, html=True)
    error = await refused(channel)
    assert isinstance(error, Retryable)
    assert error.ambiguous


async def test_what_was_sent_is_found_by_person_text_and_time(fake: InstagramFake, channel: InstagramChannel) -> None:
    since = datetime.now(UTC)
    one = await channel.send(SHOP, to_ana("igual"))
    await channel.send(SHOP, to_ana("otra"))
    two = await channel.send(SHOP, to_ana("igual"))
    await channel.send(SHOP, OutboundMessage(8, "999", text="igual"))
    fake.heard.append({"id": "theirs", "message": "igual"})
    assert await channel.find(SHOP, to_ana("igual"), since) == [one, two]
    assert await channel.find(SHOP, to_ana("igual"), since + timedelta(minutes=5)) == []
    (query, *_) = [entry["query"] for entry in fake.requests.entries("find")]
    assert query["user_id"] == PERSON
    assert query["platform"] == "instagram"
    fails(fake, op="find", code=613)
    with pytest.raises(Retryable):
        await channel.find(SHOP, to_ana("igual"), since)


async def test_a_message_is_marked_as_seen_and_typing_shown(fake: InstagramFake, channel: InstagramChannel) -> None:
    message = InboundMessage("m1", PERSON, None, None, "text", "")
    await channel.acknowledge(SHOP, message)
    bodies = [entry["body"] for entry in fake.requests.entries("action")]
    assert bodies == [{"recipient": {"id": PERSON}, "sender_action": name} for name in ("mark_seen", "typing_on")]
    fails(fake, op="action", code=4)
    with pytest.raises(Retryable):
        await channel.acknowledge(SHOP, message)


async def test_a_file_is_fetched_without_the_token_and_only_from_meta(
    fake: InstagramFake, channel: InstagramChannel
) -> None:
    fake.apply_script({"files": {"1": {"content": "hielo", "type": "image/jpeg"}}})
    file = io.BytesIO()
    for url in (
        f"{fake.url}/files/1",
        "https://lookaside.fbsbx.com/files/1",
        "https://scontent.cdninstagram.com/files/1",
    ):
        assert await channel.download(SHOP, Attachment("image", url), file, 100) == "image/jpeg"
        assert file.getvalue() == b"hielo"
    assert all("authorization" not in entry["headers"] for entry in fake.requests.entries("file"))
    for url in ("https://evil.example/files/1", "https://lookaside.fbsbx.com.evil.example/1", "file:///etc/passwd"):
        with pytest.raises(MediaRefused) as caught:
            await channel.download(SHOP, Attachment("image", url), file, 100)
        assert caught.value.foreign
    with pytest.raises(MediaRefused):
        await channel.download(SHOP, Attachment("image", f"{fake.url}/files/1"), file, 4)


@pytest.mark.parametrize(
    ("login", "host"),
    [({}, INSTAGRAM_URL), ({"login": "instagram"}, INSTAGRAM_URL), ({"login": "facebook"}, GRAPH_URL)],
)
def test_the_login_decides_the_host(login: dict[str, str], host: str) -> None:
    account = Account(1, 1, "instagram", ACCOUNT, {"access_token": "t", **login}, {})
    assert InstagramChannel("", "25.0", 1.0).url(account, "messages") == f"{host}/v25.0/me/messages"
    assert InstagramChannel("http://x/", "25.0", 1.0).url(account, "messages") == "http://x/v25.0/me/messages"
