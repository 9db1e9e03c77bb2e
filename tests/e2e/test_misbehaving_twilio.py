"""Twilio refusing, breaking off, or not answering: nothing is lost, nothing goes twice, and others do not notice."""

import json
import time
from typing import Any

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.world import ALL_SHOPS, World, answer, ask, until, when

SHOP = ALL_SHOPS[0]
PASSING: dict[str, tuple[dict[str, Any], int, int]] = {
    # fault: (what happens to the first send, sends in the end, messages that Twilio has in the end)
    "429": ({"code": 20429}, 2, 1),
    "429 with Retry-After": ({"code": 20429, "retry_after": 1}, 2, 1),
    "rate limit of the sender": ({"code": 63018}, 2, 1),
    "queue overflow": ({"code": 30001}, 2, 1),
    "500": ({"code": 20500}, 2, 1),
    "500 though it took it": ({"code": 20500, "after": True}, 1, 1),
    "a proxy's page": ({"status": 503, "html": True}, 2, 1),
    "a proxy's page though it took it": ({"status": 503, "html": True, "after": True}, 1, 1),
    "no answer": ({"hang": True}, 2, 1),
    "no answer though it took it": ({"hang": "after"}, 1, 1),
    "cut": ({"cut": True}, 2, 1),
    "cut though it took it": ({"cut": "after"}, 1, 1),
    "an answer that comes late": ({"latency": 3}, 1, 1),
}
FINAL = {"unsubscribed": 21610, "bad recipient": 63024, "no such number": 21211, "window closed": 63016}
CALM = "tranquilo"


def person(number: int) -> str:
    return SHOP.customer(number)


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    """All faults of all people at once; somebody untroubled writes in their midst."""
    world = start_world({"PROVIDER_TIMEOUT_SECONDS": "2"})
    faults = [
        {"when": {"to": f"whatsapp:{person(number)}"}, "fault": fault, "times": 1}
        for number, (fault, _, _) in enumerate(PASSING.values())
    ]
    faults += [
        {"when": {"to": f"whatsapp:{person(100 + number)}"}, "fault": {"code": code}}
        for number, code in enumerate(FINAL.values())
    ]
    # No status may give it away that a send whose outcome is unknown has arrived.
    silent = [{"when": {"to": f"whatsapp:{person(number)}"}, "sequence": []} for number in range(len(PASSING))]
    world.twilio.apply_script({"faults": faults, "statuses": silent})
    for number in [*range(len(PASSING)), *range(100, 100 + len(FINAL))]:
        world.inbound(SHOP, person(number), f"hola-{number}")
    started = time.monotonic()
    world.inbound(SHOP, person(999), CALM)
    world.gets(person(999))
    assert time.monotonic() - started < 5
    return world


def taken(world: World, number: str) -> list[str]:
    return [m.sid for m in world.twilio.messages.values() if m.form["To"] == f"whatsapp:{number}"]


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_sent_exactly_once(world: World, name: str) -> None:
    number = list(PASSING).index(name)
    _, sends, messages = PASSING[name]
    until(
        lambda: world.deliveries(person(number))[0]["state"] == "sent",
        lambda: dict(world.deliveries(person(number))[0]),
    )
    assert len(world.sends(person(number))) == sends
    assert len(taken(world, person(number))) == messages
    (delivery,) = world.deliveries(person(number))
    assert delivery["provider_message_id"] == taken(world, person(number))[0]
    assert delivery["error"] is None
    lookups = [
        entry for entry in world.twilio.requests.entries("list") if entry["query"]["To"].endswith(person(number))
    ]
    uncertain = name.startswith(("500", "a proxy", "no answer", "cut", "an answer"))
    assert bool(lookups) == uncertain
    assert [form["Body"] for form in world.forms(person(number))] == [f"echo: hola-{number}"] * sends


@pytest.mark.parametrize("name", FINAL)
def test_what_is_final_is_given_up_with_its_reason(world: World, name: str) -> None:
    number = 100 + list(FINAL).index(name)
    until(lambda: world.deliveries(person(number))[0]["state"] == "failed", world.log_tail)
    (delivery,) = world.deliveries(person(number))
    assert delivery["provider_code"] == str(FINAL[name])
    assert str(FINAL[name]) in delivery["error"]
    assert len(world.sends(person(number))) == 1
    lines = [line for line in world.alerts("delivery_given_up") if f"delivery_id={delivery['id']}" in line]
    assert len(lines) == (name != "unsubscribed"), "a person's own choice is no failure"
    assert all(str(FINAL[name]) in line for line in lines)
    assert all(person(number) not in line for line in lines)


