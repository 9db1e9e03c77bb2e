"""The public functions, by the names that people who integrate their own code know."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.engine import Database
from recado.db.models import Document, Notification
from recado.errors import (
    AlreadyAnswered,
    ConversationNotFound,
    DocumentNotFound,
    InvalidInput,
    MissingField,
    NotificationNotFound,
    UnknownNotificationType,
)
from recado.notifications.functions import Notifications
from recado.notifications.types import NotificationStatus, NotificationType
from tests.builders import make_shop
from tests.notifications.desk import EVA, LUIS, ROSA, Desk, make_desk

QUESTION = NotificationType.user_question_request
SUPPORT = NotificationType.user_support_request
NOWHERE = 999_999


@pytest.fixture
async def desk(database: Database) -> Desk:
    return await make_desk(database)


@pytest.fixture
def functions(desk: Desk) -> Notifications:
    return Notifications(desk.database, desk.shop.clock, desk.nudges)


async def nudged(desk: Desk, key: str) -> bool:
    for _ in range(10):
        await asyncio.sleep(0)  # nudges go out beside the commit
    return await desk.nudges.queue.job(desk.nudges.queue.job_id(key)) is not None


async def requested(desk: Desk, functions: Notifications, question: str = "¿Venden hielo?") -> Notification:
    async with desk.database.transaction() as session:
        return await functions.request_notification(QUESTION, desk.conversation_id, {"question": question}, session)


async def all_notifications(desk: Desk) -> list[Notification]:
    async with desk.database.read() as session:
        return list(await session.scalars(select(Notification).order_by(Notification.id)))


async def test_request_notification_writes_and_its_job_asks(desk: Desk, functions: Notifications) -> None:
    async with desk.database.transaction() as session:
        row = await functions.request_notification(
            SUPPORT, desk.conversation_id, {"support_request_reason": "x"}, session
        )
        assert (row.status, row.notification_type) == ("requested", "user_support_request")
        assert not await nudged(desk, f"request:{row.id}")
    assert await nudged(desk, f"request:{row.id}")


async def test_what_is_undone_nudges_nobody(desk: Desk, functions: Notifications) -> None:
    async with desk.database.engine.connect() as connection, AsyncSession(connection) as session:
        row = await functions.request_notification(QUESTION, desk.conversation_id, {"question": "x"}, session)
        key = f"request:{row.id}"
        await session.rollback()
        await session.execute(select(Notification))
        await session.commit()
    assert not await nudged(desk, key)
    assert await all_notifications(desk) == []


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (("user_wish", None, {"question": "x"}), UnknownNotificationType),
        ((QUESTION, None, {}), MissingField),
        ((QUESTION, None, {"question": "  "}), MissingField),
        ((SUPPORT, None, {"question": "x"}), MissingField),
        ((QUESTION, NOWHERE, {"question": "x"}), ConversationNotFound),
    ],
)
async def test_error_cases_of_request_notification(
    desk: Desk, functions: Notifications, given: tuple[Any, int | None, dict[str, Any]], error: type[Exception]
) -> None:
    kind, conversation_id, context = given
    with pytest.raises(error):
        await functions.request_notification_job(kind, conversation_id or desk.conversation_id, context)
    assert await all_notifications(desk) == []


async def test_answer_notification_accepts_and_its_job_takes_it_back(desk: Desk, functions: Notifications) -> None:
    row = await requested(desk, functions)
    async with desk.database.transaction() as session:
        await functions.answer_notification(session, {"answer": "Sí"}, notification_id=row.id)
    assert await nudged(desk, f"answer:{row.id}")
    answered = await desk.row(row.id)
    assert (answered.status, answered.context["answer"], answered.answered_by) == ("answered", "Sí", None)


async def test_answer_notification_can_write_a_new_one_down(desk: Desk, functions: Notifications) -> None:
    context = {"question": "¿Venden hielo?", "answer": "Sí, en bolsas."}
    await functions.answer_notification_job(
        notification_type=QUESTION, conversation_id=desk.conversation_id, context=context
    )
    (row,) = await all_notifications(desk)
    assert row.status == "answered"
    assert row.announced_at is not None  # nobody of the staff is asked
    assert {name: row.context[name] for name in context} == context
    assert row.context["lead_phone"] == "+51911111111"
    async with desk.database.read() as session:
        document = await session.get_one(Document, row.context["document_id"])
    assert document.title == "¿Venden hielo?"
    assert await nudged(desk, f"answer:{row.id}")
    assert not await nudged(desk, f"request:{row.id}")


async def test_answer_notification_can_write_a_support_request_down(desk: Desk, functions: Notifications) -> None:
    context = {
        "support_request_reason": "rota",
        "agent_response_to_customer": "La cambiamos.",
        "resolution_notes": "cliente fiel",
    }
    await functions.answer_notification_job(
        notification_type=SUPPORT, conversation_id=desk.conversation_id, context=context
    )
    (row,) = await all_notifications(desk)
    assert row.status == "answered"
    assert {name: row.context[name] for name in context} == context
    assert row.context["support_request_type"] == "Admin"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"notification_id": NOWHERE, "context": {"answer": "x"}}, NotificationNotFound),
        ({"context": {"answer": "x"}}, InvalidInput),
        ({"notification_type": QUESTION, "context": {"answer": "x"}}, InvalidInput),
        ({"notification_type": QUESTION, "conversation_id": NOWHERE, "context": {"answer": "x"}}, ConversationNotFound),
        ({"notification_type": QUESTION, "conversation_id": 0, "context": {"answer": "x"}}, MissingField),
        ({"notification_type": QUESTION, "conversation_id": 0, "context": {"question": "x"}}, InvalidInput),
    ],
)
async def test_error_cases_of_answer_notification(
    desk: Desk, functions: Notifications, given: dict[str, Any], error: type[Exception]
) -> None:
    if given.get("conversation_id") == 0:
        given = given | {"conversation_id": desk.conversation_id}
    with pytest.raises(error):
        await functions.answer_notification_job(**given)
    assert await all_notifications(desk) == []


async def test_an_answered_notification_is_refused(desk: Desk, functions: Notifications) -> None:
    row = await requested(desk, functions)
    await functions.answer_notification_job(row.id, context={"answer": "Sí"})
    with pytest.raises(AlreadyAnswered):
        await functions.answer_notification_job(row.id, context={"answer": "No"})
    assert (await desk.row(row.id)).context["answer"] == "Sí"


async def test_can_answer_notification(desk: Desk, functions: Notifications) -> None:
    row = await requested(desk, functions)
    assert await functions.can_answer_notification(row.id)
    assert not await functions.can_answer_notification(NOWHERE)
    await functions.answer_notification_job(row.id, context={"answer": "Sí"})
    assert not await functions.can_answer_notification(row.id)
    async with desk.database.transaction() as session:
        (await session.get_one(Notification, row.id)).allow_multiple_answers = True
    assert await functions.can_answer_notification(row.id)


async def test_get_notifications_filters_by_status_and_type(desk: Desk, functions: Notifications) -> None:
    first, second = await requested(desk, functions), await requested(desk, functions, "¿Abren hoy?")
    await functions.request_notification_job(SUPPORT, desk.conversation_id, {"support_request_reason": "rota"})
    await functions.answer_notification_job(first.id, context={"answer": "Sí"})
    merchant_id = desk.shop.merchant_id

    async def ids(*filters: Any) -> list[int]:
        return [found.id for found in await functions.get_notifications(merchant_id, *filters)]

    assert len(await ids()) == 3
    assert await ids(NotificationStatus.answered) == [first.id]
    assert await ids(NotificationStatus.requested, [QUESTION]) == [second.id]
    (support,) = await functions.get_notifications(merchant_id, None, [SUPPORT])
    assert support.requested_fields == ["support_request_reason"]
    assert support.answered_fields == ["agent_response_to_customer"]
    assert await functions.get_notifications(NOWHERE) == []


async def test_get_notifications_gives_all_of_them(desk: Desk, functions: Notifications) -> None:
    async with desk.database.transaction() as session:
        for number in range(130):
            await functions.request_notification(QUESTION, desk.conversation_id, {"question": f"n{number}"}, session)
    assert len(await functions.get_notifications(desk.shop.merchant_id)) == 130


async def test_get_notifications_by_document_id(desk: Desk, functions: Notifications) -> None:
    await functions.answer_notification_job(
        notification_type=QUESTION, conversation_id=desk.conversation_id, context={"question": "x", "answer": "y"}
    )
    await requested(desk, functions)
    (row, _) = await all_notifications(desk)
    async with desk.database.read() as session:
        found = await functions.get_notifications_by_document_id(session, row.context["document_id"])
        assert [notification.id for notification in found] == [row.id]
        with pytest.raises(DocumentNotFound):
            await functions.get_notifications_by_document_id(session, NOWHERE)


async def send(
    desk: Desk,
    functions: Notifications,
    kind: NotificationType,
    status: NotificationStatus,
    conversation_id: int,
    context: dict[str, Any],
    **more: Any,
) -> list[int]:
    async with desk.database.transaction() as session:
        merchant_id = desk.shop.merchant_id
        return await functions.send_notification_messages(
            merchant_id, kind, status, conversation_id, context, session, **more
        )


VALUES = {"notification_id": 7, "lead_phone": "+51911111111", "question": "¿Venden hielo?"}


async def test_send_notification_messages_to_types_of_staff(desk: Desk, functions: Notifications) -> None:
    reason = {"support_request_type": "Returns", "support_request_reason": "rota"}
    sent = await send(
        desk,
        functions,
        SUPPORT,
        NotificationStatus.requested,
        desk.conversation_id,
        VALUES | reason,
        target_merchant_users=["returns"],
        assistant_message_override="Solo para el agente",
    )
    assert len(sent) == 1
    luis = await desk.staff_conversation(LUIS)
    instruction, asked = await desk.shop.messages(luis)
    assert (instruction.role, instruction.text) == ("assistant", "Solo para el agente")
    assert "NOTIF_7" in asked.text
    assert set(asked.other_data) == {"campaign_id", "notification_id", "notification_id_prefixed"}
    assert await nudged(desk, f"deliver:{luis}")


async def test_send_notification_messages_to_all_staff_and_to_the_customer(
    desk: Desk, functions: Notifications
) -> None:
    everyone = await send(desk, functions, QUESTION, NotificationStatus.requested, desk.conversation_id, VALUES)
    assert len(everyone) == len({ROSA, LUIS, EVA})
    answer = {"lead_name": "Ana", "answer": "Sí, en bolsas."}
    sent = await send(desk, functions, QUESTION, NotificationStatus.answered, desk.conversation_id, answer)
    assert len(sent) == 1
    (told,) = await desk.shop.messages(desk.conversation_id, "response")
    assert "Sí, en bolsas." in told.text


async def test_edge_cases_of_send_notification_messages(desk: Desk, functions: Notifications) -> None:
    given = (QUESTION, NotificationStatus.requested, desk.conversation_id)
    with pytest.raises(InvalidInput, match="question"):
        await send(desk, functions, *given, {"notification_id": 7, "lead_phone": "+51911111111"})
    with pytest.raises(ConversationNotFound):
        await send(desk, functions, QUESTION, NotificationStatus.requested, NOWHERE, VALUES)
    lonely = await make_shop(desk.database, "lonely", "+15550199", staff=[])
    alone = await lonely.hear("hola")
    async with desk.database.transaction() as session:
        assert not await functions.send_notification_messages(
            lonely.merchant_id, QUESTION, NotificationStatus.requested, alone, VALUES, session
        )
