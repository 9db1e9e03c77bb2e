"""One answer for everyone who asked the same."""

from typing import Any

import pytest
from sqlalchemy import func, select

from recado.db.engine import Database
from recado.db.models import Document
from recado.errors import NotificationNotFound
from recado.notifications.joining import Joined
from recado.notifications.service import NotificationService
from tests.builders import BETO, make_shop, together
from tests.notifications.desk import LUIS, QUESTION, ROSA, SUPPORT, Desk, make_desk, no_model

CARLA = "+51933333333"
ICE = "¿Venden hielo?"


@pytest.fixture
async def desk(database: Database) -> Desk:
    desk = await make_desk(database)
    desk.models.answers["same_question"] = {"notification_id": None}
    return desk


async def documents(desk: Desk) -> int:
    async with desk.database.read() as session:
        asked = select(func.count()).select_from(Document).where(Document.category == "user_question")
        return await session.scalar(asked) or 0


async def join(desk: Desk, notification_id: int, target_id: int) -> Joined:
    async with desk.database.transaction() as session:
        service = NotificationService(session, desk.shop.merchant_id, desk.shop.clock)
        return await service.join(notification_id, target_id)


async def pending(desk: Desk) -> list[str]:
    async with desk.database.read() as session:
        service = NotificationService(session, desk.shop.merchant_id, desk.shop.clock)
        return [found["notification_id"] for found in await service.pending()]


async def nudged_to_answer(desk: Desk, notification_id: int) -> bool:
    return await desk.nudges.queue.job(desk.nudges.queue.job_id(f"answer:{notification_id}")) is not None


@pytest.mark.parametrize("again", [ICE, "¿venden  HIELO?", "¿Vénden\nhielo? "])
async def test_the_same_text_joins_without_a_model(desk: Desk, again: str) -> None:
    first = await desk.ask(QUESTION, ICE)
    second = await desk.ask(QUESTION, again, await desk.shop.hear("hola", BETO))
    assert (second.joined_to_id, second.status) == (first.id, "requested")
    assert second.announced_at is not None
    assert second.returned_at is None
    assert second.context["lead_phone"] == BETO
    assert desk.models.calls == []
    assert await desk.asked(second.id) == {}
    assert await documents(desk) == 1
    assert await pending(desk) == [f"NOTIF_{first.id}"]


async def test_the_model_says_what_means_the_same(desk: Desk) -> None:
    first = await desk.ask(QUESTION, ICE)
    await desk.ask(QUESTION, "¿Abren el domingo?")
    desk.models.answers["same_question"] = {"notification_id": f"NOTIF_{first.id}"}
    third = await desk.ask(QUESTION, "Do you sell ice?", await desk.shop.hear("hello", BETO))
    assert third.joined_to_id == first.id
    _, (task, prompt) = desk.models.calls
    assert task == "same_question"
    assert '"Do you sell ice?"' in prompt
    assert f'{{"notification_id": "NOTIF_{first.id}", "question": "¿Venden hielo?"}}' in prompt


NO_IDS: list[Any] = [
    None,
    "",
    "NOTIF_999",
    "NOTIF_{me}",
    "NOTIF_{other}",
    "NOTIF_{first} NOTIF_{me}",
    "null",
    "0",
    "👍",
]


@pytest.mark.parametrize("said", NO_IDS)
async def test_an_id_that_was_not_shown_joins_nothing(desk: Desk, said: str | None) -> None:
    other = await make_desk(desk.database, sub_domain="other", address="+15550200")
    theirs = await other.ask(QUESTION, "¿Tienen leña?")
    first = await desk.ask(QUESTION, ICE)
    me = await desk.request(QUESTION, "¿Abren el domingo?")
    named = said and said.format(me=me, other=theirs.id, first=first.id)
    desk.models.answers["same_question"] = {"notification_id": named}
    row = await desk.run(me)
    assert row.joined_to_id is None
    assert set(await desk.asked(me)) >= {ROSA, LUIS}


async def test_when_the_model_fails_the_staff_is_asked(desk: Desk) -> None:
    await desk.ask(QUESTION, ICE)
    desk.models.answers["same_question"] = no_model()
    row = await desk.ask(QUESTION, "¿Abren el domingo?")
    assert row.joined_to_id is None
    assert ROSA in await desk.asked(row.id)


