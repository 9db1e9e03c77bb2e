"""The simulator's API with everything that it must not take: a problem document that says what is wrong."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.world import ALL_SHOPS, Phone, alive
from tests.support import WEB, RecadoServer

SHOP = ALL_SHOPS[0]
JSON = {"Content-Type": "application/json"}
GOOD = {"from": SHOP.customer(1), "to": SHOP.simulator, "text": "hola"}
BAD_MESSAGES: dict[str, tuple[Any, str]] = {
    "no phone": ({**GOOD, "from": "Ana"}, "from"),
    "a short phone": ({**GOOD, "from": "+1"}, "from"),
    "a number": ({**GOOD, "from": 51911111111}, "from"),
    "a phone with NUL": ({**GOOD, "from": "+51911\x00111111"}, "from"),
    "unknown to": ({**GOOD, "to": "+15559999999"}, "+15559999999"),
    "no to": ({k: v for k, v in GOOD.items() if k != "to"}, "to: Field required"),
    "no text": ({k: v for k, v in GOOD.items() if k != "text"}, "give a text"),
    "null text": ({**GOOD, "text": None}, "text"),
    "huge text": ({**GOOD, "text": "x" * 100_001}, "text"),
    "huge name": ({**GOOD, "name": "x" * 201}, "name"),
    "huge id": ({**GOOD, "id": "x" * 201}, "id"),
    "empty id": ({**GOOD, "id": ""}, "id"),
    "an id with NUL": ({**GOOD, "id": "a\x00b"}, "id"),
    "half a letter in the id": ({**GOOD, "id": "\ud800"}, "id"),
    "half a letter in reply_to": ({**GOOD, "reply_to": "\ud800"}, "reply_to"),
    "a list": ([GOOD], "body"),
    "a string": ("hola", "body"),
    "null": (None, "body"),
}


def problem(answer: httpx.Response, *fragments: str) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    for fragment in fragments:
        assert fragment in document["detail"]


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_is_refused(demo: RecadoServer, name: str) -> None:
    body, fragment = BAD_MESSAGES[name]
    answer = WEB.post(f"{demo.url}/simulator/messages", content=json.dumps(body).encode(), headers=JSON)
    problem(answer, fragment)
    assert Phone(demo, SHOP.customer(1), SHOP.simulator).messages() == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"from=x", b'{"a": ' * 500, b"NaN"])
def test_what_is_no_json_is_refused(demo: RecadoServer, content: bytes) -> None:
    problem(WEB.post(f"{demo.url}/simulator/messages", content=content, headers=JSON), "body")


@pytest.mark.parametrize("seconds", [0, -1, "soon", None, 1e20, "Infinity", True, [1]])
def test_the_clock_does_not_jump_anywhere(demo: RecadoServer, seconds: object) -> None:
    before = WEB.get(f"{demo.url}/simulator/clock").json()["offset_seconds"]
    if seconds is not True:  # JSON's true is one second to Pydantic: harmless
        problem(WEB.post(f"{demo.url}/simulator/clock", json={"advance_seconds": seconds}), "advance_seconds")
        assert WEB.get(f"{demo.url}/simulator/clock").json()["offset_seconds"] == before


@pytest.mark.parametrize("path", ["messages", "events", "messages?phone=", "messages?phone=Ana", "events?phone=1"])
def test_reading_needs_a_phone(demo: RecadoServer, path: str) -> None:
    problem(WEB.get(f"{demo.url}/simulator/{path}"), "phone")


def test_other_ways_in_are_problems_too(demo: RecadoServer) -> None:
    problem(WEB.get(f"{demo.url}/nowhere"))
    problem(WEB.get(f"{demo.url}/simulator/static/../../settings.py"))
    problem(WEB.get(f"{demo.url}/simulator/static/none.js"), "none.js")
    wrong_method = WEB.delete(f"{demo.url}/simulator/messages")
    problem(wrong_method)
    assert wrong_method.status_code == 405


TEXTS = st.text(st.characters(), max_size=300)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.lists(TEXTS, max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(["from", "to", "text", "name", "reply_to", "id", "button"]), VALUES))
def test_anything_at_all_is_taken_or_refused(demo: RecadoServer, changes: dict[str, Any]) -> None:
    content = json.dumps({**GOOD, "from": SHOP.customer(2), **changes}).encode()
    answer = WEB.post(f"{demo.url}/simulator/messages", content=content, headers=JSON)
    if answer.status_code == 202:
        assert answer.json()["id"]
    else:
        problem(answer)
    assert alive(demo)
