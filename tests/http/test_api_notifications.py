"""Asking the staff and answering over the REST API."""

from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from recado.db.models import Notification
from tests.builders import Shop, together
from tests.http.counter import NOTIFICATIONS, Counter

ASK = {"notification_type": "user_question_request", "context": {"question": "¿Venden hielo?"}}


async def ask(counter: Counter, shop: Shop | None = None, **changes: Any) -> dict[str, Any]:
    """A new notification of this merchant."""
    shop = shop or counter.mine
    body = {**ASK, "conversation_id": await shop.hear("hola"), **changes}
    key = counter.key if shop is counter.mine else await counter.make_key(shop)
    return dict(await counter.ok("POST", NOTIFICATIONS, 201, json=body, key=key))


async def test_asking_writes_it_down_and_nudges_the_job(counter: Counter) -> None:
    conversation_id = await counter.mine.hear("hola")
    response = await counter.call("POST", NOTIFICATIONS, json={**ASK, "conversation_id": conversation_id})
    assert response.status_code == 201
    made = response.json()
    assert made["status"] == "requested"
    assert made["conversation_id"] == conversation_id
    assert made["context"] == {"question": "¿Venden hielo?"}
    assert (made["requested_fields"], made["answered_fields"]) == (["question"], ["answer"])
    assert made["created_at"].endswith("Z")
    path = response.headers["Location"].removeprefix("/api/v1")
    assert await counter.ok("GET", path) == made
    queue = counter.services.nudges.queue
    assert await queue.job(queue.job_id(f"request:{made['id']}")) is not None


async def test_a_support_request(counter: Counter) -> None:
    made = await ask(
        counter, notification_type="user_support_request", context={"support_request_reason": "Llegó roto"}
    )
    assert made["requested_fields"] == ["support_request_reason"]
    assert made["answered_fields"] == ["agent_response_to_customer"]


async def test_a_retried_request_creates_one(counter: Counter) -> None:
    body = {**ASK, "conversation_id": await counter.mine.hear("hola")}
    headers = {"Idempotency-Key": "order-17"}
    first = await counter.ok("POST", NOTIFICATIONS, 201, json=body, headers=headers)
    assert await counter.ok("POST", NOTIFICATIONS, 201, json=body, headers=headers) == first
    assert await counter.count(Notification) == 1
    other = {**body, "context": {"question": "¿Y agua?"}}
    problem = await counter.refused(422, "POST", NOTIFICATIONS, "another request", json=other, headers=headers)
    assert problem["errors"][0]["field"] == "Idempotency-Key"
    await counter.ok("POST", NOTIFICATIONS, 201, json=other, headers={"Idempotency-Key": "order-18"})
    await ask(counter)  # without a key each request is one of its own
    assert await counter.count(Notification) == 3


async def test_retries_at_the_same_moment_create_one(counter: Counter) -> None:
    body = {**ASK, "conversation_id": await counter.mine.hear("hola")}
    headers = {"Idempotency-Key": "k"}
    made = await together(*(counter.ok("POST", NOTIFICATIONS, 201, json=body, headers=headers) for _ in range(8)))
    assert [found for found in made if isinstance(found, BaseException)] == []
    assert len({found["id"] for found in made}) == 1
    assert await counter.count(Notification) == 1


