"""What is gone when the answer is taken back holds up nothing else."""

import pytest
from sqlalchemy import update

from recado.db.engine import Database
from recado.db.models import Conversation, Document, Notification
from recado.notifications.base import RECIPIENTS
from tests.builders import ROSA, make_shop
from tests.notifications.answer_desk import AnswerDesk, make_answer_desk
from tests.notifications.desk import EVA, LUIS, QUESTION


@pytest.fixture
async def desk(database: Database) -> AnswerDesk:
    return await make_answer_desk(database)


@pytest.mark.parametrize("gone", ["document", "conversation"])
async def test_what_is_gone_in_between_is_said_once_and_not_tried_for_ever(desk: AnswerDesk, gone: str) -> None:
    notification = await desk.ask(QUESTION, "¿Venden hielo?")
    closed = await desk.answer(notification.id, "Sí")
    other = await make_shop(desk.database, "other", "+15550200")
    async with desk.database.transaction() as session:
        if gone == "document":
            document = await session.get_one(Document, (await desk.row(notification.id)).context["document_id"])
            await session.delete(document)
        else:
            await session.execute(update(Conversation).values(merchant_id=other.merchant_id))
    await desk.take_back(*closed)
    await desk.take_back(*closed)
    ((title, reason, context),) = desk.alerts.sent
    assert title == "notification_stuck"
    assert reason.startswith("DocumentNotFound" if gone == "document" else "ConversationNotFound")
    assert context["notification_id"] == notification.id
    assert context["merchant_id"] == desk.shop.merchant_id
    assert context.get("conversation_id", notification.conversation_id) == notification.conversation_id
    assert (await desk.row(notification.id)).returned_at is not None


async def test_a_colleague_who_cannot_be_told_that_it_is_closed_holds_up_nobody(desk: AnswerDesk) -> None:
    asked = await desk.ask(QUESTION, "¿Venden hielo?")
    async with desk.database.transaction() as session:
        row = await session.get_one(Notification, asked.id)
        row.context = row.context | {RECIPIENTS: [999_999, *row.context[RECIPIENTS]]}  # one of them is gone
    await desk.take_back(*await desk.answer(asked.id, "Sí", by=(await desk.staff_ids())[ROSA]))
    assert await desk.delivered() == ["Me dicen que sí hay."]
    closing = f"Notification NOTIF_{asked.id} has been answered and is now closed."
    for phone, notices in ((LUIS, 1), (EVA, 1), (ROSA, 0)):
        said = await desk.shop.messages(await desk.staff_conversation(phone), "assistant")
        assert [message.text for message in said].count(closing) == notices
    assert (await desk.row(asked.id)).returned_at is not None
    assert desk.alerts.sent == []
