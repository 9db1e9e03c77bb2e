"""Requests that cannot go on: there is nobody to ask, or the conversation is gone."""

from typing import Any

import pytest
from sqlalchemy import delete, update

from recado.db.engine import Database
from recado.db.models import (
    Campaign,
    Conversation,
    Delivery,
    Message,
    Notification,
)
from recado.errors import ConversationNotFound
from recado.notifications.asking import NOBODY_TO_ASK
from recado.notifications.service import NotificationService
from tests.builders import make_shop
from tests.notifications.desk import QUESTION, SUPPORT, Desk, make_desk

BROKEN = "Mi pedido llegó roto"
TO_RETURNS = {"target_user_type": "returns", "support_request_type": "Devolución"}


@pytest.fixture
async def desk(database: Database) -> Desk:
    desk = await make_desk(database)
    desk.models.answers["classify"] = TO_RETURNS
    return desk


async def told(desk: Desk) -> list[str]:
    return [message.text for message in await desk.shop.messages(desk.conversation_id, "response")]


@pytest.mark.parametrize("kind", [QUESTION, SUPPORT])
async def test_no_merchant_users_found(database: Database, kind: str) -> None:
    desk = await make_desk(database, staff=[])
    desk.models.answers["classify"] = TO_RETURNS
    row = await desk.ask(kind, BROKEN)
    assert (row.status, row.announced_at is not None) == ("requested", True)
    assert await told(desk) == [NOBODY_TO_ASK["es"]]
    ((title, problem, context),) = desk.alerts.sent
    assert (title, "no staff" in problem) == ("nobody_to_ask", True)
    ids = {"conversation_id": row.conversation_id, "notification_id": row.id}
    assert context == {"merchant_id": desk.shop.merchant_id, **ids}


@pytest.mark.parametrize("how", [delete(Campaign), update(Campaign).values(enabled=False)])
@pytest.mark.parametrize("kind", [QUESTION, SUPPORT])
async def test_no_campaign_configured(desk: Desk, kind: str, how: Any) -> None:
    async with desk.database.transaction() as session:
        await session.execute(how)
    row = await desk.ask(kind, BROKEN)
    assert row.status == "requested"
    assert row.context["merchant_user_conversation_user_ids"] == []
    assert await desk.asked(row.id) == {}
    assert await told(desk) == [NOBODY_TO_ASK["es"]]
    ((title, problem, _),) = desk.alerts.sent
    assert (title, "campaign" in problem) == ("nobody_to_ask", True)


@pytest.mark.parametrize("language", ["en", "pt", "fr", "tlh"])
async def test_the_customer_is_told_in_their_language(database: Database, language: str) -> None:
    desk = await make_desk(database, staff=[])
    async with database.transaction() as session:
        await session.execute(update(Conversation).values(language=language))
    await desk.ask(QUESTION, "?")
    assert await told(desk) == [NOBODY_TO_ASK.get(language, NOBODY_TO_ASK["en"])]


async def test_it_stays_open_and_can_be_answered_although_nobody_could_be_asked(database: Database) -> None:
    desk = await make_desk(database, staff=[])
    row = await desk.ask(QUESTION, "¿Venden hielo?")
    async with database.transaction() as session:
        assert await NotificationService(session, desk.shop.merchant_id, desk.shop.clock).can_answer(row.id)
    await desk.accept(row.id, {"answer": "Sí"})
    assert (await desk.row(row.id)).context["document_id"] > 0


async def test_conversation_not_found(desk: Desk) -> None:
    with pytest.raises(ConversationNotFound):
        await desk.request(SUPPORT, BROKEN, 9_999)


async def forget(desk: Desk) -> None:
    """The customer and all that is theirs is deleted."""
    async with desk.database.transaction() as session:
        for table in (Notification, Delivery, Message, Conversation):
            await session.execute(delete(table))


@pytest.mark.parametrize(("kind", "task"), [(QUESTION, "same_question"), (SUPPORT, "classify")])
async def test_conversation_deleted_while_the_model_thinks(desk: Desk, kind: str, task: str) -> None:
    async def meanwhile() -> dict[str, None]:
        await forget(desk)
        return {"target_user_type": None, "support_request_type": None, "notification_id": None}

    await desk.request(QUESTION, "¿Abren el domingo?")
    notification_id = await desk.request(kind, BROKEN)
    desk.models.answers[task] = meanwhile
    await desk.jobs.request(notification_id, desk.shop.merchant_id)
    assert desk.alerts.conditions == ["notification_stuck"]
    assert len(desk.models.calls) == 1


async def test_conversation_deleted_before_the_job_runs(desk: Desk) -> None:
    notification_id = await desk.request(SUPPORT, BROKEN)
    await forget(desk)
    await desk.jobs.request(notification_id, desk.shop.merchant_id)
    assert desk.alerts.conditions == ["notification_stuck"]


async def test_a_conversation_that_became_another_merchants_is_not_found(desk: Desk) -> None:
    notification_id = await desk.request(SUPPORT, BROKEN)
    other = await make_shop(desk.database, "other", "+15550200")
    async with desk.database.transaction() as session:
        await session.execute(update(Conversation).values(merchant_id=other.merchant_id))
    row = await desk.run(notification_id)
    ((_, problem, _),) = desk.alerts.sent
    assert problem.startswith("ConversationNotFound")
    assert row.announced_at is not None  # nothing tries for ever