async def test_an_idempotency_key_is_the_merchants_own(counter: Counter) -> None:
    headers = {"Idempotency-Key": "same"}
    for shop in (counter.mine, counter.theirs):
        body = {**ASK, "conversation_id": await shop.hear("hola")}
        await counter.ok("POST", NOTIFICATIONS, 201, json=body, headers=headers, key=await counter.make_key(shop))
    assert await counter.count(Notification) == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"notification_type": "nonsense"}, "notification_type"),
        ({"notification_type": None}, "notification_type"),
        ({"context": {}}, "question"),
        ({"context": {"question": "  "}}, "context.question"),
        ({"context": {"question": 5}}, "context.question"),
        ({"context": {"question": "a\x00b"}}, "context.question"),
        ({"context": {"question": "x" * 20_001}}, "context.question"),
        ({"context": {"question": "¿hielo?", "document_id": "7"}}, "context.document_id"),
        ({"context": ["question"]}, "context"),
        ({"conversation_id": "one"}, "conversation_id"),
        ({"conversation_id": 0}, "conversation_id"),
        ({"conversation_id": 2**31}, "conversation_id"),
        ({"conversation_id": 2**63}, "conversation_id"),
        ({"conversation_id": 10**30}, "conversation_id"),
        ({"merchant_id": 1}, "merchant_id"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_field(counter: Counter, changes: dict[str, Any], field: str) -> None:
    body = {**ASK, "conversation_id": await counter.mine.hear("hola"), **changes}
    problem = await counter.refused(422, "POST", NOTIFICATIONS, json=body)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await counter.count(Notification) == 0


async def test_another_merchants_conversation_does_not_exist(counter: Counter) -> None:
    body = {**ASK, "conversation_id": await counter.theirs.hear("hola")}
    theirs = await counter.refused(404, "POST", NOTIFICATIONS, json=body)
    nobodys = await counter.refused(404, "POST", NOTIFICATIONS, json={**body, "conversation_id": 99_999})
    assert theirs["title"] == nobodys["title"]
    assert await counter.count(Notification) == 0


async def test_the_list_is_filtered_and_paged_newest_first(counter: Counter) -> None:
    questions = [(await ask(counter))["id"] for _ in range(3)]
    support = (
        await ask(counter, notification_type="user_support_request", context={"support_request_reason": "Llegó roto"})
    )["id"]
    await ask(counter, counter.theirs)
    await counter.ok("POST", f"{NOTIFICATIONS}/{questions[0]}/answer", json={"answer": "Sí"})

    async def listed(**params: Any) -> tuple[list[int], int]:
        page = await counter.ok("GET", NOTIFICATIONS, params=params)
        return [item["id"] for item in page["items"]], page["total"]

    newest_first = [support, *reversed(questions)]
    assert await listed() == (newest_first, 4)
    assert await listed(page_size=3) == (newest_first[:3], 4)
    assert await listed(page_size=3, page=2) == (newest_first[3:], 4)
    assert await listed(page=1_000_000, page_size=200) == ([], 4)
    assert await listed(status="answered") == ([questions[0]], 1)
    assert await listed(status="requested", notification_types="user_question_request") == (newest_first[1:3], 2)
    both = ["user_question_request", "user_support_request"]
    assert await listed(notification_types=both) == (newest_first, 4)
    for wrong in ({"status": "lost"}, {"notification_types": "x"}, {"page": 0}, {"page_size": 201}, {"page": 10**20}):
        await counter.refused(422, "GET", NOTIFICATIONS, params=wrong)


async def test_a_list_is_two_queries_and_one_for_the_key(counter: Counter) -> None:
    await ask(counter)
    async with counter.queries() as run:
        await counter.ok("GET", NOTIFICATIONS)
    assert [("api_keys" in statement, "count(" in statement) for statement in run] == [
        (True, False),
        (False, True),
        (False, False),
    ]


async def test_one_is_found_by_number_and_by_its_name(counter: Counter) -> None:
    made = await ask(counter)
    assert await counter.ok("GET", f"{NOTIFICATIONS}/NOTIF_{made['id']}") == made
    for name in ("999", "NOTIF_999", "0", "9999999999"):
        await counter.refused(404, "GET", f"{NOTIFICATIONS}/{name}")
    for name in ("x", "-1", "NOTIF_", "1.5", "1e3", "9" * 11, "9" * 4_000, "٣", "%00", "1%00", "1;drop"):
        await counter.refused(422, "GET", f"{NOTIFICATIONS}/{name}")


async def test_an_answer_closes_it_once(counter: Counter) -> None:
    made = await ask(counter)
    path = f"{NOTIFICATIONS}/NOTIF_{made['id']}"
    assert await counter.ok("GET", f"{path}/can-answer") == {"can_answer": True}
    answered = await counter.ok("POST", f"{path}/answer", json={"answer": "Sí, a 5 soles"})
    assert (answered["status"], answered["context"]["answer"]) == ("answered", "Sí, a 5 soles")
    assert await counter.ok("GET", path) == answered
    queue = counter.services.nudges.queue
    assert await queue.job(queue.job_id(f"answer:{made['id']}")) is not None
    problem = await counter.refused(409, "POST", f"{path}/answer", "already", json={"answer": "No"})
    assert problem["title"] == "Already answered"
    assert await counter.ok("GET", f"{path}/can-answer") == {"can_answer": False}
    assert (await counter.ok("GET", path))["context"]["answer"] == "Sí, a 5 soles"


async def test_of_many_answers_at_once_one_is_accepted(counter: Counter) -> None:
    path = f"{NOTIFICATIONS}/{(await ask(counter))['id']}"
    answers = await together(
        *(counter.call("POST", f"{path}/answer", json={"answer": f"answer {number}"}) for number in range(8))
    )
    statuses = [response.status_code for response in answers]
    assert sorted(statuses) == [200] + [409] * 7
    winner = statuses.index(200)
    assert (await counter.ok("GET", path))["context"]["answer"] == f"answer {winner}"


async def test_notes_stay_with_the_notification(counter: Counter) -> None:
    made = await ask(
        counter, notification_type="user_support_request", context={"support_request_reason": "Llegó roto"}
    )
    answer = {"agent_response_to_customer": "Le devolvemos el dinero", "resolution_notes": "Reembolso total"}
    answered = await counter.ok("POST", f"{NOTIFICATIONS}/{made['id']}/answer", json=answer)
    assert answer.items() <= answered["context"].items()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"answer": ""},
        {"answer": "   "},
        {"answer": "\x00"},
        {"answer": 5},
        {"answer": None},
        {"answer": ["Sí"]},
        {"answer": "x" * 20_001},
        {"answer": "Sí", "document_id": 7},
        {"answer": "Sí", "\x00": "a"},
        {"agent_response_to_customer": "Sí"},
        [],
        "Sí",
        5,
        None,
    ],
)
async def test_an_answer_that_does_not_match_closes_nothing(counter: Counter, answer: Any) -> None:
    made = await ask(counter)
    await counter.refused(422, "POST", f"{NOTIFICATIONS}/{made['id']}/answer", json=answer)
    assert await counter.ok("GET", f"{NOTIFICATIONS}/{made['id']}") == made


