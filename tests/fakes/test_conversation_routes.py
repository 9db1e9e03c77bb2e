"""The routes that only one behaviour of the conversation API's stand-in has; wrong routes, keys and bodies."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.fakes.conversation_api import ConversationApiFake
from tests.fakes.conversation_caller import Caller, stored
from tests.fakes.conversation_documents import Behaviour

ANA, SHOP = "+51999999999", "bodega-sol"
LEGACY = "/api/v1/conversations"
KEY = "secret-key"


async def test_the_observed_get_shows_all_and_delete_ends(
    observed: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session, call = observed.seed(ANA, SHOP, expires_in=timedelta(hours=-1)), Caller(http, observed)
    for given in (session, "unknown"):
        assert (await call("DELETE", f"/conversations/{given}"))[0] == 200
    status, envelope = await call("GET", f"/conversations/{session}")
    assert (status, envelope["data"]) == (200, observed.document(session))
    assert envelope["data"]["isActive"] is False
    status, envelope = await call("PUT", f"/conversations/{session}/intent", {"intent": "menu", "step": "list"})
    assert (status, envelope["data"]["currentIntent"], envelope["data"]["currentStep"]) == (200, "menu", "list")
    assert (await call("GET", "/conversations/unknown"))[0] == 404


async def test_orders_are_made_anew_each_time(observed: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session, call = observed.seed(ANA, SHOP), Caller(http, observed)
    path, item = f"/conversations/{session}/orders", {"productId": "p", "quantity": 1, "unitPrice": 2, "totalPrice": 2}
    answers = [await call("POST", path, {"items": [item]}) for _ in range(2)]
    assert {status for status, _ in answers} == {200}
    assert len({envelope["data"]["orderId"] for _, envelope in answers}) == len(observed.orders(session)) == 2
    wrong_bodies: list[dict[str, Any]] = [
        {},
        {"items": "p"},
        {"items": []},
        {"items": [item, {"id": "p", "quantity": 1}]},
        {"items": [None]},
    ]
    for wrong in wrong_bodies:
        status, envelope = await call("POST", path, wrong)
        assert (status, envelope["type"]) == (500, "3")
        assert "validation failed" in envelope["message"]
    assert (await call("POST", "/conversations/unknown/orders", {"items": [item]}))[0] == 404


async def test_the_guides_older_routes(guide: ConversationApiFake, http: httpx.AsyncClient) -> None:
    call = Caller(http, guide)
    person = {"userPhone": ANA, "subDomain": SHOP, "localId": "branch01", "botId": "bot123"}
    status, envelope = await call("POST", LEGACY, person)
    session = envelope["data"]["sessionId"]
    assert (status, session.startswith("bot123_51999999999_")) == (201, True)
    assert (await call("POST", LEGACY, person))[1]["data"]["sessionId"] == session
    assert (await call("POST", LEGACY, {"subDomain": SHOP}))[0] == 400

    own = f"{LEGACY}/{session}"
    assert (await call("GET", f"{own}?subDomain={SHOP}"))[1]["data"] == guide.document(session)
    assert (await call("GET", f"{own}?subDomain=other"))[0] == (await call("GET", f"{LEGACY}/unknown"))[0] == 404
    assert (await call("PATCH", f"{own}/intent", {"intent": "order", "step": "cart", "subDomain": SHOP}))[0] == 200
    assert (await call("PATCH", f"{own}/context", {"context": {"a": 1}}))[0] == 200
    assert (await call("PATCH", f"{own}/context", {"context": "x"}))[0] == 400
    assert (await call("POST", f"{own}/messages", {"subDomain": SHOP, "role": "user", "content": "hola"}))[0] == 200
    document = stored(guide, session)
    assert (document["currentIntent"], document["currentStep"], document["localId"]) == ("order", "cart", "branch01")
    assert (document["context"]["a"], document["context"]["lastUserMessage"]) == (1, "hola")


async def test_a_conversation_begins_with_the_servers_own_webhook(
    api: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session = api.inbound(ANA, SHOP, local_id="branch01")
    assert (await Caller(http, api).tenant())[1]["data"]["sessionId"] == session == api.inbound(ANA, SHOP)
    api.expire(session)
    assert api.inbound(ANA, SHOP) != session
    assert len(api.documents()) == 2


@pytest.mark.parametrize(("behaviour", "prefix"), [("guide", "/api/v1/whatsapp"), ("observed", "/wa")])
async def test_a_wrong_route_is_a_404_in_html(http: httpx.AsyncClient, behaviour: Behaviour, prefix: str) -> None:
    with ConversationApiFake(behaviour, prefix=None if behaviour == "guide" else "wa/", api_key=KEY) as api:
        session = api.seed(ANA, SHOP)
        routes = [
            ("GET", f"/api/v1/elsewhere/lookup/tenant/{ANA}"),
            ("POST", f"{prefix}/lookup/tenant/{ANA}"),
            ("GET", f"{prefix}/lookup/tenant/"),
            ("GET", f"{prefix}/agent/conversations/{session}/sync"),
        ]
        if behaviour == "guide":
            routes += [("GET", f"{prefix}/conversations/{session}"), ("DELETE", f"{prefix}/conversations/{session}")]
        else:
            routes += [("POST", LEGACY), ("GET", f"{LEGACY}/{session}"), ("PATCH", f"{LEGACY}/{session}/intent")]
        for method, path in routes:
            answer = await http.request(method, f"{api.url}{path}")
            assert answer.status_code == 404, (method, path)
            assert answer.headers["content-type"].startswith("text/html")
            assert f"Cannot {method} " in answer.text
        assert [entry["status"] for entry in api.requests.entries("unknown")] == [404] * len(routes)


@pytest.mark.parametrize("behaviour", ["guide", "observed"])
async def test_the_guides_server_demands_a_key(http: httpx.AsyncClient, behaviour: Behaviour) -> None:
    with ConversationApiFake(behaviour, api_key=KEY) as api:
        api.seed(ANA, SHOP)
        url = f"{api.url}{api.prefix}/lookup/tenant/{ANA}"
        given = [{}, {"Authorization": "Bearer other"}, {"Authorization": f"Bearer {KEY}"}]
        answers = [await http.get(url, headers=headers) for headers in given]
        expected = [401, 401, 200] if behaviour == "guide" else [200, 200, 200]
        assert [answer.status_code for answer in answers] == expected
        if behaviour == "guide":
            assert answers[0].json() == {"error": "Unauthorized"}
        entries = api.requests.entries()
        assert [entry["authorization"] for entry in entries] == ["none", "wrong", "right"]
        assert [entry["status"] for entry in entries] == expected
        assert KEY not in repr(entries)


async def test_bodies_that_are_too_large_or_broken(api: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session = api.seed(ANA, SHOP)
    url, json = f"{api.url}{api.prefix}/agent/conversations/{session}/sync", {"Content-Type": "application/json"}
    large = await http.put(url, json={"step": "x" * 2_000})
    assert (large.status_code, "PayloadTooLargeError" in large.text) == (413, True)
    for broken in ('{"step": "x"', '"step"'):
        answer = await http.put(url, content=broken, headers=json)
        assert (answer.status_code, "SyntaxError: " in answer.text) == (400, True)
        assert answer.headers["content-type"].startswith("text/html")
    assert "currentStep" not in stored(api, session)
    wrong_parts = await http.put(url, json={"context": "x"})
    assert wrong_parts.status_code == (400 if api.behaviour == "guide" else 500)
    assert (await http.put(url, content='{"step": "x"}')).status_code == 200
    assert "currentStep" not in stored(api, session)


@pytest.mark.parametrize("keep_alive", [0.2, 5.0])
async def test_an_idle_connection_is_closed_by_the_server(keep_alive: float) -> None:
    with ConversationApiFake("observed", keep_alive=keep_alive) as api:
        api.seed(ANA, SHOP)
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(f"GET {api.prefix}/lookup/tenant/{ANA} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}}")
        assert b"200 OK" in head
        try:
            closed = await asyncio.wait_for(reader.read(), timeout=1) == b""
        except TimeoutError:
            closed = False
        assert closed is (keep_alive < 1)
        writer.close()