async def test_only_open_questions_of_this_merchant_that_stand_for_themselves_are_compared(desk: Desk) -> None:
    shop = await make_shop(desk.database, "other", "+15550200")
    other = Desk(shop, await shop.hear("hola"))
    await other.request(QUESTION, "of another merchant")
    await desk.accept((await desk.ask(QUESTION, "answered")).id, {"answer": "Sí"})
    desk.models.answers["classify"] = {"target_user_type": None, "support_request_type": None}
    await desk.ask(SUPPORT, "support")
    await desk.ask(QUESTION, "open")
    await desk.ask(QUESTION, "OPEN", await desk.shop.hear("hola", BETO))
    asked = await desk.request(QUESTION, "asked now")
    await desk.request(QUESTION, "asked later")
    desk.models.calls.clear()
    await desk.run(asked)
    ((_, prompt),) = desk.models.calls
    shown = prompt.split("## Open questions")[1]
    assert '"open"' in shown
    for hidden in ("of another", "answered", "support", "OPEN", "asked now", "asked later"):
        assert hidden not in shown


async def test_the_model_compares_the_twenty_newest_and_texts_are_compared_further(desk: Desk) -> None:
    first = await desk.request(QUESTION, ICE)
    for number in range(20):
        await desk.request(QUESTION, f"other {number}")
    await desk.ask(QUESTION, "¿Abren?")
    ((_, prompt),) = desk.models.calls
    assert prompt.count("NOTIF_") - prompt.split("## Question")[0].count("NOTIF_") == 20
    assert ICE not in prompt
    assert (await desk.ask(QUESTION, ICE)).joined_to_id == first


async def test_the_same_customer_asking_again_does_not_hear_the_answer_twice(desk: Desk) -> None:
    first = await desk.ask(QUESTION, ICE)
    again = await desk.ask(QUESTION, ICE)
    beto = await desk.shop.hear("hola", BETO)
    betos = [await desk.ask(QUESTION, ICE, beto) for _ in range(2)]
    assert [row.joined_to_id for row in (again, *betos)] == [first.id] * 3
    await desk.accept(first.id, {"answer": "Sí"})
    rows = [await desk.row(found.id) for found in (first, again, *betos)]
    assert [row.status for row in rows] == ["answered"] * 4
    assert [row.returned_at is None for row in rows] == [True, False, True, False]


async def test_what_had_joined_moves_with_it(desk: Desk) -> None:
    """Of three that ask the same, the last finds the second before that finds the first."""
    beto, carla = await desk.shop.hear("hola", BETO), await desk.shop.hear("hola", CARLA)
    first, second, third, fourth = [
        await desk.request(QUESTION, text, conversation)
        for text, conversation in ((ICE, None), ("¿Hay hielo?", beto), ("Ice?", carla), ("Hielo", None))
    ]
    for joining, target in ((third, second), (fourth, second)):
        assert (await join(desk, joining, target)).root == second
    assert (await join(desk, second, first)).root == first
    rows = [await desk.row(found) for found in (first, second, third, fourth)]
    assert [row.joined_to_id for row in rows] == [None, first, first, first]
    await desk.accept(first, {"answer": "Sí"})
    assert [(await desk.row(found)).context.get("answer") for found in (second, third, fourth)] == ["Sí"] * 3


async def test_joining_one_that_has_joined_another_joins_that(desk: Desk) -> None:
    first, second, third = [await desk.request(QUESTION, text) for text in ("a", "b", "c")]
    await join(desk, second, first)
    assert (await join(desk, third, second)).root == first


async def test_nothing_joins_itself_or_a_newer_one(desk: Desk) -> None:
    first, second = await desk.request(QUESTION, "a"), await desk.request(QUESTION, "b")
    for target in (first, second):
        assert await join(desk, first, target) == Joined(None, [])
    await join(desk, second, first)
    assert await join(desk, first, second) == Joined(None, [])  # second's root is first itself
    assert (await desk.row(first)).joined_to_id is None


async def test_joining_again_changes_nothing(desk: Desk) -> None:
    first, second = await desk.request(QUESTION, "a"), await desk.request(QUESTION, "b")
    assert await join(desk, second, first) == await join(desk, second, first) == Joined(first, [])


async def test_what_has_its_answer_joins_nothing_and_its_document_is_made(desk: Desk) -> None:
    await desk.ask(QUESTION, ICE)
    second = await desk.request(QUESTION, ICE, await desk.shop.hear("hola", BETO))
    await desk.accept(second, {"answer": "Sí"})
    row = await desk.run(second)
    assert (row.joined_to_id, row.context["answer"]) == (None, "Sí")
    assert row.context["document_id"] > 0
    assert await desk.asked(second) == {}
    assert await documents(desk) == 2


