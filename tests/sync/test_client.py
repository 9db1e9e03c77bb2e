"""The client of the conversation API when all goes well, against both behaviours of the server."""

from collections.abc import AsyncIterator

import pytest

from recado.errors import ConversationGone, SyncRejected, WrongPrefix
from recado.settings import Settings
from recado.sync.client import ConversationStateService
from tests.fakes.conversation_api import ConversationApiFake
from tests.sync.raw_server import DONE, raw_server

ANA = "+51999999999"


@pytest.fixture
async def guide() -> AsyncIterator[tuple[ConversationApiFake, ConversationStateService]]:
    """The server that has the older routes."""
    with ConversationApiFake("guide", api_key="k" * 32) as api:
        async with ConversationStateService(api.url, "k" * 32, prefix=api.prefix, timeout=5, retries=0) as service:
            yield api, service


@pytest.mark.parametrize(
    "given", [ANA, "51999999999", "0051999999999", "+51 999 999 999", "whatsapp:+51999999999", " +51-999-999-999 "]
)
async def test_a_phone_number_is_looked_up_in_e164_form(
    api: ConversationApiFake, service: ConversationStateService, given: str
) -> None:
    session_id = api.seed(ANA, "bodega-sol")

    tenant = await service.lookup_tenant_by_phone(given)

    assert tenant is not None
    assert (tenant.sub_domain, tenant.session_id, tenant.is_active) == ("bodega-sol", session_id, True)
    assert tenant["subDomain"] == "bodega-sol"
    assert "sessionId" in tenant


