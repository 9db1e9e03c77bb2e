"""One answer for everyone who waits for it, several where they are allowed, and what an answer costs."""

import pytest
from sqlalchemy import select

from recado.campaigns.templates import QUESTION_ANSWER
from recado.db.engine import Database
from recado.db.models import Conversation, Document, Message
from tests.builders import ANA, BETO, EVA, LUIS
from tests.notifications.answer_desk import FIELDS, AnswerDesk, make_answer_desk
from tests.notifications.desk import QUESTION, SUPPORT, counted


@pytest.fixture
async def desk(database: Database) -> AnswerDesk:
    return await make_answer_desk(database)


async def joined(desk: AnswerDesk, root_id: int, *phones: str) -> list[int]:
    """Questions of other people that joined this one."""
    ids = []
    for phone in phones:
        conversation_id = await desk.shop.hear("hola", phone)
        notification_id = await desk.request(QUESTION, "¿Hay hielo?", conversation_id)
        async with desk.database.transaction() as session:
            row = await session.get_one(type(await desk.row(root_id)), notification_id)
            row.joined_to_id, row.announced_at = root_id, desk.shop.clock.now()
        ids.append(notification_id)
    return ids


async def test_everyone_who_asked_gets_the_answer_by_their_own_window_and_language(desk: AnswerDesk) -> None:
    root = await desk.ask(QUESTION, "¿Venden hielo?")
    (beto,) = await joined(desk, root.id, BETO)
    betos = (await desk.row(beto)).conversation_id
    async with desk.database.transaction() as session:
        (await session.get_one(Conversation, betos)).language = "en"
    desk.shop.clock.forward(hours=24, seconds=1)
    await desk.shop.hear("hola", ANA)
    closed = await desk.answer(root.id, "Sí")
    assert [row.id for row in closed] == [root.id, beto]
    documents = await titles(desk)
    await desk.take_back(*closed)
    assert await desk.delivered() == ["Me dicen que sí hay."]
    assert await desk.delivered(betos) == [QUESTION_ANSWER]
    assert [task for task, _ in desk.models.calls][-2:] == ["reply", "localise"]
    assert "in the language `en`" in desk.models.calls[-1][1]
    assert await titles(desk) == documents, "what joined has no document of its own"
    row = await desk.row(beto)
    assert (row.status, row.context["answer"], row.answer_key) == ("answered", "Sí", closed[0].answer_key)


async def titles(desk: AnswerDesk) -> list[str]:
    async with desk.database.read() as session:
        return sorted(await session.scalars(select(Document.title)))


async def test_one_conversation_hears_one_answer(desk: AnswerDesk) -> None:
    root = await desk.ask(QUESTION, "¿Venden hielo?")
    ids = await joined(desk, root.id, ANA, BETO, BETO)
    closed = await desk.answer(root.id, "Sí")
    assert [row.id for row in closed] == [root.id, *ids]
    await desk.take_back(*closed)
    await desk.take_back(*closed)
    betos = (await desk.row(ids[1])).conversation_id
    assert await desk.delivered() == ["Me dicen que sí hay."]
    assert await desk.delivered(betos) == ["Me dicen que sí hay."]
    assert {(await desk.row(found)).status for found in ids} == {"answered"}
    assert all([(await desk.row(found)).returned_at for found in ids])


async def test_the_staff_hears_once_that_it_is_closed_however_many_joined(desk: AnswerDesk) -> None:
    conversation_id = await desk.shop.hear("hola", LUIS)
    root = await desk.ask(QUESTION, "¿Venden hielo?")
    await joined(desk, root.id, BETO, EVA)
    await desk.delivered(conversation_id)
    await desk.take_back(*await desk.answer(root.id, "Sí"))
    assert len(await desk.delivered(conversation_id)) == 1


async def test_answering_one_that_joined_answers_the_one_that_the_staff_saw(desk: AnswerDesk) -> None:
    root = await desk.ask(QUESTION, "¿Venden hielo?")
    (beto,) = await joined(desk, root.id, BETO)
    closed = await desk.answer(beto, "Sí", "first")
    assert [row.id for row in closed] == [root.id, beto]
    assert [row.id for row in await desk.answer(beto, "Sí", "first")] == [root.id, beto], "the same answer again"
    assert (await desk.row(root.id)).context["answer"] == "Sí"


async def test_several_answers_where_they_are_allowed_each_reach_the_customer(desk: AnswerDesk) -> None:
    notification = await desk.ask(QUESTION, "¿Venden hielo?")
    async with desk.database.transaction() as session:
        row = await session.get_one(type(notification), notification.id)
        row.allow_multiple_answers = True
    for number in range(2):
        desk.models.answers["reply"] = f"Respuesta {number}"
        await desk.take_back(*await desk.answer(notification.id, f"n{number}", f"key {number}"))
        assert await desk.delivered() == [f"Respuesta {number}"]


async def test_an_answer_that_comes_while_another_is_taken_back_is_not_lost(desk: AnswerDesk) -> None:
    notification = await desk.ask(QUESTION, "¿Venden hielo?")
    async with desk.database.transaction() as session:
        row = await session.get_one(type(notification), notification.id)
        row.allow_multiple_answers = True
    await desk.answer(notification.id, "uno", "key 1")
    async with desk.database.transaction() as session:
        service = desk.service(session)
        context = await service.load_answer(notification.id)
    await desk.answer(notification.id, "dos", "key 2")
    async with desk.database.transaction() as session:
        await desk.service(session).finish(context)
    assert (await desk.row(notification.id)).returned_at is None
    await desk.take_back(notification.id)
    assert "dos" in desk.models.calls[-1][1]


@pytest.mark.parametrize("staff", [1, 10])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("kind", [QUESTION, SUPPORT])
async def test_what_an_answer_costs(database: Database, kind: str, closed: bool, staff: int) -> None:
    """At most 11 reads and updates and 2 model calls, from accepting to the end, however many staff were asked."""
    people = [{"name": f"P{n}", "phone": f"+5190000{n:04}", "types": ["admin"]} for n in range(staff)]
    desk = await make_answer_desk(database, staff=people)
    notification = await desk.ask(kind, "¿Venden hielo?")
    if closed:
        desk.shop.clock.forward(hours=25)
    by = (await desk.staff_ids())[people[0]["phone"]]
    calls = len(desk.models.calls)
    with counted(database) as statements:
        async with database.transaction() as session:
            accepted = await desk.service(session).accept(notification.id, {FIELDS[kind]: "Sí"}, "key", by)
        await desk.take_back(*accepted)
    costly = [found for found in statements if found.lstrip().upper().startswith(("SELECT", "UPDATE"))]
    assert len(costly) <= 11, costly
    assert len(desk.models.calls) - calls == 1
    inserts = [found for found in statements if found.lstrip().upper().startswith("INSERT")]
    assert len(inserts) <= 8, "closing notices are written in bulk"
    closing = [message for message in await all_messages(desk) if ":closed:" in message.key]
    assert len(closing) == staff - 1


async def all_messages(desk: AnswerDesk) -> list[Message]:
    async with desk.database.read() as session:
        return list(await session.scalars(select(Message)))
