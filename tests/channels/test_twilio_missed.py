"""What Twilio keeps of people: files, and messages whose post never arrived."""

import base64
import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recado.channels.base import Attachment, InboundMessage, OutboundMessage
from recado.channels.twilio import channel as twilio
from recado.channels.twilio.channel import TwilioChannel
from recado.errors import AccountRefused, MediaRefused, Permanent, Retryable
from recado.merchants.account import Account
from tests.builders import ANA
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN

SHOP = "+14155238886"
ACCOUNT = Account(1, 1, "twilio", SHOP, {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}, {})
NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=3)
PICTURE = {"content_type": "image/png", "data": base64.b64encode(b"\x89PNG picture").decode()}


@pytest.fixture(scope="module")
def server() -> Iterator[TwilioFake]:
    with running(TwilioFake()) as fake:
        yield fake


@pytest.fixture
def fake(server: TwilioFake) -> TwilioFake:
    server.reset()
    server.apply_script({"statuses": [{"sequence": []}]})
    return server


@pytest.fixture
async def channel(fake: TwilioFake) -> AsyncIterator[TwilioChannel]:
    made = TwilioChannel("https://recado.example", fake.url, 10.0)
    yield made
    await made.close()


async def writes(fake: TwilioFake, body: str = "hola", minutes_ago: float = 0, **fields: Any) -> str:
    given = {"from_": ANA, "to": SHOP, "body": body, "sent_at": NOW - timedelta(minutes=minutes_ago)}
    sid, _ = await fake.people.writes(**given | fields)
    return sid


async def missed(
    channel: TwilioChannel, since: datetime = LONG_AGO, account: Account = ACCOUNT
) -> list[InboundMessage]:
    read = []
    for event in await channel.missed(account, since):
        message = channel.parse(event.payload)
        assert isinstance(message, InboundMessage)
        assert (event.channel, event.address) == ("twilio", SHOP)
        assert event.provider_event_id == message.provider_message_id
        read.append(message)
    return read


async def test_what_was_missed_reads_as_if_it_had_been_posted(fake: TwilioFake, channel: TwilioChannel) -> None:
    sid = await writes(fake, "¿Hacen envíos?\na todo & más", 3)
    assert await missed(channel) == [
        InboundMessage(sid, ANA, ANA, None, "text", "¿Hacen envíos?\na todo & más", sent_at=NOW - timedelta(minutes=3))
    ]


async def test_it_is_in_order_and_only_what_people_sent_to_this_number_since_then(
    fake: TwilioFake, channel: TwilioChannel
) -> None:
    await writes(fake, "too old", 60)
    first = [await writes(fake, str(number), 30) for number in range(3)]  # within one second
    last = await writes(fake, "last", 1)
    middle = await writes(fake, "middle", 10)
    await writes(fake, "to another", 5, to="+14155550000")
    await channel.send(replace(ACCOUNT, address="+14155550000"), OutboundMessage(1, SHOP, "ours"))
    found = await missed(channel, NOW - timedelta(minutes=45))
    assert [message.provider_message_id for message in found] == [*first, middle, last]


async def test_all_pages_are_read(fake: TwilioFake, channel: TwilioChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twilio, "PAGE", 7)
    sids = [await writes(fake, str(number), 60 - number) for number in range(30)]
    assert [message.provider_message_id for message in await missed(channel)] == sids
    assert len(fake.requests.entries("list")) == 5


async def test_of_more_than_one_listing_takes_in_the_newest_are_there(
    fake: TwilioFake, channel: TwilioChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio, "MOST_MISSED", 10)
    sids = [await writes(fake, str(number), 60 - number) for number in range(15)]
    assert [message.provider_message_id for message in await missed(channel)] == sids[5:]


async def test_files_are_there_and_can_be_fetched(fake: TwilioFake, channel: TwilioChannel) -> None:
    await writes(fake, "mira", media=[PICTURE, PICTURE | {"content_type": "audio/ogg"}])
    [message] = await missed(channel)
    assert (message.kind, message.text) == ("image", "mira")
    assert [(each.kind, each.content_type) for each in message.attachments] == [
        ("image", "image/png"),
        ("audio", "audio/ogg"),
    ]
    assert {each.source for each in message.attachments} <= {
        f"https://api.twilio.com{item['uri'].removesuffix('.json')}"
        for heard in fake.people.heard.values()
        for item in heard.media
    }
    file = io.BytesIO()
    assert await channel.download(ACCOUNT, message.attachments[1], file, 100) == "audio/ogg"
    assert file.getvalue() == b"\x89PNG picture"


async def test_what_the_list_does_not_tell_of_is_unsupported(fake: TwilioFake, channel: TwilioChannel) -> None:
    await writes(fake, "", location=(-12.0, -77.0))
    [message] = await missed(channel)
    assert (message.kind, message.text) == ("unsupported", "")


@pytest.mark.parametrize("op", ["list", "media_list"])
@pytest.mark.parametrize(
    ("fault", "kind"), [({"status": 500}, Retryable), ({"code": 20003}, AccountRefused), ({"html": True}, Retryable)]
)
async def test_a_list_that_fails_fails_as_a_whole(
    fake: TwilioFake, channel: TwilioChannel, op: str, fault: dict[str, Any], kind: type[Exception]
) -> None:
    await writes(fake, "mira", media=[PICTURE])
    fake.apply_script({"faults": [{"when": {"op": op}, "fault": fault}]})
    with pytest.raises(kind):
        await channel.missed(ACCOUNT, LONG_AGO)


async def picture(fake: TwilioFake) -> Attachment:
    sid = await writes(fake, media=[PICTURE])
    uri = fake.people.heard[sid].media[0]["uri"].removesuffix(".json")
    return Attachment("image", f"https://api.twilio.com{uri}", "image/png")


async def test_only_the_api_is_given_the_credentials(fake: TwilioFake, channel: TwilioChannel) -> None:
    file = io.BytesIO()
    # The CDN of the fake refuses what brings credentials along.
    assert await channel.download(ACCOUNT, await picture(fake), file, 100) == "image/png"
    login = fake.requests.entries("media")[0]["headers"]["authorization"].removeprefix("Basic ")
    assert base64.b64decode(login).decode() == f"{ACCOUNT_SID}:{AUTH_TOKEN}"


async def test_a_file_that_is_refused_or_gone(fake: TwilioFake, channel: TwilioChannel) -> None:
    source = await picture(fake)
    with pytest.raises(MediaRefused):
        await channel.download(ACCOUNT, source, io.BytesIO(), 5)
    with pytest.raises(Permanent):
        await channel.download(ACCOUNT, replace(source, source=source.source + "0"), io.BytesIO(), 100)
    fake.apply_script({"accounts": {ACCOUNT_SID: "another"}})
    with pytest.raises(AccountRefused):
        await channel.download(ACCOUNT, source, io.BytesIO(), 100)


@pytest.mark.parametrize(
    "source",
    [
        "https://evil.example/x",
        "https://api.twilio.com.evil.example/x",
        "http://api.twilio.com/x",
        "https://twiliocdn.com/x",
        "https://user@api.twilio.com/x",
        "file:///etc/passwd",
        "",
    ],
)
async def test_nothing_is_fetched_from_anywhere_else(fake: TwilioFake, channel: TwilioChannel, source: str) -> None:
    with pytest.raises(MediaRefused) as refused:
        await channel.download(ACCOUNT, Attachment("image", source), io.BytesIO(), 100)
    assert refused.value.foreign
    assert fake.requests.entries() == []
