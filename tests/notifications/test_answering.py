"""Accepting one answer, learning it, and taking it to the customer."""

import asyncio

import pytest
from sqlalchemy import func, select, update

from recado.campaigns import templates
from recado.db.engine import Database
from recado.db.models import ChannelAccount, Message, Notification
from recado.errors import (
    AlreadyAnswered,
    NotificationNotFound,
)
from tests.builders import ANA, EVA, LUIS, ROSA, make_shop, together
from tests.notifications.staffroom import QUESTION, Staffroom


async def test_an_answer_is_accepted_once(room: Staffroom) -> None:
    notification_id = await room.request()
    async with room.service() as service:
        assert await service.can_answer(notification_id)
    row = await room.accept(notification_id, "Sí, a 5 soles", "first")
    assert (row.status, row.answer_key, row.context["answer"]) == ("answered", "first", "Sí, a 5 soles")
    with pytest.raises(AlreadyAnswered, match=f"NOTIF_{notification_id} has been answered already"):
        await room.accept(notification_id, "No", "second")
    async with room.service() as service:
        assert not await service.can_answer(notification_id)
        assert not await service.can_answer(9_999)
    assert (await room.get(notification_id)).context["answer"] == "Sí, a 5 soles"


async def test_the_same_key_again_is_the_same_answer(room: Staffroom) -> None:
    notification_id = await room.request()
    await room.accept(notification_id, "Sí", "first")
    assert (await room.accept(notification_id, "Otra", "first")).context["answer"] == "Sí"


async def test_an_answer_cannot_change_the_rest_of_the_context(room: Staffroom) -> None:
    notification_id = await room.request()
    await room.announce(notification_id)
    before = (await room.get(notification_id)).context
    forged = {"answer": "Sí", "document_id": 99, "question": "x", "lead_phone": "+1", "extra": {"a": [1]}}
    await room.accept(notification_id, forged)
    assert (await room.get(notification_id)).context == before | {"answer": "Sí"}


async def test_what_no_database_takes_is_cleaned_from_an_answer(room: Staffroom) -> None:
    notification_id = await room.request(question="¿a\x00\ud83d?")
    await room.announce(notification_id)
    await room.accept(notification_id, "s\x00í\ud800 👍🏽")
    conversation_id = await room.answer_customer(notification_id, "sí")
    assert (await room.get(notification_id)).context["answer"] == "sí 👍🏽"
    assert (await room.shop.messages(conversation_id, "response"))[0].text == "sí"


async def test_of_ten_answers_at_once_one_is_accepted(room: Staffroom) -> None:
    for round_ in range(30):
        notification_id = await room.request(f"k{round_}")
        results = await together(*(room.accept(notification_id, f"answer {n}", f"key {n}") for n in range(10)))
        accepted = [result for result in results if isinstance(result, Notification)]
        assert len(accepted) == 1
        assert [isinstance(result, AlreadyAnswered) for result in results].count(True) == 9
        row = await room.get(notification_id)
        assert (row.answer_key, row.context["answer"]) == (accepted[0].answer_key, accepted[0].context["answer"])
        assert row.answer_key is not None
        assert row.context["answer"].split()[1] == row.answer_key.split()[1]


async def test_an_answer_that_comes_while_the_staff_is_still_being_asked_is_kept(room: Staffroom) -> None:
    """Two transactions that change the same context: none may undo the other's change."""
    notification_id = await room.request()
    async with room.service() as service:
        await service.accept(notification_id, {"answer": "Sí"}, "a", None)

        async def remember() -> None:
            async with room.service() as other:
                await other.remember_recipients(notification_id, [1, 2])

        racing = asyncio.create_task(remember())
        await asyncio.wait({racing}, timeout=0.1)
    await racing
    context = (await room.get(notification_id)).context
    assert (context.get("answer"), context.get("merchant_user_conversation_user_ids")) == ("Sí", [1, 2])


async def test_merchants_are_walls(room: Staffroom) -> None:
    notification_id = await room.request()
    other = await make_shop(room.shop.database, "other", "+15550200")
    async with room.service(other) as service:
        assert not await service.can_answer(notification_id)
        assert await service.find() == await service.pending() == await service.by_document(1) == []
        for forbidden in (
            service.get(notification_id),
            service.accept(notification_id, {"answer": "x"}, "a", None),
            service.announce(notification_id, "x"),
            service.load_answer(notification_id),
            service.answer_to_do(notification_id),
            service.remember_recipients(notification_id, []),
            service.complete_context(notification_id, 1),
        ):
            with pytest.raises(NotificationNotFound):
                await forbidden
        await service.abandon(notification_id)
    row = await room.get(notification_id)
    assert (row.status, row.announced_at, row.returned_at) == ("requested", None, None)


