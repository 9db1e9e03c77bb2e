"""What strangers and careless programs send: every route refuses it as problem details, and lives."""

import json
import re
from typing import Any

import pytest
from sqlalchemy import text

from recado.http.limits import MAX_BODY_BYTES
from tests.http.counter import API, DOCUMENTS, NOTIFICATIONS, PLATFORM_KEY, Counter, is_problem

JSON = {"Content-Type": "application/json"}
IDS = [
    "0",
    "-1",
    "x",
    "1.5",
    "",
    "%20",
    "%00",
    "null",
    "9" * 10,
    str(2**31),
    str(2**63),
    str(2**64),
    "9" * 400,
    "%F0%9F",
]
NO_BODIES: list[bytes] = [
    b"",
    b"{",
    b"nonsense",
    b"\xff\xfe",
    b"\x00",
    b"[]",
    b"null",
    b"5",
    b'"text"',
    b"[" * 50_000,
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    b'{"enabled": ' + b"9" * 5_000 + b"}",
    b'{"\\ud800": "\\ud800", "name": "\\ud800"}',
    b'{"name": NaN, "enabled": Infinity}',
    b'{"nobody": 1, "\\u0000": 2}',
]


def with_bodies(counter: Counter) -> list[tuple[str, str]]:
    return [
        (method.upper(), re.sub(r"\{\w+\}", "1", path.removeprefix(API)))
        for path, operations in counter.app.openapi()["paths"].items()
        if path.startswith(API)
        for method, operation in operations.items()
        if "requestBody" in operation
    ]


async def test_no_body_of_nonsense_is_taken(counter: Counter) -> None:
    routes = with_bodies(counter)
    assert len(routes) >= 8
    for method, path in routes:
        for body in NO_BODIES:
            response = await counter.call(method, path, content=body, headers=JSON)
            assert response.status_code in {400, 404, 422}, (method, path, body[:40], response.text)
            is_problem(response, response.status_code)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await counter.call(method, path, content=b"enabled=true", headers=form)
        is_problem(response, 404 if response.status_code == 404 else 422)


async def test_half_a_character_in_a_name_can_be_answered(counter: Counter) -> None:
    conversation_id = await counter.mine.hear("hola")
    request = {"notification_type": "user_question_request", "conversation_id": conversation_id}
    made = await counter.ok("POST", NOTIFICATIONS, 201, json={**request, "context": {"question": "¿hielo?"}})
    half = r'{"\ud800": "x"}'  # as JSON escapes it: no UTF-8 can hold it
    for path, body in (
        (f"{NOTIFICATIONS}/{made['id']}/answer", half),
        (NOTIFICATIONS, json.dumps(request)[:-1] + f', "context": {half}}}'),
    ):
        problem = await counter.refused(422, "POST", path, content=body.encode(), headers=JSON)
        assert problem["errors"][0]["field"].endswith("?")


async def test_a_body_that_is_too_large_is_refused_unread(counter: Counter) -> None:
    large = json.dumps({"title": "x" * MAX_BODY_BYTES}).encode()
    await counter.refused(413, "POST", DOCUMENTS, content=large, headers=JSON)

    async def unannounced() -> Any:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    await counter.refused(413, "POST", DOCUMENTS, content=unannounced(), headers=JSON)


@pytest.mark.parametrize("key", ["", PLATFORM_KEY])
async def test_no_id_of_nonsense_is_an_error_of_ours(counter: Counter, key: str) -> None:
    params = {"merchant_id": counter.mine.merchant_id}
    for path, operations in counter.app.openapi()["paths"].items():
        if not path.startswith(API) or "{" not in path:
            continue
        for method in operations:
            for written in IDS:
                where = re.sub(r"\{\w+\}", written, path.removeprefix(API))
                body = {"json": {"enabled": True}} if method in {"post", "patch"} else {}
                response = await counter.call(method.upper(), where, key=key, params=params, **body)
                if response.is_redirect:  # an empty id at the end is the list
                    continue
                assert response.status_code in {200, 404, 405, 422}, (method, where, response.text)
                if response.status_code != 200:
                    is_problem(response, response.status_code)


async def test_unknown_routes_and_methods_are_problems(counter: Counter) -> None:
    await counter.refused(404, "GET", "/nothing")
    await counter.refused(404, "GET", "/notification")
    response = await counter.call("DELETE", NOTIFICATIONS)
    is_problem(response, 405)
    assert response.headers["Allow"]
    is_problem(await counter.client.get("/nothing"), 404)
    is_problem(await counter.client.get("/webhooks/twilio"), 405)


@pytest.mark.parametrize("header", ["", " ", "ñ".encode(), "a b", "x" * 201, b"\x01"])
async def test_no_idempotency_key_of_nonsense_is_taken(counter: Counter, header: str | bytes) -> None:
    body = {
        "notification_type": "user_question_request",
        "conversation_id": await counter.mine.hear("hola"),
        "context": {"question": "¿hielo?"},
    }
    await counter.refused(422, "POST", NOTIFICATIONS, json=body, headers={"Idempotency-Key": header})


async def test_texts_of_all_scripts_come_back_as_they_were(counter: Counter) -> None:
    for written in ("👩‍👩‍👧 🎉", "مرحبا بالعالم", "a\nb\tc", "%_'\";--", "<script>", "日本語", "é"):
        body = {"category": "faq", "title": written, "content": written}
        made = await counter.ok("POST", DOCUMENTS, 201, json=body)
        assert (made["title"], made["content"]) == (written, written)
        assert (await counter.ok("GET", DOCUMENTS, params={"q": written}))["total"] >= 1


async def test_a_failure_of_ours_says_nothing_of_the_inside(counter: Counter) -> None:
    async with counter.services.database.transaction() as session:
        await session.execute(text("DROP TABLE api_keys"))
    response = await counter.call("GET", "/merchant/me")
    problem = is_problem(response, 500)
    assert "api_keys" not in response.text
    assert problem["detail"] == "something failed on our side; the log has the details"
