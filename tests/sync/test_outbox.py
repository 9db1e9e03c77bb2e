"""The outbox, drained into the API in both of its behaviours, on both databases."""

from datetime import timedelta

import pytest

from recado.db.engine import Database
from recado.intents import Progress
from tests.builders import ANA, BETO, LUIS
from tests.fakes.conversation_api import ConversationApiFake
from tests.notifications.desk import counted
from tests.sync.desk import SyncDesk


async def test_a_turn_arrives_whole(desk: SyncDesk) -> None:
    session_id = desk.knows()
    await desk.turn(("Hola", "¿Tienen pan?"), ("Sí, hay pan.",), "info", step="answered")
    await desk.outbox.drain()

    assert await desk.waiting() == 0
    told = [("user", "Hola"), ("user", "¿Tienen pan?"), ("bot", "Sí, hay pan.")]
    assert desk.api.posted(session_id) == told
    assert desk.history(session_id) == told
    document = desk.api.document(session_id)
    assert document is not None
    assert (document["currentIntent"], document["currentStep"], document["isActive"]) == ("info", "answered", True)
    assert document["context"]["lastUserMessage"] == "¿Tienen pan?"
    assert document["context"]["customerName"] == "Ana"
    assert document["metadata"]["platform"] == "simulator"
    assert document["metadata"]["language"] == "es"
    assert document["metadata"]["agentProcessedAt"].startswith("2026-05-01T12:00:00")


async def test_only_the_last_twenty_messages_are_kept_there_and_none_is_left_out_on_the_way(desk: SyncDesk) -> None:
    session_id = desk.knows()
    told = []
    for number in range(12):
        await desk.turn((f"pregunta {number}",), (f"respuesta {number}",))
        told += [("user", f"pregunta {number}"), ("bot", f"respuesta {number}")]
    await desk.drain_until_empty()
    assert desk.api.posted(session_id) == told
    assert desk.history(session_id) == told[-20:]


async def test_each_step_in_between_is_told_in_order(desk: SyncDesk) -> None:
    session_id = desk.knows()
    passed: list[Progress] = [{"intent": "menu", "step": "looking"}, {"intent": "order", "step": "choosing"}]
    await desk.turn(intent="payment", step="paying", passed=passed)
    await desk.outbox.drain()
    told = [(body["intent"], body["step"]) for body in desk.api.synced(session_id)]
    assert told == [("menu", "looking"), ("order", "choosing"), ("payment", "paying")]


async def test_a_backlog_of_over_a_hundred_is_told_with_its_last_state_and_every_message(desk: SyncDesk) -> None:
    session_id = desk.knows()
    for number in range(40):
        await desk.turn((f"pregunta {number}",), (f"respuesta {number}",), step=f"step_{number}")
    assert await desk.waiting() == 120
    await desk.drain_until_empty()
    assert len(desk.api.posted(session_id)) == 80
    assert await desk.count("merged") == 39
    assert [body["step"] for body in desk.api.synced(session_id)] == ["step_39"]
    assert desk.history(session_id) == desk.api.posted(session_id)[-20:]


async def test_a_hundred_are_told_one_by_one(desk: SyncDesk) -> None:
    session_id = desk.knows()
    for number in range(33):
        await desk.turn(step=f"step_{number}")
    await desk.drain_until_empty()
    assert await desk.count("merged") == 0
    assert [body["step"] for body in desk.api.synced(session_id)] == [f"step_{number}" for number in range(33)]


async def test_who_is_new_to_the_api_is_created_there_or_waited_for(desk: SyncDesk) -> None:
    await desk.turn()
    await desk.outbox.drain()
    if desk.api.behaviour == "guide":
        [document] = desk.api.documents()
        assert (document["subDomain"], document["localId"]) == ("shop", "branch01")
        session_id = str(document["sessionId"])
    else:
        assert await desk.waiting() == 3
        [session] = await desk.sessions()
        assert session.error == "the API has no conversation of this person yet"
        session_id = desk.api.inbound(ANA, "shop")  # its own webhook has seen them
        await desk.outbox.drain()
        assert await desk.waiting() == 3  # not asked again so soon
        desk.shop.clock.forward(seconds=10)
        await desk.outbox.drain()
    assert await desk.waiting() == 0
    assert desk.history(session_id) == [("user", "Hola"), ("bot", "¡Hola!")]


async def test_another_merchants_conversation_of_the_same_person_is_left_alone(desk: SyncDesk) -> None:
    foreign = desk.knows(ANA, "another-shop")
    before = desk.api.document(foreign)
    await desk.turn()
    await desk.outbox.drain()
    assert desk.api.document(foreign) == before
    assert desk.api.posted(foreign) == []


async def test_a_conversation_that_is_gone_is_looked_up_again(desk: SyncDesk) -> None:
    old = desk.knows()
    await desk.turn(("uno",), ("dos",))
    await desk.outbox.drain()
    desk.api.delete(old)
    new = desk.api.inbound(ANA, "shop")
    await desk.turn(("tres",), ("cuatro",))
    await desk.outbox.drain()
    assert await desk.waiting() == 0
    assert desk.api.posted(new) == [("user", "tres"), ("bot", "cuatro")]
    assert desk.history(new) == [("user", "uno"), ("bot", "dos"), ("user", "tres"), ("bot", "cuatro")]


