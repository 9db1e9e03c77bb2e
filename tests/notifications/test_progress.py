"""Where a customer stands while the team is asked, and once it has answered."""

from typing import Any

import pytest
from sqlalchemy import select, update

from recado.db.engine import Database
from recado.db.models import Campaign, Conversation, SyncEntry
from recado.notifications.patience import NO_REPLY_YET
from tests.builders import BETO
from tests.notifications.answer_desk import AnswerDesk, make_answer_desk
from tests.notifications.desk import QUESTION, SUPPORT

ANSWERED = [(QUESTION, ("info", "answered")), (SUPPORT, ("support", "answered"))]


@pytest.fixture
async def desk(synced_database: Database) -> AnswerDesk:
    """A shop that is synced."""
    return await make_answer_desk(synced_database)


async def stands(desk: AnswerDesk, conversation_id: int | None = None) -> tuple[str | None, str | None]:
    row = await desk.conversation(conversation_id)
    return row.intent, row.step


async def put(desk: AnswerDesk, intent: str, step: str) -> None:
    async with desk.database.transaction() as session:
        row = await session.get_one(Conversation, desk.conversation_id)
        row.intent, row.step = intent, step


async def entries(desk: AnswerDesk) -> list[dict[str, Any] | None]:
    """What the conversation API will be told of this customer: states, and None for each message."""
    async with desk.database.read() as session:
        query = select(SyncEntry).where(SyncEntry.conversation_id == desk.conversation_id).order_by(SyncEntry.id)
        return [entry.payload for entry in await session.scalars(query)]


@pytest.mark.parametrize(("kind", "expected"), ANSWERED)
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("campaign", [True, False])
async def test_with_the_answer_the_customer_stands_there_and_the_api_hears_it_with_the_message(
    desk: AnswerDesk, kind: str, expected: tuple[str, str], closed: bool, campaign: bool
) -> None:
    notification = await desk.ask(kind, "¿Venden hielo?")
    await put(desk, "menu", "looking")
    if not campaign:
        async with desk.database.transaction() as session:
            await session.execute(update(Campaign).values(enabled=False))
    if closed:
        desk.shop.clock.forward(hours=25)
    before = await entries(desk)
    await desk.take_back(*await desk.answer(notification.id, "Sí"))
    assert await stands(desk) == expected
    assert await entries(desk) == [*before, None, {"intent": expected[0], "step": "answered"}]


async def test_an_answer_that_is_sent_again_after_a_crash_does_not_move_the_customer_back(desk: AnswerDesk) -> None:
    notification = await desk.ask(QUESTION, "¿Venden hielo?")
    await desk.answer(notification.id, "Sí")
    async with desk.database.read() as session:
        context = await desk.service(session).load_answer(notification.id)
    for expected in (("info", "answered"), ("order", "choosing")):
        async with desk.database.transaction() as session:
            await desk.service(session).answer_customer(context, "Sí", None, None)
        assert await stands(desk) == expected
        told = await entries(desk)
        await put(desk, "order", "choosing")
    async with desk.database.transaction() as session:
        await desk.service(session).answer_customer(context, "Sí", None, None)
    assert await entries(desk) == told


async def test_everybody_who_joined_stands_there_too(desk: AnswerDesk) -> None:
    other = await desk.shop.hear("hola", BETO)
    first = await desk.ask(QUESTION, "¿Venden hielo?")
    await desk.ask(QUESTION, "¿venden hielo?", other)
    await desk.take_back(*await desk.answer(first.id, "Sí"))
    assert [await stands(desk, conversation) for conversation in (None, other)] == [("info", "answered")] * 2


async def test_that_nobody_has_replied_yet_changes_nothing(desk: AnswerDesk) -> None:
    notification = await desk.ask(SUPPORT, "Llegó roto")
    await put(desk, "support", "waiting_for_team")
    desk.shop.clock.forward(minutes=60)
    await desk.jobs.follow_up(notification.id, desk.shop.merchant_id)
    assert NO_REPLY_YET["es"] in [row.text for row in await desk.shop.messages(desk.conversation_id, "response")]
    assert await stands(desk) == ("support", "waiting_for_team")
    assert (await entries(desk))[-2:] == [None, {"intent": "support", "step": "waiting_for_team"}]
