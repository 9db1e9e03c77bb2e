"""The stand-in of the conversation API over real sockets: each fact of it, in both behaviours where they differ."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.fakes.conversation_api import ConversationApiFake
from tests.fakes.conversation_caller import Caller, stored
from tests.fakes.conversation_documents import Behaviour

ANA, SHOP = "+51999999999", "bodega-sol"
BOT, OTHER_BOT = "64b7f0c2a1d3e4f5a6b7c8d9", "64b7f0c2a1d3e4f5a6b7c8da"


async def test_a_phone_finds_its_tenant_by_exact_match(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session = api.seed(ANA, SHOP, bot_id=BOT)
    call = Caller(http, api)
    data = {"subDomain": SHOP, "botId": BOT, "sessionId": session, "isActive": True}
    expected = {"type": "1", "message": "Tenant information retrieved successfully", "data": data}
    assert await call.tenant() == await call.tenant("+51999999999") == (200, expected)
    for unknown in ("51999999999", "%2B51999999998"):
        status, envelope = await call.tenant(unknown)
        assert (status, envelope["type"], envelope["data"]) == (404, "3", None)
    api.expire(session)
    assert (await call.tenant())[0] == 404


async def test_an_ended_conversation_is_still_found_by_the_observed_server(
    api: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    api.seed(ANA, SHOP, active=False)
    status, envelope = await Caller(http, api).tenant()
    assert (status, envelope["data"] and envelope["data"]["isActive"]) == (
        (404, None) if api.behaviour == "guide" else (200, False)
    )


async def test_the_latest_activity_wins_between_two_bots(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    first, second = api.seed(ANA, SHOP, bot_id=BOT), api.seed(ANA, SHOP, bot_id=OTHER_BOT)
    call = Caller(http, api)
    assert (await call.tenant())[1]["data"]["sessionId"] == second
    await call.sync(first, isActive=True)
    assert (await call.tenant())[1]["data"]["sessionId"] == first
    found = await call("GET", f"/lookup/conversation/%2B51999999999?botId={OTHER_BOT}")
    assert found[1]["data"]["sessionId"] == second


async def test_a_bot_id_of_another_form(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session = api.seed(ANA, SHOP, bot_id="bot123")
    call = Caller(http, api)
    status, envelope = await call("GET", "/lookup/conversation/%2B51999999999?botId=bot123")
    if api.behaviour == "guide":
        assert (status, envelope["data"]["sessionId"]) == (200, session)
    else:
        assert (status, envelope["type"]) == (500, "3")
        assert envelope["message"].startswith('Cast to ObjectId failed for value "bot123"')
    ignored = await call("GET", "/lookup/conversation/%2B51999999999?botId=")
    assert (ignored[0], ignored[1]["data"]["sessionId"]) == (200, session)
    assert (await call("GET", f"/lookup/conversation/%2B51999999999?botId={BOT}"))[0] == 404


async def test_a_sync_merges_key_by_key_and_replaces_what_is_nested(
    api: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session = api.seed(ANA, SHOP, context={"customerName": "Ana", "deliveryAddress": {"street": "A", "city": "Lima"}})
    address = {"street": "B"}
    status, envelope = await Caller(http, api).sync(
        session,
        intent="payment",
        step="processing_payment",
        context={"deliveryAddress": address, "selectedItems": [], "nothing": {}, "nested": {"nothing": {}}},
        metadata={"agentVersion": "1.0.0"},
        isActive=True,
    )
    assert (status, envelope["type"], envelope["data"]["currentIntent"]) == (200, "1", "payment")
    assert envelope["data"]["currentStep"] == "processing_payment"
    document = stored(api, session)
    expected: dict[str, Any] = {"customerName": "Ana", "deliveryAddress": address, "selectedItems": []}
    if api.behaviour == "guide":
        expected |= {"nothing": {}, "nested": {"nothing": {}}}
    assert document["context"] == envelope["data"]["context"] == expected
    assert document["metadata"] == {"agentVersion": "1.0.0"}
    assert document["previousIntent"] == "idle"
    assert "previousStep" not in document


async def test_an_intent_that_it_does_not_know(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session = api.seed(ANA, SHOP)
    for body in ({"intent": "ORDER"}, {"intent": "greeting"}, {"context": {"paymentMethod": "bitcoin"}}):
        before = api.document(session)
        status, envelope = await Caller(http, api).sync(session, step="x", metadata={"a": 1}, isActive=True, **body)
        if api.behaviour == "guide":
            assert status == 200
        else:
            assert (status, envelope["type"], api.document(session)) == (500, "3", before)
            assert "validation failed" in envelope["message"]
    assert len(api.synced(session)) == (3 if api.behaviour == "guide" else 0)


async def test_without_is_active_the_observed_server_makes_it_active(
    api: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session = api.seed(ANA, SHOP, active=False)
    call = Caller(http, api)
    await call.sync(session, intent="order")
    assert stored(api, session)["isActive"] is (api.behaviour == "observed")
    await call.sync(session, isActive=False)
    assert stored(api, session)["isActive"] is False


async def test_a_sync_changes_nothing_else(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session = api.seed(ANA, SHOP)
    before = stored(api, session)
    ignored = {"currentOrderId": "o1", "orderHistory": ["o1"], "expiresAt": "2030-01-01T00:00:00.000Z"}
    status, _ = await Caller(http, api).sync(session, isActive=True, **ignored)
    after = stored(api, session)
    assert status == 200
    assert after.pop("lastActivity") >= before.pop("lastActivity")
    assert after.pop("updatedAt") >= before.pop("updatedAt")
    assert after == before


async def test_the_observed_server_ignores_a_sub_domain(observed: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session = observed.seed(ANA, SHOP)
    assert (await Caller(http, observed).sync(session, subDomain="other", isActive=True))[0] == 200
    assert stored(observed, session)["subDomain"] == SHOP


async def test_what_is_empty_is_absent_in_the_observed_document(
    api: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session = api.seed(ANA, SHOP)
    _, envelope = await Caller(http, api)("GET", "/lookup/conversation/+51999999999")
    assert envelope["data"] == api.document(session)
    assert ({"context", "metadata"} <= envelope["data"].keys()) is (api.behaviour == "guide")
    assert not [key for key in envelope["data"] if key.startswith("previous")]


async def test_messages_are_stored_by_the_guides_server(guide: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session, call = guide.seed(ANA, SHOP), Caller(http, guide)
    for number in range(12):
        await call.post(session, "user", f"q{number}")
        status, envelope = await call.post(session, "bot", f"a{number}")
    context = stored(guide, session)["context"]
    assert (status, envelope["data"]) == (200, {"sessionId": session, "context": context})
    assert [message["content"] for message in context["previousMessages"]] == [
        f"{letter}{number}" for number in range(2, 12) for letter in "qa"
    ]
    assert context["lastUserMessage"] == "q11"
    assert guide.posted(session)[:2] == [("user", "q0"), ("bot", "a0")]


@pytest.mark.parametrize(("context", "kept"), [({}, ["m0"]), ({"customerName": "Ana"}, [])])
async def test_the_observed_server_shows_messages_and_does_not_store_them(
    observed: ConversationApiFake, http: httpx.AsyncClient, context: dict[str, Any], kept: list[str]
) -> None:
    session, call = observed.seed(ANA, SHOP, context=context), Caller(http, observed)
    for number in range(25):
        status, envelope = await call.post(session, "user", f"m{number}")
        assert (status, envelope["data"]["context"]["lastUserMessage"]) == (200, f"m{number}")
        assert envelope["data"]["context"]["previousMessages"][-1]["content"] == f"m{number}"
    left = stored(observed, session)["context"]
    assert [message["content"] for message in left.get("previousMessages", [])] == kept
    assert left.get("lastUserMessage") == (kept[0] if kept else None)
    assert observed.posted(session) == [("user", f"m{number}") for number in range(25)]


async def test_messages_in_a_syncs_context_survive(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session, call = api.seed(ANA, SHOP), Caller(http, api)
    history = [{"role": "user", "content": "hola", "timestamp": "2025-12-29T10:00:00.000Z"}]
    await call.sync(session, context={"previousMessages": history, "lastUserMessage": "hola"}, isActive=True)
    assert stored(api, session)["context"] == {"previousMessages": history, "lastUserMessage": "hola"}


@pytest.mark.parametrize(
    "body", [{"role": "assistant", "content": "x"}, {"role": "user"}, {"role": "bot", "content": ""}]
)
async def test_a_wrong_message_is_refused(
    api: ConversationApiFake, http: httpx.AsyncClient, body: dict[str, str]
) -> None:
    session = api.seed(ANA, SHOP)
    status, envelope = await Caller(http, api)("POST", f"/agent/conversations/{session}/messages", body)
    assert (status, envelope["type"], api.posted(session)) == (400, "3", [])


async def test_an_expired_conversation_takes_writes_until_it_is_deleted(
    api: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session, call = api.seed(ANA, SHOP, expires_in=timedelta(hours=-1)), Caller(http, api)
    expiry = stored(api, session)["expiresAt"]
    assert (await call.sync(session, step="late", isActive=True))[0] == 200
    assert (stored(api, session)["currentStep"], stored(api, session)["expiresAt"]) == ("late", expiry)
    assert (await call.post(session, "user", "x"))[0] == 200
    api.delete(session)
    for status, envelope in (await call.sync(session, isActive=True), await call.post(session, "user", "x")):
        assert (status, envelope["type"]) == (404, "3")
    assert (await call.tenant())[0] == 404


@pytest.mark.parametrize(("behaviour", "survivors"), [("guide", range(30, 31)), ("observed", range(1, 4))])
async def test_concurrent_writes_of_one_session(
    http: httpx.AsyncClient, behaviour: Behaviour, survivors: range
) -> None:
    with ConversationApiFake(behaviour) as api:
        session, call = api.seed(ANA, SHOP), Caller(http, api)
        syncs = [call.sync(session, context={f"key{number}": number}, isActive=True) for number in range(30)]
        answers = await asyncio.gather(*syncs)
        assert {(status, envelope["type"]) for status, envelope in answers} == {(200, "1")}
        assert len(stored(api, session)["context"]) in survivors
        assert (len(api.synced(session)), api.overlaps > 0) == (30, True)


async def test_writes_one_after_the_other_lose_nothing(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    sessions = [api.seed(f"+5190000000{number}", SHOP) for number in range(3)]

    async def write(session: str) -> None:
        for number in range(5):
            await Caller(http, api).sync(session, context={f"key{number}": number}, isActive=True)

    await asyncio.gather(*[write(session) for session in sessions])
    assert [len(stored(api, session)["context"]) for session in sessions] == [5, 5, 5]
    assert api.overlaps == 0