async def test_another_merchants_question_is_not_joined(desk: Desk) -> None:
    other = await make_desk(desk.database, sub_domain="other", address="+15550200")
    theirs = await other.request(QUESTION, ICE)
    mine = await desk.request(QUESTION, ICE)
    with pytest.raises(NotificationNotFound):
        await join(desk, mine, theirs)
    assert (await desk.row(mine)).joined_to_id is None


async def test_one_that_joins_what_was_answered_meanwhile_is_closed_at_once(desk: Desk) -> None:
    first = await desk.ask(QUESTION, ICE)

    async def answered_meanwhile() -> dict[str, str]:
        await desk.accept(first.id, {"answer": "Sí, a 5 soles"})
        return {"notification_id": f"NOTIF_{first.id}"}

    desk.models.answers["same_question"] = answered_meanwhile
    second = await desk.ask(QUESTION, "Do you sell ice?", await desk.shop.hear("hello", BETO))
    assert (second.status, second.joined_to_id) == ("answered", first.id)
    assert second.context["answer"] == "Sí, a 5 soles"
    assert second.returned_at is None
    assert await nudged_to_answer(desk, second.id)


async def test_the_same_customer_joining_what_was_answered_meanwhile_hears_it_once(desk: Desk) -> None:
    first = await desk.request(QUESTION, ICE)
    second = await desk.request(QUESTION, "Hielo")
    await desk.accept(first, {"answer": "Sí"})
    await join(desk, second, first)
    row = await desk.row(second)
    assert (row.status, row.returned_at is None) == ("answered", False)


async def test_an_answer_and_ten_that_join_at_once_all_get_the_answer(desk: Desk) -> None:
    first = await desk.ask(QUESTION, ICE)
    phones = [f"+5194{number:07}" for number in range(10)]
    others = [await desk.request(QUESTION, ICE, await desk.shop.hear("hola", phone)) for phone in phones]
    results = await together(
        *(desk.run(found) for found in others[:5]),
        desk.accept(first.id, {"answer": "Sí"}),
        *(desk.run(found) for found in others[5:]),
    )
    assert [found for found in results if isinstance(found, Exception)] == []
    for notification_id in others:
        row = await desk.row(notification_id)
        # Either it joined, and has the answer, or it came after the answer and the staff is asked.
        assert (row.joined_to_id == first.id) == (row.status == "answered")


@pytest.mark.parametrize("answered_at_once", [False, True])
async def test_a_chain_that_joins_at_once_has_one_end(desk: Desk, answered_at_once: bool) -> None:
    """Each asks the same as the one before, and all find that out in the same moment."""
    for round_ in range(5):
        ids = [
            await desk.request(QUESTION, f"{round_} {n}", await desk.shop.hear("hola", f"+5194{round_}{n:06}"))
            for n in range(8)
        ]
        desk.models.newest_shown = True
        work = [desk.run(found) for found in ids]
        results = await together(*work, *([desk.accept(ids[0], {"answer": "Sí"})] if answered_at_once else []))
        assert [found for found in results if isinstance(found, Exception)] == []
        rows = {found: await desk.row(found) for found in ids}
        for row in rows.values():
            if row.joined_to_id is not None:
                root = await desk.row(row.joined_to_id)
                assert (root.id < row.id, root.joined_to_id, row.status) == (True, None, root.status)
        for row in rows.values():  # the next round begins with nothing open
            if row.joined_to_id is None and row.status == "requested":
                await desk.accept(row.id, {"answer": "Sí"})


async def test_a_support_request_is_never_joined(desk: Desk) -> None:
    desk.models.answers["classify"] = {"target_user_type": "returns", "support_request_type": "Devolución"}
    rows = [await desk.ask(SUPPORT, "Llegó roto") for _ in range(2)]
    assert [row.joined_to_id for row in rows] == [None, None]
    assert [task for task, _ in desk.models.calls] == ["classify"]


async def test_two_emoji_are_two_questions(desk: Desk) -> None:
    rows = [await desk.ask(QUESTION, emoji) for emoji in ("👍", "🍕")]
    assert [row.joined_to_id for row in rows] == [None, None]
    assert (await desk.ask(QUESTION, "🍕")).joined_to_id == rows[1].id