async def test_what_is_said_while_the_conversation_is_gone_goes_to_the_next_one(desk: SyncDesk) -> None:
    old = desk.knows()
    await desk.turn(("uno",), ("dos",))
    await desk.outbox.drain()
    desk.api.delete(old)
    await desk.turn(("tres",), ("cuatro",))
    await desk.outbox.drain()
    if desk.api.behaviour == "observed":
        assert await desk.waiting() == 3
        desk.api.inbound(ANA, "shop")
        desk.shop.clock.forward(minutes=1)
        await desk.outbox.drain()
    [document] = desk.api.documents()
    assert await desk.waiting() == 0
    assert desk.api.posted(str(document["sessionId"])) == [("user", "tres"), ("bot", "cuatro")]


async def test_a_session_that_has_expired_is_looked_up_before_it_is_used(desk: SyncDesk) -> None:
    old = desk.knows(expires_in=timedelta(hours=1))
    await desk.turn(("uno",), ("dos",))
    await desk.outbox.drain()
    desk.api.expire(old)
    new = desk.api.inbound(ANA, "shop")
    assert new != old
    desk.shop.clock.forward(hours=2)
    await desk.turn(("tres",), ("cuatro",))
    await desk.outbox.drain()
    assert desk.api.posted(new) == [("user", "tres"), ("bot", "cuatro")]
    assert desk.api.posted(old) == [("user", "uno"), ("bot", "dos")]


async def test_an_ended_conversation_is_not_revived_by_what_the_shop_says(desk: SyncDesk) -> None:
    session_id = desk.knows(active=False)
    conversation_id = await desk.shop.open()
    await desk.shop.say(conversation_id, "Su pedido está listo.")
    await desk.outbox.drain()
    document = desk.api.document(session_id)
    if document is not None and await desk.waiting() == 0 and desk.api.posted(session_id):
        assert document["isActive"] is False
        await desk.turn(("Gracias",), ("De nada.",))
        await desk.outbox.drain()
        document = desk.api.document(session_id)
        assert document is not None
        assert document["isActive"] is True


async def test_an_order_is_linked_beside_those_that_are_there(desk: SyncDesk) -> None:
    session_id = desk.knows(context={"orderHistory": ["order-1"], "currentOrderId": "order-1", "coupon": "SOL10"})
    conversation_id = await desk.turn()
    for order_id in ("order-2", "order-2", "order-3"):
        async with desk.shop.conversations() as service:
            await service.link_order(conversation_id, order_id)
    await desk.outbox.drain()
    document = desk.api.document(session_id)
    assert document is not None
    assert document["context"]["orderHistory"] == ["order-1", "order-2", "order-3"]
    assert document["context"]["currentOrderId"] == "order-3"
    assert document["context"]["coupon"] == "SOL10"
    assert document["currentIntent"] == "info"


async def test_what_staff_write_and_who_has_no_number_stay_here(desk: SyncDesk, api: ConversationApiFake) -> None:
    desk.knows(LUIS)
    await desk.turn(("NOTIF_1: sí",), ("Gracias, Luis.",), phone=LUIS)
    async with desk.shop.conversations() as service:
        contact, conversation = await service.open(desk.shop.account, "user:abc", None, "Sin número")
    await desk.shop.say(conversation.id, "Hola")
    await desk.outbox.drain()
    assert contact.phone is None
    assert await desk.waiting() == 0
    assert await desk.count("skipped") == 5
    assert api.requests.entries() == []


async def test_conversations_from_before_are_taken_on(desk: SyncDesk, database: Database) -> None:
    session_id = desk.knows(BETO)
    off = Database(database.url.render_as_string(hide_password=False))
    on, desk.shop.database = desk.shop.database, off
    conversation_id = await desk.shop.hear("Antes", BETO)
    desk.shop.database = on
    await off.close()
    assert await desk.entries(conversation_id) == []
    await desk.outbox.open_missing()
    await desk.outbox.open_missing()
    await desk.turn(("Ahora",), ("Sí.",), phone=BETO)
    await desk.outbox.drain()
    assert desk.api.posted(session_id) == [("user", "Ahora"), ("bot", "Sí.")]


@pytest.mark.parametrize("kind", ["image", "audio"])
async def test_what_is_no_text_is_named(desk: SyncDesk, kind: str) -> None:
    session_id = desk.knows()
    await desk.shop.hear("Mira", kind=kind)
    await desk.shop.hear("", kind=kind)
    await desk.shop.hear("   ")
    await desk.outbox.drain()
    assert desk.api.posted(session_id) == [("user", f"[{kind}] Mira"), ("user", f"[{kind}]")]
    assert await desk.waiting() == 0


async def test_telling_for_twenty_people_takes_no_more_statements_than_for_one(desk: SyncDesk) -> None:
    phones = [f"+5191100{number:04}" for number in range(20)]
    for phone in phones:
        desk.knows(phone)
        await desk.turn(phone=phone)
    await desk.outbox.drain()  # links them
    told = []
    for some in (phones[:1], phones):
        for phone in some:
            await desk.turn(phone=phone)
        with counted(desk.shop.database) as seen:
            await desk.outbox.drain()
        told.append([words[0] for words in map(str.split, seen) if words[0] in {"SELECT", "UPDATE", "INSERT"}])
    assert await desk.waiting() == 0
    # Take the sessions, their entries, mark them; then what was told, and the sessions let go.
    assert told == [["SELECT", "UPDATE", "SELECT", "UPDATE", "UPDATE"]] * 2
