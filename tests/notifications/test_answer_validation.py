"""What is accepted as an answer, and what is refused."""

from typing import Any

import pytest
import structlog

from recado.db.models import Notification
from recado.errors import (
    AlreadyAnswered,
    ForeignNotification,
    InvalidAnswer,
    MissingField,
    NotificationNotFound,
)
from tests.builders import make_shop
from tests.notifications.staffroom import Staffroom

BAD_ANSWERS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({}, InvalidAnswer),
    ({"answer": ""}, InvalidAnswer),
    ({"answer": None}, InvalidAnswer),
    ({"answer": 5}, InvalidAnswer),
    ({"answer": ["sí"]}, InvalidAnswer),
    ({"answer": "x" * 20_001}, InvalidAnswer),
    ({"respuesta": "sí"}, InvalidAnswer),
    ({"answer": "   "}, MissingField),
    ({"answer": "\u200b\u2800"}, MissingField),
    ({"answer": "\x00\x01"}, MissingField),
]


async def test_a_bad_answer_closes_nothing(room: Staffroom) -> None:
    notification_id = await room.request()
    for answer, error in BAD_ANSWERS:
        with pytest.raises(error):
            await room.accept(notification_id, answer)
    row = await room.get(notification_id)
    assert (row.status, row.answer_key, "answer" in row.context) == ("requested", None, False)
    await room.accept(notification_id, "Sí")


SUPPORT_FIELD = "agent_response_to_customer"
BAD_SUPPORT_ANSWERS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({}, InvalidAnswer),
    ({"answer": "sí"}, InvalidAnswer),
    ({SUPPORT_FIELD: ""}, InvalidAnswer),
    ({SUPPORT_FIELD: " \n"}, MissingField),
    ({SUPPORT_FIELD: "sí", "resolution_notes": 5}, InvalidAnswer),
    ({SUPPORT_FIELD: "sí", "resolution_notes": "x" * 20_001}, InvalidAnswer),
    ({"resolution_notes": "solo para nosotros"}, InvalidAnswer),
]


async def support(room: Staffroom) -> int:
    return await room.request(type="user_support_request", context={"support_request_reason": "Llegó roto"})


async def test_a_bad_answer_to_a_support_request_closes_nothing(room: Staffroom) -> None:
    notification_id = await support(room)
    for answer, error in BAD_SUPPORT_ANSWERS:
        with pytest.raises(error):
            await room.accept(notification_id, answer)
    assert (await room.get(notification_id)).status == "requested"
    row = await room.accept(notification_id, {SUPPORT_FIELD: "Le devolvemos", "resolution_notes": "llegó rota"})
    assert (row.context[SUPPORT_FIELD], row.context["resolution_notes"]) == ("Le devolvemos", "llegó rota")


async def test_notes_are_optional(room: Staffroom) -> None:
    notification_id = await support(room)
    row = await room.accept(notification_id, {SUPPORT_FIELD: "Le devolvemos", "resolution_notes": None})
    assert row.context["resolution_notes"] is None


@pytest.mark.parametrize(
    "said", ["👍", "❤️🎉", "x" * 20_000, "{{answer}}", "'; DROP TABLE notifications; --", "\u202eabc"]
)
async def test_unusual_answers_are_answers(room: Staffroom, said: str) -> None:
    notification_id = await room.request()
    assert (await room.accept(notification_id, said)).context["answer"] == said


async def stored_schema(room: Staffroom, notification_id: int, schema: dict[str, Any]) -> None:
    async with room.shop.database.transaction() as session:
        (await session.get_one(Notification, notification_id)).answer_model_json_schema = schema


async def test_the_schema_that_was_stored_decides(room: Staffroom) -> None:
    """Also when the type has another one by now."""
    notification_id = await room.request()
    strict = {"type": "object", "properties": {"answer": {"type": "string", "maxLength": 3}}, "required": ["answer"]}
    await stored_schema(room, notification_id, strict)
    with pytest.raises(InvalidAnswer, match="too long"):
        await room.accept(notification_id, "mucho")
    assert (await room.accept(notification_id, "Sí")).status == "answered"


async def test_what_the_customer_hears_must_be_there_whatever_the_stored_schema_says(room: Staffroom) -> None:
    notification_id = await room.request()
    await stored_schema(room, notification_id, {"type": "object", "properties": {"reply": {"type": "string"}}})
    with pytest.raises(MissingField, match="Missing required field: answer"):
        await room.accept(notification_id, {"reply": "Sí"})
    with pytest.raises(InvalidAnswer, match="answer must be a text"):
        await room.accept(notification_id, {"reply": "Sí", "answer": 5})
    row = await room.accept(notification_id, {"reply": "Sí", "answer": "Sí, hay"})
    assert (row.context["answer"], row.context["reply"]) == ("Sí, hay", "Sí")


async def test_a_stored_schema_that_is_none_is_named_as_the_problem(room: Staffroom) -> None:
    notification_id = await room.request()
    await stored_schema(room, notification_id, {"type": "coffee"})
    with pytest.raises(InvalidAnswer, match="the notification's own JSON schema is invalid"):
        await room.accept(notification_id, "Sí")


@pytest.mark.parametrize("number", [0, -1, 9_999, 2**31 - 1, 2**31, 10**30])
async def test_ids_that_no_notification_has(room: Staffroom, number: int) -> None:
    async with room.service() as service:
        assert not await service.can_answer(number)
        for asked in (service.get(number), service.load_answer(number), service.accept(number, {}, "k", None)):
            with pytest.raises(NotificationNotFound) as error:
                await asked
            assert not isinstance(error.value, ForeignNotification)


async def test_an_answer_for_another_merchants_notification_is_refused_and_logged_without_a_word_of_it(
    room: Staffroom,
) -> None:
    notification_id = await room.request()
    other = await make_shop(room.shop.database, "other", "+15550200")
    with structlog.testing.capture_logs() as logged:
        async with room.service(other) as service:
            with pytest.raises(ForeignNotification, match=f"Notification {notification_id} not found"):
                await service.accept(notification_id, {"answer": "secreto"}, "a", 7)
    (event,) = [entry for entry in logged if entry["log_level"] == "warning"]
    assert event == {
        "event": "security: answer for another merchant's notification",
        "log_level": "warning",
        "merchant_id": other.merchant_id,
        "notification_id": notification_id,
        "answered_by": 7,
    }
    assert (await room.get(notification_id)).status == "requested"


async def test_who_comes_too_late_hears_that_first_whatever_they_wrote(room: Staffroom) -> None:
    notification_id = await room.request()
    await room.accept(notification_id, "Sí", "first")
    for answer in ({}, {"answer": 5}, {"answer": "No"}):
        with pytest.raises(AlreadyAnswered):
            await room.accept(notification_id, answer, "second")


async def test_one_without_an_answer_cannot_be_taken_back(room: Staffroom) -> None:
    notification_id = await room.request()
    async with room.service() as service:
        assert await service.answer_to_do(notification_id) is None
        with pytest.raises(InvalidAnswer, match="has no answer yet"):
            await service.load_answer(notification_id)