@pytest.mark.parametrize("given", ["", "Ana", "999", "+1", "PE.1234567890abcdef", "+51999999999999999999"])
async def test_what_is_no_phone_number_is_not_asked_for(
    api: ConversationApiFake, service: ConversationStateService, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await service.lookup_tenant_by_phone(given) is None
    assert await service.get_conversation_by_phone(given) is None
    assert api.requests.entries() == []
    assert "conversation sync error: not a phone number" in capsys.readouterr().out
    with pytest.raises(SyncRejected):
        await service.create_conversation(given, "bodega-sol")


async def test_an_unknown_phone_number_has_no_tenant(
    api: ConversationApiFake, service: ConversationStateService
) -> None:
    api.seed(ANA, "bodega-sol")
    assert await service.lookup_tenant_by_phone("+51999999990") is None
    assert await service.get_conversation_by_phone("+51999999990") is None


async def test_a_conversation_is_found_by_phone_and_bot(
    api: ConversationApiFake, service: ConversationStateService
) -> None:
    bots = {"one": "a" * 24, "two": "b" * 24}
    sessions = {name: api.seed(ANA, name, bot_id=bot, context={"orderTotal": 5}) for name, bot in bots.items()}

    for name, bot in bots.items():
        found = await service.get_conversation_by_phone(ANA, bot)
        assert found is not None
        assert (found.session_id, found.sub_domain, found.bot_id) == (sessions[name], name, bot)
        assert found.context == {"orderTotal": 5}
        assert found.expires_at is not None
        assert found.expires_at.tzinfo is not None


async def test_a_bot_that_the_server_cannot_know_does_not_hide_the_conversation(
    api: ConversationApiFake, service: ConversationStateService
) -> None:
    session_id = api.seed(ANA, "bodega-sol", bot_id="bot123" if api.behaviour == "guide" else None)
    found = await service.get_conversation_by_phone(ANA, "bot123")
    assert found is not None
    assert found.session_id == session_id


async def test_a_state_is_written_and_read(api: ConversationApiFake, service: ConversationStateService) -> None:
    session_id = api.seed(ANA, "bodega-sol", context={"retryCount": 1})

    told = await service.sync_conversation_from_agent(
        session_id,
        "payment",
        "processing_payment",
        {"orderTotal": 50.0, "paymentMethod": "yape"},
        {"agentVersion": "1"},
    )
    found = await service.get_conversation(session_id, "bodega-sol")

    for document in (told, found):
        assert (document.current_intent, document.current_step) == ("payment", "processing_payment")
        assert document.context == {"retryCount": 1, "orderTotal": 50.0, "paymentMethod": "yape"}
    assert found.metadata["agentVersion"] == "1"
    assert api.synced(session_id)[0]["isActive"] is True


@pytest.mark.parametrize(("given", "known"), [("CHECKOUT", "order"), ("Greeting", "idle"), (" faq ", "info")])
async def test_an_intent_goes_as_the_one_that_the_api_knows(
    api: ConversationApiFake, service: ConversationStateService, given: str, known: str
) -> None:
    session_id = api.seed(ANA, "bodega-sol", intent="support")
    assert (await service.sync_conversation_from_agent(session_id, given)).current_intent == known


async def test_an_intent_that_means_nothing_does_not_lose_the_state(
    api: ConversationApiFake, service: ConversationStateService
) -> None:
    session_id = api.seed(ANA, "bodega-sol", intent="support")
    told = await service.sync_conversation_from_agent(session_id, "xyzzy", "asked", {"orderTotal": 5})
    assert (told.current_intent, told.current_step, told.context["orderTotal"]) == ("support", "asked", 5)
    assert "intent" not in api.synced(session_id)[0]


async def test_whether_it_is_active_is_always_said(api: ConversationApiFake, service: ConversationStateService) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    await service.sync_conversation_from_agent(session_id, "idle", is_active=False)
    assert api.synced(session_id)[0] == {"intent": "idle", "isActive": False}
    assert not (await service.get_conversation(session_id)).is_active


async def test_at_most_twenty_messages_are_sent(api: ConversationApiFake, service: ConversationStateService) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    messages = [{"role": "user", "content": str(number), "timestamp": "2026-01-01T00:00:00Z"} for number in range(30)]
    context = {"previousMessages": messages, "orderTotal": 1}

    told = await service.sync_conversation_from_agent(session_id, "idle", context=context)

    assert [message["content"] for message in told.messages] == [str(number) for number in range(10, 30)]
    assert len(context["previousMessages"]) == 30  # type: ignore[arg-type]


async def test_a_message_is_recorded(api: ConversationApiFake, service: ConversationStateService) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    told = await service.add_message_from_agent(session_id, "user", "¿Tienen pan? 🍞")
    assert told.messages[-1]["content"] == "¿Tienen pan? 🍞"
    assert told.context["lastUserMessage"] == "¿Tienen pan? 🍞"
    assert api.posted(session_id) == [("user", "¿Tienen pan? 🍞")]


async def test_ids_and_numbers_are_encoded() -> None:
    async with raw_server(*[DONE] * 3) as raw, ConversationStateService(raw.url, "", prefix="/p") as service:
        await service.sync_conversation_from_agent("bot 5/../é?x#%2F", "idle")
        await service.get_conversation_by_phone(ANA, "a b&c=d")
        await service.get_conversation("s1", "bodega sol")
    assert [line.split()[1] for _, line in raw.requests] == [
        "/p/agent/conversations/bot%205%2F..%2F%C3%A9%3Fx%23%252F/sync",
        "/p/lookup/conversation/%2B51999999999?botId=a+b%26c%3Dd",
        "/p/conversations/s1?subDomain=bodega+sol",
    ]


async def test_one_connection_serves_one_call_after_another() -> None:
    async with raw_server(*[DONE] * 20) as raw, ConversationStateService(raw.url, "", prefix="/p") as service:
        for _ in range(20):
            await service.lookup_tenant_by_phone(ANA)
    assert raw.connections == 1


@pytest.mark.parametrize("session_id", ["", ".", ".."])
async def test_an_empty_session_id_is_no_conversation(
    api: ConversationApiFake, service: ConversationStateService, session_id: str
) -> None:
    with pytest.raises(ConversationGone):
        await service.get_conversation(session_id)
    assert api.requests.entries() == []


async def test_calls_on_a_session_that_is_not_there_say_so(service: ConversationStateService) -> None:
    with pytest.raises(ConversationGone):
        await service.get_conversation("nobody")
    with pytest.raises(ConversationGone):
        await service.sync_conversation_from_agent("nobody", "idle")
    with pytest.raises(ConversationGone):
        await service.add_message_from_agent("nobody", "user", "hola")


async def test_the_route_that_exists_is_remembered(api: ConversationApiFake, service: ConversationStateService) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    for _ in range(3):
        await service.get_conversation(session_id)
    outcomes = [entry["status"] for entry in api.requests.entries()]
    assert outcomes == ([404, 200, 200, 200] if api.behaviour == "guide" else [200, 200, 200])


async def test_the_older_routes(guide: tuple[ConversationApiFake, ConversationStateService]) -> None:
    api, service = guide
    created = await service.create_conversation("51 999 999 999", "bodega-sol", "branch01", "bot7")
    session_id = created.session_id or ""
    assert (created.user_phone, created.sub_domain, created.local_id, created.bot_id) == (
        ANA,
        "bodega-sol",
        "branch01",
        "bot7",
    )

    await service.update_intent(session_id, "CHECKOUT", "cart", "bodega-sol")
    await service.update_context(session_id, {"orderTotal": 9}, "bodega-sol")
    await service.add_message(session_id, "bodega-sol", "user", "hola")

    found = await service.get_conversation(session_id, "bodega-sol")
    assert (found.current_intent, found.current_step, found.context["orderTotal"]) == ("order", "cart", 9)
    assert [message["content"] for message in found.messages] == ["hola"]
    with pytest.raises(ConversationGone):
        await service.get_conversation(session_id, "another")
    assert {entry["authorization"] for entry in api.requests.entries()} <= {"right"}


@pytest.mark.parametrize("running_api", ["observed"], indirect=True)
async def test_older_routes_that_are_missing_are_named(api: ConversationApiFake) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    async with ConversationStateService(api.url, "", prefix=api.prefix, retries=0) as service:
        for call in (
            service.create_conversation(ANA, "bodega-sol"),
            service.update_intent(session_id, "idle", None),
            service.update_context(session_id, {}),
            service.add_message(session_id, "bodega-sol", "user", "hola"),
        ):
            with pytest.raises(WrongPrefix, match="/api/v1/conversations"):
                await call


@pytest.mark.parametrize("running_api", ["observed"], indirect=True)
async def test_orders_and_the_end(api: ConversationApiFake) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    item = {"productId": "p1", "quantity": 2, "unitPrice": 3.5, "totalPrice": 7.0}
    async with ConversationStateService(api.url, "", prefix=api.prefix, retries=0) as service:
        order = await service.create_order(session_id, {"items": [item]})
        with pytest.raises(SyncRejected, match="validation failed"):
            await service.create_order(session_id, {"items": [{"productId": "p1"}]})
        await service.end_conversation(session_id)
        assert not (await service.get_conversation(session_id)).is_active
    assert [placed["orderId"] for placed in api.orders(session_id)] == [order["orderId"]]


async def test_what_is_not_given_comes_from_the_settings(api: ConversationApiFake) -> None:
    api.seed(ANA, "bodega-sol")
    settings = Settings(
        _env_file=None,
        cartaai_api_base_url=f" {api.url}/ ",
        cartaai_api_key=" key ",
        conversation_api_prefix=f"{api.prefix.strip('/')}/",
    )
    async with ConversationStateService.from_settings(settings) as service:
        assert await service.lookup_tenant_by_phone(ANA) is not None
