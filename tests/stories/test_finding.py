"""What an operator names is found: our number, or the id of a provider, of what came in or went out."""

import pytest
from sqlalchemy import select

from recado.channels.base import Event
from recado.db.engine import Database
from recado.db.models import InboxEvent
from recado.errors import MalformedEvent
from recado.stories.finding import Found, StoredEvent, find_events, find_messages
from tests.builders import ANA
from tests.stories.house import House, make_house
from tests.turns.inbox import Told


async def found(house: House, named: str, sub_domain: str | None = None) -> list[Found]:
    async with house.database.read() as session:
        return await find_messages(session, named, sub_domain)


async def stored(house: House, named: str) -> list[StoredEvent]:
    async with house.database.read() as session:
        return await find_events(session, named)


async def test_by_our_number_and_by_the_ids_of_providers(house: House) -> None:
    message = await house.write("hola", message_id="wamid.HBgL=")
    await house.deliver(ANA)
    mine = Found(message.id, house.shop.merchant_id, "shop")
    assert await found(house, str(message.id)) == [mine]
    assert await found(house, "wamid.HBgL=") == [mine]
    (reply,) = await found(house, "p1")
    assert (reply.message_id, reply.sub_domain) == (2, "shop")
    assert await found(house, "wamid.HBgL=", "shop") == [mine]
    assert await found(house, "wamid.HBgL=", "other") == []
    assert await found(house, str(message.id), "other") == []


@pytest.mark.parametrize(
    "named", ["", "0", "-1", "999", "9" * 40, "wamid", "%", "wamid.HBgL_", "²", "in:simulator:1:", "'"]
)
async def test_what_is_no_message(house: House, named: str) -> None:
    await house.write("hola", message_id="wamid.HBgL=")
    assert await found(house, named) == []


async def test_an_id_that_looks_like_a_number_of_ours(house: House) -> None:
    await house.write("hola")
    message = await house.write("otra", message_id="987654321")
    assert [one.message_id for one in await found(house, "987654321")] == [message.id]


async def test_one_id_at_two_merchants(house: House, database: Database) -> None:
    other = await make_house(database, "other", "+15550200")
    first = await house.write("hola", message_id="same")
    second = await other.write("hola", message_id="same")
    assert [(one.message_id, one.sub_domain) for one in await found(house, "same")] == [
        (first.id, "shop"),
        (second.id, "other"),
    ]
    assert [one.message_id for one in await found(house, "same", "other")] == [second.id]


class Unreadable(Told):
    """A channel that can read nothing."""

    def parse(self, payload: bytes) -> Event:
        raise MalformedEvent("no form of ours")


async def test_events_that_no_message_tells_of(house: House) -> None:
    inbox = house.inbox
    await inbox.intake.accept([inbox.raw(inbox.message("hola"), key="waits")])
    (waits,) = await stored(house, "waits")
    assert (waits.state, waits.error, waits.alerts) == ("received", None, [])
    await inbox.intake.accept([inbox.raw(inbox.message("hola"), "+15559999", key="nobodys")])
    await inbox.ingest.run()
    (nobodys,) = await stored(house, "nobodys")
    assert nobodys.state == "unrouted"
    assert "no channel account has this address" in str(nobodys.error)
    assert nobodys.alerts == ["event_unrouted at 12:00:00 UTC"]
    inbox.channel.__class__ = Unreadable
    await inbox.intake.accept([inbox.raw(inbox.message("hola"), key="dead")])
    await inbox.ingest.run()
    (dead,) = await stored(house, "dead")
    assert (dead.state, dead.error, dead.alerts) == ("dead", "no form of ours", ["event_dead at 12:00:00 UTC"])
    assert await stored(house, "dea") == []
    assert await stored(house, "%") == []


async def test_the_statuses_of_an_id_are_found_with_it(house: House) -> None:
    inbox = house.inbox
    raw = [inbox.raw(inbox.message("x"), key=key) for key in ("SM1:sent", "SM1:read", "SM10:sent", "SM1x")]
    await inbox.intake.accept(raw)
    assert [one.provider_event_id for one in await stored(house, "SM1")] == ["SM1:sent", "SM1:read"]


async def test_what_a_message_tells_of_is_no_event_by_itself(house: House) -> None:
    await house.inbox.write("hola", message_id="in1")
    async with house.database.read() as session:
        event = (await session.scalars(select(InboxEvent))).one()
    assert event.message_id is not None
    assert await stored(house, event.provider_event_id) == []
