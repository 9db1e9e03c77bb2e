"""A model that answers nonsense: it is told what is wrong, may try twice more, then the person hears the truth."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.world import ALL_SHOPS, World, answer, ask, query, tool, until, when

APOLOGY = "Lo siento"
SHOP = ALL_SHOPS[0]
LONG = " ".join(f"Esta es la frase número {number:04} de una respuesta muy larga." for number in range(350))


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    world = start_world({"MODEL_RETRIES": "0", "CHAT_MODEL": "gpt-4-gone, gpt-4.1"})
    world.openai.withdrawn = {"gpt-4-gone"}
    return world


def test_a_withdrawn_model_gives_way_to_the_next_with_one_alert(world: World) -> None:
    people = [SHOP.customer(number) for number in range(90, 95)]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda person: world.inbound(SHOP, person, "hola"), people))
    for person in people:
        assert world.gets(person)[0]["Body"] == "echo: hola"
    assert world.openai.calls("gpt-4-gone") >= 1
    withdrawn = world.alerts("model_withdrawn")
    assert len(withdrawn) == 1
    assert "gpt-4-gone" in withdrawn[0]


def wrong(name: str, arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


CUSTOMER_MISTAKES = {
    "missing arguments": (wrong("request_notification", {}), "question: Field required"),
    "wrong kinds": (
        wrong("request_notification", {"question": 7, "language": [], "message_to_customer": {}}),
        "question",
    ),
    "unknown argument": (wrong("request_notification", {**ask("x")["tool_calls"][0]["arguments"], "x": 1}), "x: Extra"),
    "unknown language": (ask("¿x?", language="de"), "language"),
    "empty question": (ask(""), "question"),
    "blank question": (ask("   "), "question"),
    "broken JSON": (wrong("request_notification", "{question: "), "no JSON object"),
    "null": (wrong("request_notification", "null"), "question: Field required"),
    "unknown tool": (wrong("fly_to_the_moon", {}), "there is no tool 'fly_to_the_moon'"),
    "the staff's tool": (answer("NOTIF_1", "gratis"), "there is no tool 'answer_notification'"),
}


@pytest.mark.parametrize("number", range(len(CUSTOMER_MISTAKES)), ids=list(CUSTOMER_MISTAKES))
def test_a_customer_s_model_is_told_and_tries_twice_more(world: World, number: int) -> None:
    mistake, problem = list(CUSTOMER_MISTAKES.values())[number]
    case, ana = f"caso-{number}-siempre", SHOP.customer(number)
    world.openai.apply_script([when(case, mistake)])
    asked_before = notifications(world)
    alerts = len(world.alerts("reply_unusable"))
    world.inbound(SHOP, ana, case)
    assert APOLOGY in world.gets(ana)[0]["Body"]
    chats = answered_by_the_model(world, case)
    assert len(chats) == 3
    for chat in chats[1:]:
        heard = [m["content"] for m in chat["messages"] if m["role"] == "tool"]
        assert problem in heard[-1]
    assert notifications(world) == asked_before
    # The apology says that the team was told: it was.
    until(lambda: len(world.alerts("reply_unusable")) == alerts + 1, world.log_tail)


def notifications(world: World) -> int:
    return int(query(world.server, "SELECT count(*) AS n FROM notifications")[0]["n"])


def answered_by_the_model(world: World, case: str) -> list[dict[str, Any]]:
    return [chat for chat in world.chats(case) if chat["model"] == "gpt-4.1"]


def test_a_mistake_that_is_mended_is_no_trouble(world: World) -> None:
    ana = SHOP.customer(50)
    world.openai.apply_script(
        [when("enmienda", wrong("request_notification", {}), times=1), when("enmienda", ask("¿x?"))]
    )
    world.inbound(SHOP, ana, "enmienda")
    assert world.gets(ana)[0]["Body"] == "Le pregunto al equipo."
    world.quiet()
    assert len(world.forms(ana)) == 1
    assert len(answered_by_the_model(world, "enmienda")) == 2


@pytest.mark.parametrize(("number", "said"), [(60, None), (61, ""), (62, " \n\t "), (63, "\x00\x07")])
def test_an_empty_answer_is_asked_for_again(world: World, number: int, said: str | None) -> None:
    ana, case = SHOP.customer(number), f"callado-{number}"
    world.openai.apply_script([when(case, {"content": said}, times=1), when(case, {"content": "Perdón, aquí estoy."})])
    world.inbound(SHOP, ana, case)
    assert world.gets(ana)[0]["Body"] == "Perdón, aquí estoy."
    assert len(answered_by_the_model(world, case)) == 2


def test_an_answer_that_stays_empty_ends_in_the_truth(world: World) -> None:
    ana = SHOP.customer(64)
    world.openai.apply_script([when("mudo", {"content": ""})])
    world.inbound(SHOP, ana, "mudo")
    assert APOLOGY in world.gets(ana)[0]["Body"]
    assert len(answered_by_the_model(world, "mudo")) == 3


def test_text_beside_a_tool_call_does_no_harm(world: World) -> None:
    ana = SHOP.customer(65)
    world.openai.apply_script(
        [when("ambos", {"content": "Voy a preguntar", **ask("¿Tienen ambos?")}, tool="request_notification")]
    )
    world.inbound(SHOP, ana, "ambos")
    world.gets(ana)
    world.quiet()
    assert [form["Body"] for form in world.forms(ana)] == ["Le pregunto al equipo."]
    assert query(world.server, "SELECT 1 FROM notifications WHERE context ->> 'question' = '¿Tienen ambos?'")


def test_two_calls_in_one_answer_are_both_carried_out(world: World) -> None:
    ana = SHOP.customer(66)
    calls = [
        *ask("¿Uno?", message="Pregunto lo primero.")["tool_calls"],
        *ask("¿Dos?", message="Y lo otro.")["tool_calls"],
    ]
    world.openai.apply_script([when("dos cosas", {"tool_calls": calls})])
    before = notifications(world)
    world.inbound(SHOP, ana, "dos cosas")
    assert [form["Body"] for form in world.gets(ana, 2)] == ["Pregunto lo primero.", "Y lo otro."]
    world.quiet()
    assert notifications(world) == before + 2
    assert len(answered_by_the_model(world, "dos cosas")) == 1


def test_what_one_of_two_calls_did_is_told_though_the_other_failed(world: World) -> None:
    ana = SHOP.customer(67)
    calls = [*ask("¿Bien?", message="Pregunto lo bueno.")["tool_calls"], {"name": "nada", "arguments": {}}]
    world.openai.apply_script(
        [when("mitad", {"tool_calls": calls}, times=1), when("mitad", wrong("nada", {}), tool="request_notification")]
    )
    before = notifications(world)
    world.inbound(SHOP, ana, "mitad")
    world.gets(ana)
    world.quiet()
    assert notifications(world) == before + 1
    first, second = world.gets(ana, 2)
    assert first["Body"] == "Pregunto lo bueno."
    assert APOLOGY in second["Body"]


def test_a_very_long_answer_is_split_at_sentences(world: World) -> None:
    ana = SHOP.customer(68)
    world.openai.apply_script([when("larga", {"content": LONG})])
    world.inbound(SHOP, ana, "larga")
    until(lambda: "0349" in str(world.forms(ana)[-1:]), lambda: world.forms(ana))
    parts = [form["Body"] for form in world.forms(ana)]
    assert all(len(part) <= 1_600 for part in parts)
    assert all(part.endswith(".") for part in parts)
    assert " ".join(parts) == LONG


STAFF_MISTAKES = {
    "an unknown notification": (lambda known: answer("NOTIF_999999", "sí"), "NOTIF_999999"),
    "no id": (lambda known: answer("the last one", "sí"), "names no notification"),
    "no JSON": (lambda known: given(known, "sí, hay"), "no valid JSON"),
    "a JSON list": (lambda known: given(known, '["sí"]'), "must be a JSON object"),
    "another shape": (lambda known: given(known, '{"respuesta": "sí"}'), "'answer' is a required property"),
    "another kind": (lambda known: given(known, '{"answer": 5}'), "5 is not of type 'string'"),
    "an empty answer": (lambda known: given(known, '{"answer": ""}'), "answer"),
    "a blank answer": (lambda known: given(known, '{"answer": "  "}'), "Missing required field: answer"),
}


def given(notification: str, written: str) -> dict[str, Any]:
    return tool("answer_notification", notification_id=notification, answer_json=written, message_to_staff="Listo.")


@pytest.mark.parametrize("number", range(len(STAFF_MISTAKES)), ids=list(STAFF_MISTAKES))
def test_a_staff_s_model_is_told_and_tries_twice_more(world: World, number: int) -> None:
    make, problem = list(STAFF_MISTAKES.values())[number]
    shop, case = ALL_SHOPS[number + 1], f"personal-{number}"
    world.openai.apply_script([when("¿Hay?", ask(f"¿Hay? {number}"), tool="request_notification")])
    world.inbound(shop, shop.customer(1), "¿Hay?")
    known = json.loads(world.gets(shop.rosa)[0]["ContentVariables"])["1"]
    world.gets(shop.customer(1))
    world.openai.apply_script([when(case, make(known))])
    world.inbound(shop, shop.rosa, case)
    assert APOLOGY in world.gets(shop.rosa, 2)[-1]["Body"]
    chats = answered_by_the_model(world, case)
    assert len(chats) == 3
    assert all(problem in str(chat["messages"][-1]["content"]) for chat in chats[1:])
    assert len(world.forms(shop.customer(1))) == 1
    row = query(world.server, "SELECT status FROM notifications WHERE id = ?", int(known.removeprefix("NOTIF_")))[0]
    assert row["status"] == "requested"

    world.openai.apply_script(
        [
            when("ahora bien", answer(known, "Sí, hay.")),
            {"when": {"contains": "Sí, hay."}, "reply": {"content": "Hay."}},
        ]
    )
    world.inbound(shop, shop.rosa, "ahora bien")
    assert world.gets(shop.customer(1), 2)[-1]["Body"] == "Hay."


def test_a_model_that_calls_tools_for_ever_is_stopped(world: World) -> None:
    shop = ALL_SHOPS[10]
    world.openai.apply_script([when("lista", tool("list_notifications"))])
    world.inbound(shop, shop.rosa, "lista")
    assert APOLOGY in world.gets(shop.rosa)[0]["Body"]
    assert len(answered_by_the_model(world, "lista")) <= 7
