"""The conversation API around people's own handlers."""

from typing import Any

import pytest

from recado.sync.client import ConversationStateService
from recado.sync.middleware import ConversationMiddleware, auto_sync_state, track_messages
from tests.fakes.conversation_api import ConversationApiFake

ANA = "+51999999999"
SHOP = "bodega-sol"


async def test_a_turn_within_the_context_manager(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.inbound(ANA, SHOP)

    async with ConversationMiddleware(ANA, SHOP, local_id="branch01") as conversation:
        assert conversation.session_id == session_id
        assert await conversation.add_user_message("Quiero una pizza")
        assert await conversation.sync_state({"current_intent": "order", "order_stage": "cart"})
        assert await conversation.add_bot_message("¡Perfecto!")
        assert await conversation.link_order("12")
        state = await conversation.restore_state({"scratch": 1})

    assert state is not None
    assert (state["current_intent"], state["current_step"], state["order_id"]) == ("order", "cart", "12")
    assert [message["role"] for message in state["messages"]] == ["user", "assistant"]
    assert state["scratch"] == 1


async def test_without_a_session_nothing_happens(configured_api: ConversationApiFake) -> None:
    async with ConversationMiddleware("PE.123", SHOP) as conversation:
        assert conversation.session_id is None
        assert not await conversation.add_user_message("x")
        assert not await conversation.add_bot_message("x")
        assert not await conversation.sync_state({})
        assert not await conversation.link_order("1")
        assert await conversation.restore_state({"a": 1}) is None
    assert configured_api.requests.entries() == []


class CountedService(ConversationStateService):
    """Counts how often it is closed."""

    closed = 0

    async def aclose(self) -> None:
        self.closed += 1
        await super().aclose()


async def test_an_exception_of_the_body_passes(configured_api: ConversationApiFake) -> None:
    configured_api.inbound(ANA, SHOP)
    service = CountedService()

    async def fail() -> None:
        async with ConversationMiddleware(ANA, SHOP, service=service) as conversation:
            assert conversation.session_id
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert service.closed == 0
    await service.aclose()


@auto_sync_state
@track_messages
async def handle(message_text: str, session_id: str | None, sub_domain: str = SHOP, **more: Any) -> dict[str, Any]:
    """A handler of somebody's own."""
    return {"response": f"{message_text}!", "current_intent": "menu", **more}


async def test_both_decorators(configured_api: ConversationApiFake) -> None:
    session_id = configured_api.inbound(ANA, SHOP)

    result = await handle("hola", session_id, order_id="5")

    assert result == {"response": "hola!", "current_intent": "menu", "order_id": "5"}
    document = configured_api.document(session_id) or {}
    said = [(message["role"], message["content"]) for message in document["context"]["previousMessages"]]
    assert said == [("user", "hola"), ("bot", "hola!")]
    assert (document["currentIntent"], document["context"]["currentOrderId"]) == ("menu", "5")
    assert handle.__doc__ == "A handler of somebody's own."


@pytest.mark.parametrize("session_id", [None, ""])
async def test_without_a_session_the_handler_just_runs(
    configured_api: ConversationApiFake, session_id: str | None
) -> None:
    assert (await handle("hola", session_id))["response"] == "hola!"
    assert configured_api.requests.entries() == []


async def test_a_reply_may_be_a_text_and_arguments_may_be_named(configured_api: ConversationApiFake) -> None:
    @track_messages
    async def echo(text: str, **session: str) -> str:
        return text.upper()

    session_id = configured_api.inbound(ANA, SHOP)
    assert await echo(text="hola", session_id=session_id, sub_domain=SHOP) == "HOLA"
    assert configured_api.posted(session_id) == [("user", "hola"), ("bot", "HOLA")]


async def test_other_results_and_calls_are_the_handlers_own(configured_api: ConversationApiFake) -> None:
    @auto_sync_state
    @track_messages
    async def silent(session_id: str, sub_domain: str) -> None: ...

    session_id = configured_api.inbound(ANA, SHOP)
    await silent(session_id, SHOP)
    with pytest.raises(TypeError):
        await silent(session_id)  # type: ignore[call-arg]
    assert configured_api.requests.entries() == []


async def test_a_handler_that_fails_has_its_message_recorded(configured_api: ConversationApiFake) -> None:
    @track_messages
    async def fails(session_id: str, sub_domain: str, message: str) -> str:
        raise ZeroDivisionError

    session_id = configured_api.inbound(ANA, SHOP)
    with pytest.raises(ZeroDivisionError):
        await fails(session_id, SHOP, "hola")
    assert configured_api.posted(session_id) == [("user", "hola")]
