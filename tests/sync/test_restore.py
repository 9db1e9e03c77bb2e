"""A conversation that this system has not seen goes on where the API says that the person is."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from recado.sync.outbox import RESTORE_SECONDS
from tests.builders import ANA
from tests.sync.desk import SyncDesk

SAID = [
    {"role": "user", "content": "Quiero una pizza", "timestamp": "2026-05-01T11:00:00.000Z"},
    {"role": "bot", "content": "¿De qué tamaño?", "timestamp": "2026-05-01T11:00:05.000Z"},
]
CONTEXT: dict[str, Any] = {
    "selectedItems": [{"id": "p1", "name": "Pizza", "quantity": 1, "price": 15.0, "crust": "thin"}],
    "orderTotal": 15.0,
    "deliveryAddress": {"street": "Av. Larco 1", "city": "Lima", "door": "green"},
    "paymentMethod": "yape",
    "loyaltyTier": "gold",
    "previousMessages": SAID,
    "lastUserMessage": "Quiero una pizza",
}
BEFORE = [("user", "Quiero una pizza"), ("bot", "¿De qué tamaño?")]


async def test_intent_step_order_and_what_was_said_are_taken_over(desk: SyncDesk) -> None:
    desk.knows(intent="order", step="choosing_size", context=CONTEXT)
    conversation_id = await desk.shop.hear("Grande")
    await desk.restore(conversation_id)
    conversation = await desk.conversation(conversation_id)
    assert (conversation.intent, conversation.step) == ("order", "choosing_size")
    assert conversation.summary == "user: Quiero una pizza\nbot: ¿De qué tamaño?"
    assert conversation.api_context == {
        k: v for k, v in CONTEXT.items() if k not in {"previousMessages", "lastUserMessage"}
    }


async def test_what_the_other_side_keeps_is_still_there_after_our_turns(desk: SyncDesk) -> None:
    session_id = desk.knows(intent="order", step="choosing_size", context=CONTEXT)
    conversation_id = await desk.shop.hear("Grande")
    await desk.restore(conversation_id)
    await desk.shop.say(conversation_id, "Grande, anotado.")
    await desk.drain_until_empty()
    document = desk.api.document(session_id)
    assert document is not None
    assert (document["currentIntent"], document["currentStep"]) == ("order", "choosing_size")
    for name in ("selectedItems", "deliveryAddress", "loyaltyTier", "orderTotal", "paymentMethod"):
        assert document["context"][name] == CONTEXT[name]
    assert desk.history(session_id) == [*BEFORE, ("user", "Grande"), ("bot", "Grande, anotado.")]


async def test_a_message_that_the_api_has_seen_itself_stands_there_once(desk: SyncDesk) -> None:
    now = desk.shop.clock.now().isoformat()
    seen = [*SAID, {"role": "user", "content": "Grande", "timestamp": now}]
    session_id = desk.knows(context={"previousMessages": seen})
    conversation_id = await desk.shop.hear("Grande")
    await desk.restore(conversation_id)
    await desk.shop.say(conversation_id, "Grande, anotado.")
    await desk.drain_until_empty()
    assert desk.history(session_id) == [*BEFORE, ("user", "Grande"), ("bot", "Grande, anotado.")]


async def test_the_same_words_of_another_day_stay(desk: SyncDesk) -> None:
    long_ago = (desk.shop.clock.now() - timedelta(days=1)).isoformat()
    seen = [*SAID, {"role": "user", "content": "Grande", "timestamp": long_ago}]
    session_id = desk.knows(context={"previousMessages": seen})
    await desk.turn(("Grande",), ("Anotado.",))
    await desk.drain_until_empty()
    assert desk.history(session_id) == [*BEFORE, ("user", "Grande"), ("user", "Grande"), ("bot", "Anotado.")]


async def test_a_message_without_a_timestamp_goes_back_without_one(desk: SyncDesk) -> None:
    said = [{"role": "user", "content": "Quiero una pizza"}]
    session_id = desk.knows(context={"previousMessages": said})
    await desk.turn(("Grande",), ("Anotado.",))
    await desk.drain_until_empty()
    [synced] = desk.api.synced(session_id)
    assert synced["context"]["previousMessages"][0] == said[0]


async def test_what_a_turn_has_found_out_meanwhile_stands(desk: SyncDesk) -> None:
    desk.knows(intent="order", step="choosing_size", context=CONTEXT)
    conversation_id = await desk.turn(("Hola",), ("¡Hola!",), "info", step="greeted")
    await desk.outbox.drain()
    conversation = await desk.conversation(conversation_id)
    assert (conversation.intent, conversation.step) == ("info", "greeted")
    assert conversation.api_context is not None
    assert conversation.api_context["loyaltyTier"] == "gold"


async def test_it_is_asked_once(desk: SyncDesk) -> None:
    desk.knows()
    conversation_id = await desk.shop.hear("Hola")
    for outbox in (desk.outbox, desk.outbox, desk.new_outbox("second")):
        await outbox.restore(conversation_id, desk.shop.merchant_id)
    assert len(desk.api.requests.entries("lookup_tenant")) == 1


async def test_nobody_waits_for_an_api_that_hangs(desk: SyncDesk) -> None:
    desk.knows(intent="order")
    desk.api.fail(hang=True)
    conversation_id = await desk.shop.hear("Hola")
    start = time.monotonic()
    await desk.outbox.restore(conversation_id, desk.shop.merchant_id)
    assert time.monotonic() - start < 4 * RESTORE_SECONDS  # the call itself is given up after 5 s
    assert (await desk.conversation(conversation_id)).intent is None
    desk.api.clear_faults()
    await asyncio.wait_for(asyncio.gather(*desk.outbox._restoring), 10)  # it comes later, for the next turn
    assert (await desk.conversation(conversation_id)).intent == "order"


async def test_who_refuses_connections_is_not_waited_for(desk: SyncDesk) -> None:
    desk.api.stop()
    conversation_id = await desk.shop.hear("Hola")
    await desk.restore(conversation_id)
    desk.api.start()
    desk.knows(intent="order")
    await desk.drain_until_empty()
    assert (await desk.conversation(conversation_id)).intent == "order"


async def test_a_bot_of_the_merchants_own_tells_which_conversation_is_meant(desk: SyncDesk) -> None:
    mine, theirs = "64b7f0c2a1d3e4f5a6b7c8d9", "64b7f0c2a1d3e4f5a6b7c8da"
    session_id = desk.knows(bot_id=mine, intent="order")
    desk.knows(ANA, "another-shop", bot_id=theirs, intent="payment")  # the latest activity: a plain lookup finds this
    async with desk.shop.conversations() as service:
        _, conversation = await service.open(desk.shop.account, ANA, ANA, "Ana")
        _, _, merchant = await service.repository.get(conversation.id)
        merchant.bot_id = mine
    conversation_id = await desk.shop.hear("Hola")
    await desk.drain_until_empty()
    assert (await desk.conversation(conversation_id)).intent == "order"
    assert desk.api.posted(session_id) == [("user", "Hola")]


@pytest.mark.parametrize("wrong", ["x", 7, [1], {"previousMessages": "x"}, {"previousMessages": [1, {"role": "x"}]}])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_document_of_another_shape_restores_what_it_can(desk: SyncDesk, wrong: Any) -> None:
    step: Any = 7
    desk.knows(intent="order", step=step, context=wrong)
    conversation_id = await desk.shop.hear("Hola")
    await desk.restore(conversation_id)
    conversation = await desk.conversation(conversation_id)
    assert (conversation.intent, conversation.step, conversation.summary) == ("order", None, "")