async def test_the_answer_is_learned_and_found_by_its_document(room: Staffroom) -> None:
    notification_id = await room.request()
    await room.announce(notification_id)
    document_id = (await room.get(notification_id)).context["document_id"]
    unanswered = await room.request("k2")
    await room.accept(notification_id, "Sí, a 5 soles")
    context = await room.context(notification_id)
    async with room.service() as service:
        await service.learn(context)
        assert [found.id for found in await service.by_document(document_id)] == [notification_id]
        assert await service.by_document(document_id + 1) == []
        assert [found.id for found in await service.find("answered")] == [notification_id]
        assert [found.id for found in await service.find("requested", [QUESTION])] == [unanswered]
        assert await service.find(types=["something_else"]) == []
        assert [p["notification_id"] for p in await service.pending()] == [f"NOTIF_{unanswered}"]


async def test_the_answer_goes_to_the_customer_once(room: Staffroom) -> None:
    notification_id = await room.request()
    await room.announce(notification_id)
    await room.accept(notification_id, "Sí")
    for _ in range(2):
        said = await room.answer_customer(notification_id, "El equipo dice que sí", prompt="reply@0123456789ab")
    assert said == room.conversation_id
    context, answer = await room.shop.messages(said, "assistant", "response")
    assert f"Notification context (ID: NOTIF_{notification_id})" in context.text
    assert (answer.text, answer.prompt) == ("El equipo dice que sí", "reply@0123456789ab")
    (delivery,) = await room.shop.deliveries(said)
    assert (delivery.text, (delivery.template or {})["name"]) == ("El equipo dice que sí", templates.QUESTION_ANSWER)


async def staff_ids(room: Staffroom) -> dict[str, int]:
    async with room.service() as service:
        return {person.phone: person.id for person in await service._merchants.staff()}


@pytest.mark.parametrize("answerer", [ROSA, LUIS, None])
async def test_the_others_hear_that_it_is_closed_but_not_who_answered(room: Staffroom, answerer: str | None) -> None:
    staff = {phone: await room.shop.hear("hola", phone) for phone in (ROSA, LUIS)}
    notification_id = await room.request()
    await room.announce(notification_id)
    by = (await staff_ids(room))[answerer] if answerer else None
    await room.accept(notification_id, "Sí", by=by)
    for _ in range(2):
        told = await room.notify_others(notification_id)
        assert sorted(told) == sorted(conversation for phone, conversation in staff.items() if phone != answerer)
    for phone, conversation_id in staff.items():
        texts = [message.text for message in await room.shop.messages(conversation_id, "response")]
        assert len(texts) == (1 if phone == answerer else 2)
        assert all(f"NOTIF_{notification_id}" in text for text in texts)


async def test_a_closing_notice_that_cannot_be_sent_is_not_tried(database: Database) -> None:
    """The window of the others is closed, and their account has no template for it: the agent alone hears of it."""
    shop = await make_shop(database)
    room = Staffroom(shop, await shop.hear("hola"))
    notification_id = await room.request()
    _, conversations = await room.announce(notification_id)
    twilio = {"channel": "twilio", "address": "+14155238886", "templates": {}}
    async with database.transaction() as session:
        account = await session.get_one(ChannelAccount, shop.account.id)
        for name, value in twilio.items():
            setattr(account, name, value)
    await room.accept(notification_id, "Sí")
    assert await room.notify_others(notification_id) == []
    for conversation_id in conversations:
        closing = (await shop.messages(conversation_id, "assistant"))[-1]
        assert closing.text == f"Notification NOTIF_{notification_id} has been answered and is now closed."
        assert len(await shop.deliveries(conversation_id)) == 1


async def test_staff_who_came_later_are_asked_the_next_time_only(room: Staffroom) -> None:
    notification_id = await room.request()
    contacts, _ = await room.announce(notification_id)
    await room.shop.open(EVA, "Eva")
    await room.accept(notification_id, "Sí")
    assert len(await room.notify_others(notification_id)) == len(contacts) == 2


async def test_a_notification_whose_customer_has_no_name_goes_out_all_the_same(database: Database) -> None:
    shop = await make_shop(database)
    room = Staffroom(shop, await shop.open(ANA, None))
    notification_id = await room.request()
    await room.announce(notification_id)
    await room.accept(notification_id, "Sí")
    await room.answer_customer(notification_id, "Sí")
    (delivery,) = await shop.deliveries(room.conversation_id)
    assert (delivery.template or {})["variables"] == {"lead_name": "cliente", "answer": "Sí"}


async def test_where_several_answers_are_allowed_each_is_accepted(room: Staffroom) -> None:
    notification_id = await room.request()
    async with room.shop.database.transaction() as session:
        await session.execute(update(Notification).values(allow_multiple_answers=True))
    for number in range(3):
        await room.accept(notification_id, f"n{number}", f"key {number}")
    assert (await room.get(notification_id)).context["answer"] == "n2"
    async with room.service() as service:
        assert await service.can_answer(notification_id)
    assert await room.notify_others(notification_id) == []
    async with room.shop.database.read() as session:
        closings = select(func.count()).select_from(Message).where(Message.key.contains("closure"))
        assert await session.scalar(closings) == 0
