"""Whatever a model makes of the form: the message is found, and no customer reads JSON."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.agent.reply_form import LONGEST_STEP, Said, read_reply
from recado.intents import INTENTS

GOOD = {"message": "Sí, en 24 horas.", "intent": "delivery", "step": "asked_when"}
SAID = Said("Sí, en 24 horas.", "delivery", "asked_when")


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        written(GOOD),
        json.dumps(GOOD, indent=2),
        f"```json\n{written(GOOD)}\n```",
        f"```\n{written(GOOD)}```",
        f"\ufeff{written(GOOD)}",
        f"Here it is:\n{written(GOOD)}",
        f"```json\n{written(GOOD)}\n```\nAnything else?",
        written(GOOD) + written({**GOOD, "message": "Otra vez."}),
        written([GOOD]),
        written({"reply": GOOD}),
        written({"customer_reply": {"Message": GOOD["message"], "INTENT": "Delivery ", "Step": "Asked when?"}}),
        written(written(GOOD)),
        written({**GOOD, "message": written(GOOD)}),
        written({"message": written(GOOD)}),
        written({**GOOD, "thoughts": "The customer wants to know when it arrives.", "confidence": 0.9}),
        written({"intent": "delivery", "step": "askedWhen", "response": GOOD["message"], "thoughts": "They ask."}),
        written({"intent": "delivery", "step": "ASKED-WHEN", "said": GOOD["message"]}),
        f'{GOOD["message"]}\n\n{{"intent": "delivery", "step": "asked_when"}}',
        f'{GOOD["message"]}\n```json\n{{"intent": "delivery", "step": "asked_when"}}\n```',
    ],
)
def test_the_form_is_found(text: str) -> None:
    assert read_reply(text) == SAID


@pytest.mark.parametrize("text", ["Sí, en 24 horas.", "5", "S/ 50", "[foto]", "{nombre}, ¿hola?", "true", ":{"])
def test_a_plain_text_is_the_message(text: str) -> None:
    assert read_reply(f" {text}\n") == Said(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '""',
        '{"message": ""}',
        '{"message": null, "intent": "menu", "step": "x"}',
        '{"message": "Sí, lo devolvemos s',
        '{"message": "Dice "hola" y ya", "intent": "info"}',
        "{'message': 'Hola'}",
        '{"intent": "menu"}',
        '{"name": "request_notification", "arguments": {"question": "¿Hielo?", "message_to_customer": "Pregunto."}}',
        '{"a":' * 5_000,
        "[" * 5_000 + "]" * 5_000,
        "{ " * 5_000 + "}" * 5_000,
    ],
)
def test_what_has_no_message_is_said_to_nobody(text: str) -> None:
    """Half a message could leave out the condition, and of several texts it is not known which is meant."""
    assert read_reply(text).message == ""


def test_what_comes_before_json_that_breaks_off_is_kept() -> None:
    assert read_reply('Sí, en 24 horas.\n{"intent": "del') == Said("Sí, en 24 horas.")


def test_of_json_within_a_text_only_a_message_that_is_called_so_stands_for_all_of_it() -> None:
    assert read_reply('Hay una talla: ["S"]') == Said("Hay una talla:")


def test_control_characters_do_not_hide_json() -> None:
    assert read_reply('{\x00"message": "Hola"\x07, "intent": "menu", "step": "a"}') == Said("Hola", "menu", "a")


@pytest.mark.parametrize("intent", ["complaint", "", "MENÚ", None, 3, ["menu"], {"menu": 1}, "menu, order"])
def test_an_intent_that_nobody_knows_costs_no_message(intent: Any) -> None:
    assert read_reply(written({**GOOD, "intent": intent})) == Said(SAID.message, None, SAID.step)


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        ("waiting_for_team", "waiting_for_team"),
        ("Waiting for team", "waiting_for_team"),
        ("waitingForTeam", "waiting_for_team"),
        ("  --Elegir talla—44!! ", "elegir_talla_44"),
        ("Dirección", "direccion"),
        ("a" * LONGEST_STEP, "a" * LONGEST_STEP),
        ("a" * (LONGEST_STEP + 1), None),
        ("word " * 1_000_000, None),
        ("", None),
        ("…", None),
        ("ожидание", None),
        (None, None),
        (7, None),
        (["a"], None),
    ],
)
def test_a_step_is_snake_case_or_none(step: Any, kept: str | None) -> None:
    assert read_reply(written({**GOOD, "step": step})) == Said(SAID.message, "delivery", kept)


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30).filter(
    lambda text: not {"{", "["} & set(text)
)
KEYS = st.sampled_from(["message", "intent", "step", "reply", "text", "Message", "x"]) | st.text(max_size=5)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(INTENTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4) | inner.map(json.dumps),
    max_leaves=10,
)


def is_json(text: str) -> bool:
    """Whether a person who reads this reads an object, a list or a quoted text of JSON."""
    try:
        return isinstance(json.loads(text), dict | list | str)
    except ValueError:
        return False


@settings(max_examples=300)
@given(VALUES, st.sampled_from(["{}", "```json\n{}\n```", "Aquí: {}", "{} {}", "{}\n¿Algo más?"]), st.integers(0, 30))
def test_no_json_is_ever_the_message(value: Any, around: str, cut: int) -> None:
    text = around.replace("{}", json.dumps(value, ensure_ascii=bool(cut % 2)))
    for given_text in (text, text[: len(text) - cut]):
        said = read_reply(given_text)
        assert not is_json(said.message), said
        assert '{"' not in said.message
        assert '["' not in said.message
        assert said.intent in {None, *INTENTS}
        assert said.step is None or len(said.step) <= LONGEST_STEP


@given(PLAIN.filter(lambda text: not is_json(text) and text != "null"), LEAVES, LEAVES)
def test_the_message_is_never_lost(message: str, intent: Any, step: Any) -> None:
    said = read_reply(json.dumps({"message": message, "intent": intent, "step": step}))
    assert "".join(said.message.split()) == "".join(read_reply(message).message.split())
    assert bool(said.message) == bool(message.strip())
    assert said.intent == (intent if intent in INTENTS else None)
