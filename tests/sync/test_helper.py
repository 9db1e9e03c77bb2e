"""The conversation API for people's own code, when it is there."""

import asyncio

import pytest

from recado.sync.client import ConversationStateService
from recado.sync.helper import (
    add_message_to_conversation,
    initialize_conversation_for_user,
    link_order_to_conversation,
    sync_api_state_to_graph,
    sync_graph_state_to_api,
)
from tests.fakes.conversation_api import ConversationApiFake

ANA = "+51999999999"
SHOP = "bodega-sol"


async def test_the_session_that_there_is_is_taken(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.inbound(ANA, SHOP)
    assert await initialize_conversation_for_user("51 999 999 999", SHOP) == session_id
    assert len(configured_api.documents()) == 1


async def test_a_session_with_another_tenant_is_never_taken(
    configured_api: ConversationApiFake, capsys: pytest.CaptureFixture[str]
) -> None:
    other = configured_api.inbound(ANA, "another")

    found = await initialize_conversation_for_user(ANA, SHOP, "branch01")

    assert found != other
    if configured_api.behaviour == "observed":
        assert found is None
        written = capsys.readouterr().out
        assert "no tenant found for phone" in written
        assert ANA not in written
    else:
        document = configured_api.document(found or "") or {}
        assert (document["subDomain"], document["localId"], document["userPhone"]) == (SHOP, "branch01", ANA)


async def test_the_bot_decides_where_it_is_known(configured_api: ConversationApiFake) -> None:
    first = configured_api.seed(ANA, SHOP, bot_id="a" * 24)
    second = configured_api.seed(ANA, SHOP, bot_id="b" * 24)
    assert await initialize_conversation_for_user(ANA, SHOP, bot_id="a" * 24) == first
    assert await initialize_conversation_for_user(ANA, SHOP, bot_id="b" * 24) == second


async def test_a_bot_of_another_tenant_does_not_help(configured_api: ConversationApiFake) -> None:
    other = configured_api.seed(ANA, "another", bot_id="a" * 24)
    assert await initialize_conversation_for_user(ANA, SHOP, bot_id="a" * 24) != other


async def test_a_bot_by_another_name_does_not_matter(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.inbound(ANA, SHOP)
    assert await initialize_conversation_for_user(ANA, SHOP, bot_id="bot-7") == session_id


async def test_a_given_service_is_used_and_left_open(
    configured_api: ConversationApiFake, service: ConversationStateService
) -> None:
    session_id = await initialize_conversation_for_user(ANA, SHOP, service=service) or configured_api.inbound(ANA, SHOP)
    for _ in range(2):
        assert await sync_graph_state_to_api(session_id, SHOP, {"current_intent": "menu"}, service=service)


async def test_what_the_api_knows_comes_back(configured_api: ConversationApiFake) -> None:
    context = {"orderTotal": 15, "previousMessages": [{"role": "user", "content": "hola", "timestamp": "t"}]}
    session_id = configured_api.seed(ANA, SHOP, intent="payment", context=context)

    assert await sync_api_state_to_graph(session_id, SHOP) == {
        "current_intent": "payment",
        "cart": {"items": [], "total": 15},
        "messages": [{"role": "user", "content": "hola", "timestamp": "t"}],
    }
    own = {"current_intent": "menu", "language": "es", "messages": ["mine"], "scratch": 1}
    assert await sync_api_state_to_graph(session_id, SHOP, own) == {
        "current_intent": "payment",
        "cart": {"items": [], "total": 15},
        "messages": ["mine"],
        "language": "es",
        "scratch": 1,
    }


async def test_another_tenants_conversation_is_neither_read_nor_linked(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.seed(ANA, "another", context={"orderTotal": 15})
    assert await sync_api_state_to_graph(session_id, SHOP) is None
    assert await link_order_to_conversation(session_id, SHOP, "1") is False
    assert configured_api.synced(session_id) == []


async def test_all_messages_are_kept_in_order(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.seed(ANA, SHOP, context={"orderTotal": 15})
    said = [("user", "hola"), ("assistant", "¿sí?"), ("user", "sí"), ("user", "sí"), ("admin", "listo")]

    for role, content in said:
        assert await add_message_to_conversation(session_id, SHOP, role, content)

    context = (configured_api.document(session_id) or {})["context"]
    kept = [(message["role"], message["content"]) for message in context["previousMessages"]]
    assert kept == [("user" if role == "user" else "bot", content) for role, content in said]
    assert (context["lastUserMessage"], context["orderTotal"]) == ("sí", 15)
    assert configured_api.posted(session_id) == kept


async def test_a_message_does_not_wake_a_conversation_that_has_ended(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.seed(ANA, SHOP, context={"orderTotal": 15}, active=False)
    assert await add_message_to_conversation(session_id, SHOP, "bot", "adiós")
    assert await link_order_to_conversation(session_id, SHOP, "1")
    assert (configured_api.document(session_id) or {})["isActive"] is False


async def test_writes_to_one_session_come_one_at_a_time(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.seed(ANA, SHOP, context={"retryCount": 1})
    overlaps = configured_api.overlaps
    texts = [f"text {number}" for number in range(6)]

    done = await asyncio.gather(
        *(add_message_to_conversation(session_id, SHOP, "user", text) for text in texts),
        *(link_order_to_conversation(session_id, SHOP, str(number)) for number in range(6)),
        *(sync_graph_state_to_api(session_id, SHOP, {"payment_method": "yape"}) for _ in range(3)),
    )

    assert all(done)
    assert configured_api.overlaps == overlaps
    context = (configured_api.document(session_id) or {})["context"]
    assert sorted(message["content"] for message in context["previousMessages"]) == texts
    assert sorted(context["orderHistory"]) == ["0", "1", "2", "3", "4", "5"]
    assert context["currentOrderId"] == context["orderHistory"][-1]
    assert (context["paymentMethod"], context["retryCount"]) == ("yape", 1)


async def test_an_order_is_linked_once(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.seed(ANA, SHOP, context={"orderHistory": ["1", {"orderId": "2", "total": 5}]})

    for order in ("2", "3", "3"):
        assert await link_order_to_conversation(session_id, SHOP, order)

    context = (configured_api.document(session_id) or {})["context"]
    assert context["orderHistory"] == ["1", {"orderId": "2", "total": 5}, "3"]
    assert context["currentOrderId"] == "3"
    assert len(configured_api.synced(session_id)) == 2
