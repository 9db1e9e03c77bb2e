"""A model that cannot be reached: the turn is tried again; in the end the person is told and the team alerted."""

import json
import time
from typing import Any

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.world import ALL_SHOPS, World, answer, ask, query, until, when

APOLOGY = "Lo siento"
SHOP = ALL_SHOPS[0]
OUTAGES: dict[str, dict[str, Any]] = {
    "500": {"error": "server_error"},
    "503": {"error": "overloaded"},
    "429": {"error": "rate_limit_exceeded"},
    "no quota": {"error": "insufficient_quota"},
    "wrong key": {"error": "invalid_api_key"},
    "too long": {"error": "context_length_exceeded"},
    "no model at all": {"error": "model_not_found"},
    "time out": {"hang": True},
    "cut": {"cut": True},
    "cut in the middle": {"cut": "middle"},
    "not JSON": {"raw": "<html>gateway</html>"},
    "empty body": {"raw": ""},
    "no choices": {"empty_choices": True},
    "null choices": {"raw": '{"id": "x", "object": "chat.completion", "model": "gpt-4.1", "choices": null}'},
    "other JSON": {"raw": '{"ok": true}'},
    "a list": {"raw": "[]"},
    "list arguments": {"tool_calls": [{"name": "request_notification", "arguments": "[1, 2]"}]},
}
PASSING = ("500", "time out", "cut", "null choices", "no model at all")
FINAL = tuple(OUTAGES)
REPLY_FAILURES = ("500", "time out", "cut in the middle", "null choices", "list arguments", "not JSON")


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    """All outages of all people at once: what takes its time takes it together."""
    world = start_world({"MODEL_TIMEOUT_SECONDS": "1.5", "MODEL_RETRIES": "0"})
    rules = [when(f"pasa-{number}.", OUTAGES[name], times=1) for number, name in enumerate(PASSING)]
    rules += [when(f"pasa-{number}.", {"content": f"Ya: {number}."}) for number in range(len(PASSING))]
    rules += [when(f"queda-{number}.", OUTAGES[name]) for number, name in enumerate(FINAL)]
    rules += [when("otro día", {"content": "Aquí estoy."}), when("¿Hay?", ask("¿Hay?"), tool="request_notification")]
    world.openai.apply_script(rules)
    for number in range(len(PASSING)):
        world.inbound(SHOP, SHOP.customer(100 + number), f"pasa-{number}.")
    for number in range(len(FINAL)):
        world.inbound(SHOP, SHOP.customer(200 + number), f"queda-{number}.")
    return world


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_leaves_one_answer_and_no_apology(world: World, name: str) -> None:
    number = PASSING.index(name)
    ana = SHOP.customer(100 + number)
    assert world.gets(ana, timeout=40)[0]["Body"] == f"Ya: {number}."
    assert len(world.chats(f"pasa-{number}.")) == 2
    assert len(world.forms(ana)) == 1


@pytest.mark.parametrize("name", FINAL)
def test_what_stays_ends_in_an_apology_and_an_alert(world: World, name: str) -> None:
    number = FINAL.index(name)
    ana = SHOP.customer(200 + number)
    assert APOLOGY in world.gets(ana, timeout=40)[0]["Body"]
    assert len(world.chats(f"queda-{number}.")) == 3
    (turn,) = query(world.server, "SELECT * FROM turns WHERE id = ?", world.deliveries(ana)[0]["turn_id"])
    assert (turn["state"], turn["failures"]) == ("failed", 3)
    until(lambda: [line for line in world.alerts("turn_failed") if f"turn_id={turn['id']}" in line], "an alert")


def test_the_next_message_is_answered_as_if_nothing_had_been(world: World) -> None:
    ana = SHOP.customer(200)
    world.gets(ana, timeout=40)
    world.inbound(SHOP, ana, "otro día")
    assert world.gets(ana, 2)[-1]["Body"] == "Aquí estoy."
    assert len(world.forms(ana)) == 2


def test_a_reply_that_cannot_be_written_goes_in_the_team_s_own_words(world: World) -> None:
    shops = ALL_SHOPS[1 : len(REPLY_FAILURES) + 1]
    rules = [when("¿Hay?", ask("¿Hay?"), tool="request_notification")]
    for shop in shops:
        world.inbound(shop, shop.customer(1), "¿Hay?")
    known = [json.loads(world.gets(shop.rosa)[0]["ContentVariables"])["1"] for shop in shops]
    for number, name in enumerate(REPLY_FAILURES):
        rules.append(when(f"hay-{number}.", answer(known[number], f"Sí hay {number}.")))
        rules.append({"when": {"contains": f"Sí hay {number}.", "system": "has just answered"}, "reply": OUTAGES[name]})
    world.openai.apply_script(rules)
    started = time.monotonic()
    for number, shop in enumerate(shops):
        world.inbound(shop, shop.rosa, f"hay-{number}.")
    for number, shop in enumerate(shops):
        assert world.gets(shop.customer(1), 2, 40)[-1]["Body"] == f"Sí hay {number}."
    assert time.monotonic() - started < 20
    world.quiet()
    assert all(len(world.forms(shop.customer(1))) == 2 for shop in shops)
