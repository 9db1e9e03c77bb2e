"""The four tests of the integration guide's own "Testing" section, against both behaviours of the server.

The observed server makes a conversation only when its own webhook sees a message.
"""

from recado.sync.client import ConversationStateService
from recado.sync.helper import (
    add_message_to_conversation,
    initialize_conversation_for_user,
    sync_graph_state_to_api,
)
from tests.fakes.conversation_api import ConversationApiFake

PHONE = "+51999999999"
TENANT = "restaurant-abc"


def known_to_the_server(api: ConversationApiFake) -> None:
    if api.behaviour == "observed":
        api.inbound(PHONE, TENANT)


async def test_tenant_lookup(configured_api: ConversationApiFake) -> None:
    configured_api.inbound(PHONE, TENANT)
    async with ConversationStateService(api_base_url=configured_api.url, api_key="your-api-key") as service:
        tenant_info = await service.lookup_tenant_by_phone(PHONE)

        assert tenant_info is not None
        assert tenant_info["subDomain"] == TENANT
        assert "sessionId" in tenant_info


async def test_conversation_creation(configured_api: ConversationApiFake) -> None:
    known_to_the_server(configured_api)

    session_id = await initialize_conversation_for_user(user_phone=PHONE, sub_domain=TENANT, local_id="branch01")

    assert session_id is not None
    assert configured_api.document(session_id) is not None


async def test_state_sync(configured_api: ConversationApiFake) -> None:
    configured_api.seed(PHONE, TENANT, session_id="existing-session-id")

    success = await sync_graph_state_to_api(
        session_id="existing-session-id",
        sub_domain=TENANT,
        graph_state={
            "current_intent": "order",
            "order_stage": "cart",
            "cart": {"items": [{"name": "Pizza", "quantity": 1, "price": 15.00}], "total": 15.00},
        },
    )

    assert success is True
    document = configured_api.document("existing-session-id") or {}
    assert (document["currentIntent"], document["currentStep"]) == ("order", "cart")
    assert document["context"] == {
        "selectedItems": [{"name": "Pizza", "quantity": 1, "price": 15.0}],
        "orderTotal": 15.0,
    }


async def test_full_flow(configured_api: ConversationApiFake) -> None:
    known_to_the_server(configured_api)

    session_id = await initialize_conversation_for_user(user_phone=PHONE, sub_domain=TENANT)
    assert session_id is not None
    assert await add_message_to_conversation(session_id, TENANT, role="user", content="Quiero una pizza")
    state = {"current_intent": "order", "order_stage": "selecting"}
    assert await sync_graph_state_to_api(session_id=session_id, sub_domain=TENANT, graph_state=state)
    reply = "¡Perfecto! Te muestro nuestro menú de pizzas"
    assert await add_message_to_conversation(session_id=session_id, sub_domain=TENANT, role="bot", content=reply)

    document = configured_api.document(session_id) or {}
    assert (document["currentIntent"], document["currentStep"]) == ("order", "selecting")
    said = [(message["role"], message["content"]) for message in document["context"]["previousMessages"]]
    assert said == [("user", "Quiero una pizza"), ("bot", reply)]
    assert document["context"]["lastUserMessage"] == "Quiero una pizza"
    assert configured_api.posted(session_id) == said
