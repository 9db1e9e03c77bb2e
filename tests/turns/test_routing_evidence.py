"""What decides whose a message is besides the conversation API: a quote, the staff, an account that is left alone."""

from dataclasses import replace
from typing import Any

import pytest

from recado.db.engine import Database
from recado.db.models import Delivery
from tests.builders import ANA, ROSA, apply_specs, make_shop, merchant_spec
from tests.conversations.post import Post
from tests.turns.shared_desk import SharedDesk, shared_desk, sharing

STAFF = [{"name": "Rosa", "phone": ROSA, "types": ["admin"]}]


@pytest.fixture
async def desk(database: Database) -> SharedDesk:
    return await shared_desk(database, "uno", "dos", "tres")


class Nameless:
    """A channel on which people hide their phone numbers."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def parse(self, payload: bytes) -> Any:
        return replace(self._inner.parse(payload), channel_user_id="PE.1234567890", phone=None)


async def test_who_hides_their_phone_goes_to_the_oldest_account_unasked(desk: SharedDesk) -> None:
    desk.api.knows[ANA] = "tres"
    desk.channels["simulator"] = Nameless(desk.channels["simulator"])
    desk.routing = desk.new_routing(default="dos")
    assert await desk.take(desk.message("hola")) == ["done"]
    assert await desk.heard("uno") == ["hola"]
    assert desk.api.asked == []


async def test_staff_whom_the_api_does_not_know_reach_their_merchant(database: Database, desk: SharedDesk) -> None:
    await apply_specs(database, sharing("dos", staff=STAFF), sharing("tres"))
    desk.routing = desk.new_routing(default="uno")
    assert await desk.take(desk.message("NOTIF_1: sí", ROSA)) == ["done"]
    assert await desk.heard("dos") == ["NOTIF_1: sí"]


async def test_staff_of_several_answer_whom_they_last_spoke_with(database: Database, desk: SharedDesk) -> None:
    await apply_specs(database, sharing("dos", staff=STAFF), sharing("tres", staff=STAFF))
    await desk.take(desk.message("hola", ROSA))
    talk = await desk.shops["tres"].open(ROSA, "Rosa")
    await desk.shops["tres"].say(talk, "NOTIF_1: ¿Hacen envíos?")
    await desk.take(desk.message("sí", ROSA))
    assert (await desk.heard("dos"), await desk.heard("tres")) == (["hola"], ["sí"])


async def test_what_is_quoted_decides_before_anything_else(desk: SharedDesk) -> None:
    """The merchant whose message it is must get the answer; the API may have flipped to another one meanwhile."""
    desk.api.knows[ANA] = "uno"
    shop = desk.shops["tres"]
    talk = await shop.hear("hola")
    await shop.say(talk, "¿Le llegó su pedido?")
    await Post(shop).deliver(talk)
    await desk.take(desk.message("sí", reply_to="p1"), desk.message("gracias", reply_to="nobody's"))
    assert (await desk.heard("tres"), await desk.heard("uno")) == (["hola", "sí", "gracias"], [])
    await desk.take(desk.message("otra cosa", reply_to="nobody's"))
    assert await desk.heard("uno") == ["otra cosa"]


async def test_what_another_number_sent_decides_nothing(database: Database, desk: SharedDesk) -> None:
    solo = await make_shop(database, "solo", "+15550200")
    talk = await solo.hear("hola")
    await solo.say(talk, "buenas")
    await Post(solo).deliver(talk)
    desk.api.knows[ANA] = "dos"
    assert await desk.take(desk.message("sí", reply_to="p1")) == ["done"]
    assert await desk.heard("dos") == ["sí"]


async def test_a_status_moves_the_delivery_of_whichever_merchant(desk: SharedDesk) -> None:
    sent = []
    for shop in (desk.shops["uno"], desk.shops["tres"]):
        talk = await shop.hear("hola")
        await shop.say(talk, "buenas")
        sent += await shop.deliveries(talk)
    other = await make_shop(desk.database, "solo", "+15550200")
    foreign = await other.hear("hola")
    await other.say(foreign, "buenas")
    sent += await other.deliveries(foreign)
    states = await desk.take(*(desk.status(delivery.id) for delivery in sent), desk.status(999_999))
    assert states == ["done"] * 4
    merchants = [row.merchant_id for row in await desk.events()]
    assert merchants == [desk.shops["uno"].merchant_id, desk.shops["tres"].merchant_id, None, None]
    async with desk.database.read() as session:
        now = [(await session.get_one(Delivery, delivery.id)).state for delivery in sent]
    assert now == ["read", "read", "pending"], "what another number sent is not this one's"
    assert desk.api.asked == []


async def test_when_one_merchant_is_left_everything_is_theirs(database: Database, desk: SharedDesk) -> None:
    assert await desk.take(desk.message("hola")) == ["unrouted"]
    for name in ("uno", "tres"):
        await apply_specs(database, merchant_spec(name, f"+1555020{len(name)}"))
    desk.clock.forward(minutes=1)
    assert await desk.take(desk.message("otra")) == ["done", "done"]
    assert await desk.heard("dos") == ["hola", "otra"]
    assert desk.api.asked == [ANA]


async def test_a_merchant_that_goes_before_its_message_is_taken_in_does_not_get_it(
    database: Database, desk: SharedDesk
) -> None:
    desk.api.knows[ANA] = "dos"
    await desk.intake.accept([desk.message("hola")])
    await desk.ingest.run()
    await desk.routing.run(1)
    assert [(row.state, row.merchant_id) for row in await desk.events()] == [
        ("received", desk.shops["dos"].merchant_id)
    ]
    await apply_specs(database, merchant_spec("dos", "+15550200"))
    desk.clock.forward(hours=1)
    desk.api.knows[ANA] = "tres"
    await desk.work()
    assert (await desk.heard("dos"), await desk.heard("tres")) == ([], ["hola"])