async def test_a_refused_answer_names_the_field(counter: Counter) -> None:
    path = f"{NOTIFICATIONS}/{(await ask(counter))['id']}/answer"
    for answer in ({"answer": 5}, {}):
        await counter.refused(422, "POST", path, "answer", json=answer)
    unknown = await counter.refused(422, "POST", path, "colour", json={"answer": "Sí", "colour": "red"})
    assert unknown["errors"][0]["field"] == "colour"


async def test_another_merchants_notification_does_not_exist(counter: Counter) -> None:
    theirs = (await ask(counter, counter.theirs))["id"]
    path = f"{NOTIFICATIONS}/{theirs}"
    await counter.refused(404, "GET", path)
    await counter.refused(404, "GET", f"{path}/can-answer")
    with capture_logs() as logs:
        await counter.refused(404, "POST", f"{path}/answer", json={"answer": "Sí"})
    events = [entry for entry in logs if entry["event"].startswith("security")]
    assert [(entry["merchant_id"], entry["notification_id"]) for entry in events] == [
        (counter.mine.merchant_id, theirs)
    ]
    with capture_logs() as logs:
        await counter.refused(404, "POST", f"{NOTIFICATIONS}/99999/answer", json={"answer": "Sí"})
    assert logs == []
    async with counter.services.database.read() as session:
        assert await session.scalar(select(Notification.status).where(Notification.id == theirs)) == "requested"
