"""The real server kept in step with the conversation API, whose stand-in behaves as documented or as it was seen to."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.kept import KEY, PLATFORM_KEY, Kept, settings
from tests.e2e.world import ALL_SHOPS, answer, ask, query, says, tool, until, when
from tests.fakes.conversation_api import ConversationApiFake


@pytest.fixture(scope="module", params=["guide", "observed"])
def kept(request: pytest.FixtureRequest, start_world: StartWorld) -> Iterator[Kept]:
    """A server in step with an API of each behaviour; each test has a shop of its own."""
    with ConversationApiFake(request.param, api_key=KEY) as api:
        yield Kept(start_world(settings(api)), api)


def test_a_question_and_its_answer_arrive_in_order(kept: Kept) -> None:
    shop, world = ALL_SHOPS[0], kept.world
    ana, question = shop.customer(1), "¿Tienen panetón sin gluten?"
    kept.known(shop, ana)
    world.openai.apply_script(
        [
            when("hola", says("¡Hola, Ana!", "idle", "greeted"), tool="request_notification"),
            when(question, ask(question, message="Le pregunto al equipo."), tool="request_notification"),
            {"when": {"tool": "answer_notification"}, "reply": answer("NOTIF_1", "Llega el viernes.")},
            {"when": {"contains": "Llega el viernes."}, "reply": {"content": "Sí: llega este viernes."}},
        ]
    )
    world.inbound(shop, ana, "hola", profile_name="Ana")
    world.gets(ana)
    world.inbound(shop, ana, question, profile_name="Ana")
    world.gets(shop.rosa)
    kept.in_step()
    assert (kept.document(ana)["currentIntent"], kept.document(ana)["currentStep"]) == ("info", "waiting_for_team")
    world.inbound(shop, shop.rosa, "Llega el viernes.")
    world.gets(ana, 3)
    world.gets(shop.rosa, 2)
    kept.in_step()
    whole = [
        ("user", "hola"),
        ("bot", "¡Hola, Ana!"),
        ("user", question),
        ("bot", "Le pregunto al equipo."),
        ("bot", "Sí: llega este viernes."),
    ]
    assert kept.history(ana) == kept.posted(ana) == whole
    assert kept.states(ana) == [("idle", "greeted"), ("info", "waiting_for_team"), ("info", "answered")]
    document = kept.document(ana)
    assert (document["subDomain"], document["isActive"]) == ("bodega-0", True)
    assert document["context"]["lastUserMessage"] == question
    assert document["context"]["customerName"] == "Ana"
    assert {"agentVersion", "language", "platform"} <= set(document["metadata"])
    kept.assert_no_staff(shop)
    assert kept.api.overlaps == 0
    assert {entry["authorization"] for entry in kept.api.requests.entries()} == {"right"}


def test_support_is_its_own_intent(kept: Kept) -> None:
    shop, world = ALL_SHOPS[1], kept.world
    ana, reason = shop.customer(1), "Mi pedido llegó roto"
    kept.known(shop, ana)
    request = tool("request_support", reason=reason, language="es", message_to_customer="Lo siento, aviso al equipo.")
    given = {"agent_response_to_customer": "Le enviamos otro.", "resolution_notes": "never for customers"}
    taken = tool(
        "answer_notification",
        notification_id="",
        answer_json=str(given).replace("'", '"'),
        message_to_staff="Se lo digo.",
    )

    def brain(body: dict[str, Any]) -> dict[str, Any]:
        offered = [offer["function"]["name"] for offer in body.get("tools") or []]
        if "request_support" in offered:
            return request
        if "answer_notification" in offered:
            [row] = query(world.server, "SELECT max(id) AS id FROM notifications")
            taken["tool_calls"][0]["arguments"]["notification_id"] = f"NOTIF_{row['id']}"
            return taken
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        return (
            {"content": dict.fromkeys(schema["properties"], "returns")} if schema else {"content": "Le enviamos otro."}
        )

    world.openai.brain = brain
    world.inbound(shop, ana, reason)
    world.gets(shop.luis)
    kept.in_step()
    world.inbound(shop, shop.luis, "Le enviamos otro.")
    world.gets(ana, 2)
    kept.in_step()
    assert kept.states(ana) == [("support", "waiting_for_team"), ("support", "answered")]
    assert [role for role, _ in kept.history(ana)] == ["user", "bot", "bot"]
    assert "never for customers" not in str(kept.document(ana))
    kept.assert_no_staff(shop)


def test_who_is_new_here_goes_on_where_the_api_says(kept: Kept) -> None:
    shop, world = ALL_SHOPS[2], kept.world
    ana = shop.customer(1)
    cart = [{"id": "p-1", "name": "Torta helada", "quantity": 2, "price": 31.5}]
    earlier = [{"role": "user", "content": "Quiero dos tortas heladas", "timestamp": "2026-01-01T12:00:00.000Z"}]
    context = {"selectedItems": cart, "orderTotal": 63, "previousMessages": earlier, "couponOfTheirs": "X1"}
    kept.api.seed(ana, "bodega-2", intent="order", step="choosing_size", context=context)
    world.openai.apply_script([when("¿Y ahora?", says("Falta su dirección.", "delivery", "address_needed"))])
    world.inbound(shop, ana, "¿Y ahora?")
    world.gets(ana)
    [chat] = world.chats("¿Y ahora?")
    prompt = str(chat["messages"][0]["content"])
    for known in ('"order"', '"choosing_size"', "Torta helada", "63", "Quiero dos tortas heladas"):
        assert known in prompt
    kept.in_step()
    assert kept.history(ana) == [
        ("user", "Quiero dos tortas heladas"),
        ("user", "¿Y ahora?"),
        ("bot", "Falta su dirección."),
    ]
    document = kept.document(ana)
    assert (document["currentIntent"], document["currentStep"]) == ("delivery", "address_needed")
    assert document["context"]["selectedItems"] == cart
    assert document["context"]["couponOfTheirs"] == "X1"


def test_an_order_that_is_linked_arrives_beside_those_that_are_there(kept: Kept) -> None:
    shop, world = ALL_SHOPS[3], kept.world
    ana = shop.customer(1)
    kept.api.seed(ana, "bodega-3", context={"orderHistory": ["old-1"]})
    world.openai.apply_script([when("pedido", says("Anotado.", "order", "placed"))])
    world.inbound(shop, ana, "pedido")
    world.gets(ana)
    path = f"{world.server.url}/api/v1/conversation/conversations/{kept.conversation_of(ana)}/orders"
    for _ in range(2):
        linked = world.client.post(
            path,
            params={"sub_domain": "bodega-3"},
            json={"order_id": "new-2"},
            headers={"Authorization": f"Bearer {PLATFORM_KEY}"},
        )
        assert (linked.status_code, linked.json()) == (202, {"order_id": "new-2"})
    kept.in_step()
    context = kept.document(ana)["context"]
    assert (context["currentOrderId"], context["orderHistory"]) == ("new-2", ["old-1", "new-2"])
    assert kept.history(ana) == [("user", "pedido"), ("bot", "Anotado.")]


def test_while_the_api_is_down_all_are_answered_and_afterwards_all_arrives(kept: Kept) -> None:
    shop, world = ALL_SHOPS[4], kept.world
    people = [shop.customer(number) for number in range(6)]
    for phone in people:
        kept.known(shop, phone)
    world.openai.brain = lambda body: says(f"eco {last(body)}", "menu", f"step_{last(body)}")
    kept.api.stop()
    for phone in people:
        world.inbound(shop, phone, "uno")
    for phone in people:
        assert world.gets(phone)[0]["Body"] == "eco uno"
    until(lambda: "does not answer" in kept.readiness(), kept.readiness)
    assert "connection refused to API" in kept.readiness()
    world.server.kill()
    world.server.start()
    for phone in people:
        world.inbound(shop, phone, "dos")
    for phone in people:
        assert world.gets(phone, 2)[1]["Body"] == "eco dos"
    world.quiet()
    assert kept.waiting() >= 6 * len(people)
    kept.api.start()
    world.later(minutes=2)  # nobody has to wait for the pause to end
    kept.in_step()
    whole = [("user", "uno"), ("bot", "eco uno"), ("user", "dos"), ("bot", "eco dos")]
    for phone in people:
        assert kept.history(phone) == whole
        assert kept.posted(phone) == whole
        assert kept.document(phone)["currentStep"] == "step_dos"
    assert kept.api.overlaps == 0
    assert kept.readiness() == "in step"
    log = world.server.log.read_text()
    assert re.search(r"conversation sync error.*connection refused to API", log)
    assert not [phone for phone in people if phone in log]


def last(body: dict[str, Any]) -> str:
    """The last thing that the person said."""
    return str([message["content"] for message in body["messages"] if message["role"] == "user"][-1])


@pytest.mark.parametrize(
    ("wrong", "remedies"),
    [
        ({"api_key": "another-key"}, ("does not accept the key", "CARTAAI_API_KEY")),
        ({"prefix": "/api/v9/elsewhere"}, ("has no route", "CONVERSATION_API_PREFIX")),
    ],
    ids=["key", "prefix"],
)
def test_a_wrong_setting_keeps_nobody_waiting_and_is_named(
    kept: Kept, wrong: dict[str, Any], remedies: tuple[str, ...]
) -> None:
    shop, world = ALL_SHOPS[5], kept.world
    ana = shop.customer(len(remedies[0]))
    kept.known(shop, ana)
    world.openai.reset()
    kept.api.stop()
    other = {"prefix": kept.api.prefix, "api_key": KEY, **wrong}
    with ConversationApiFake("guide", port=kept.api.port, **other) as elsewhere:
        world.inbound(shop, ana, "hola")
        assert world.gets(ana)[0]["Body"] == "echo: hola"
        until(lambda: all(remedy in kept.readiness() for remedy in remedies), kept.readiness)
        assert {entry["status"] for entry in elsewhere.requests.entries()} <= {401, 404}
    log = world.server.log.read_text()
    assert [line for line in log.splitlines() if "conversation sync error" in line and remedies[1] in line]
    assert kept.waiting() > 0
    kept.api.start()
    world.later(minutes=2)  # nobody has to wait for the pause to end
    world.inbound(shop, ana, "gracias")  # nor for the sweep
    world.gets(ana, 2)
    kept.in_step()
    whole = [("user", "hola"), ("bot", "echo: hola"), ("user", "gracias"), ("bot", "echo: gracias")]
    assert kept.history(ana) == kept.posted(ana) == whole
    shown = log + kept.readiness() + world.client.get(f"{world.server.url}/metrics").text
    assert KEY not in shown
    assert ana not in shown


def test_switched_off_nothing_is_written_and_nobody_is_called(start_world: StartWorld) -> None:
    shop = ALL_SHOPS[6]
    with ConversationApiFake("guide") as api:
        world = start_world(settings(api, ENABLE_CONVERSATION_SYNC="false"))
        kept = Kept(world, api)
        api.seed(shop.customer(1), "bodega-6")
        world.inbound(shop, shop.customer(1), "hola")
        world.gets(shop.customer(1))
        world.quiet()
        assert kept.readiness() == "off"
        path = f"{world.server.url}/api/v1/conversation/conversations/{kept.conversation_of(shop.customer(1))}/orders"
        key = {"Authorization": f"Bearer {PLATFORM_KEY}"}
        refused = world.client.post(path, params={"sub_domain": "bodega-6"}, json={"order_id": "1"}, headers=key)
        assert (refused.status_code, refused.json()["title"]) == (409, "Conversation sync disabled")
        assert query(world.server, "SELECT id FROM sync_entries") == []
        assert query(world.server, "SELECT conversation_id FROM sync_sessions") == []
        assert api.requests.entries() == []