def test_a_person_who_comes_back_is_answered_again(world: World) -> None:
    number = 100 + list(FINAL.values()).index(21610)
    until(lambda: world.deliveries(person(number))[0]["state"] == "failed", world.log_tail)
    world.quiet()
    world.twilio.apply_script({"faults": []})
    world.inbound(SHOP, person(number), "START")
    until(lambda: taken(world, person(number)), world.log_tail)
    world.inbound(SHOP, person(number), "hola otra vez")
    until(lambda: world.forms(person(number))[-1]["Body"] == "echo: hola otra vez", world.log_tail)


@pytest.mark.parametrize(("number", "fault", "sends"), [(300, {"hang": "after"}, 2), (301, {"cut": True}, 3)])
def test_the_same_text_twice_is_two_messages(world: World, number: int, fault: dict[str, Any], sends: int) -> None:
    to = f"whatsapp:{person(number)}"
    world.twilio.apply_script({"faults": [], "statuses": [{"when": {"to": to}, "sequence": []}]})
    world.openai.apply_script([when("gracias", {"content": "¡De nada!"})])
    world.inbound(SHOP, person(number), "gracias")
    world.gets(person(number))
    world.quiet()
    world.twilio.apply_script({"faults": [{"when": {"to": to}, "fault": fault, "times": 1}]})
    world.inbound(SHOP, person(number), "gracias")
    world.gets(person(number), 2)
    world.quiet()
    assert len(world.sends(person(number))) == sends
    assert len(taken(world, person(number))) == 2
    assert [row["provider_message_id"] for row in world.deliveries(person(number))] == taken(world, person(number))


def test_the_parts_of_a_long_text_stay_in_order(world: World) -> None:
    ana = person(400)
    world.twilio.apply_script(
        {"faults": [{"when": {"to": f"whatsapp:{ana}", "contains": "parte-1 "}, "fault": {"code": 20429}, "times": 2}]}
    )
    text = " ".join(f"parte-{number} " + "bla " * 370 + "fin." for number in range(4))
    world.openai.apply_script([when("todo", {"content": text})])
    world.inbound(SHOP, ana, "todo")
    until(lambda: len(taken(world, ana)) == 4, world.log_tail)
    bodies = [m.form["Body"].split()[0] for m in world.twilio.messages.values() if m.form["To"].endswith(ana)]
    assert bodies == [f"parte-{number}" for number in range(4)]


@pytest.mark.parametrize("how", ["at once", "later"])
def test_a_window_that_twilio_finds_closed_gets_the_template(world: World, how: str) -> None:
    shop = ALL_SHOPS[2 if how == "at once" else 4]
    ana = shop.customer(1)
    world.openai.apply_script([when("¿Hay pan?", ask("¿Hay pan?"), tool="request_notification")])
    world.inbound(shop, ana, "¿Hay pan?")
    known = json.loads(world.gets(shop.rosa)[0]["ContentVariables"])["1"]
    world.gets(ana)
    world.quiet()
    to = f"whatsapp:{ana}"
    if how == "at once":
        world.twilio.apply_script({"faults": [{"when": {"to": to, "contains": "Hay"}, "fault": {"code": 63016}}]})
    world.twilio.apply_script({"statuses": [{"when": {"to": to}, "sequence": []}]})
    world.openai.apply_script(
        [
            when("sí hay", answer(known, "Hay pan.")),
            {"when": {"contains": "Hay pan."}, "reply": {"content": "Hay pan."}},
        ]
    )
    world.inbound(shop, shop.rosa, "sí hay")
    text = world.gets(ana, 2)[1]
    assert text["Body"] == "Hay pan."
    if how == "later":  # as Twilio mostly does: it takes the message, and reports afterwards
        until(lambda: world.deliveries(ana)[-1]["state"] == "sent", world.log_tail)
        sid = taken(world, ana)[-1]
        world.status(shop, text, sid, "undelivered", 63016)
        world.status(shop, text, sid, "sent")  # out of order
    template = world.gets(ana, 3)[2]
    assert template["ContentSid"] == shop.content_sid("merchant_user_question_answer", "es")
    assert json.loads(template["ContentVariables"]) == {"1": "Ana", "2": "Hay pan."}
    until(lambda: world.deliveries(ana)[-1]["state"] == "sent", lambda: dict(world.deliveries(ana)[-1]))
    if how == "later":
        world.status(shop, text, sid, "failed", 63016)
        world.status(shop, template, taken(world, ana)[-1], "delivered")
        until(lambda: world.deliveries(ana)[-1]["state"] == "delivered", lambda: dict(world.deliveries(ana)[-1]))
    world.quiet()
    assert len(world.sends(ana)) == 3
    assert world.deliveries(ana)[-1]["sent_as"] == "template"


def test_typing_that_fails_does_not_keep_the_answer(world: World) -> None:
    world.twilio.apply_script({"faults": [{"when": {"op": "typing"}, "fault": {"code": 20500}}]})
    world.inbound(SHOP, person(500), "¿escribes?")
    assert world.gets(person(500))[0]["Body"] == "echo: ¿escribes?"
