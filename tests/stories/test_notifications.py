"""The stories of questions that do not go the usual way: joined, asked by others, nobody to ask, never answered."""

import pytest

from recado.notifications.service import NotificationService
from tests.builders import ANA, BETO, LUIS
from tests.notifications.desk import QUESTION
from tests.stories.house import ANSWERED, House, chapters, make_house, told


async def test_those_who_ask_the_same_are_named_and_nothing_more(house: House) -> None:
    first, notification = await house.asks()
    house.desk.models.answers["same_question"] = {"notification_id": f"NOTIF_{notification.id}"}
    house.shop.clock.forward(minutes=1)
    second, joined = await house.asks("¿Hay hielo?", BETO)
    house.shop.clock.forward(minutes=1)
    answer = await house.answers(notification)
    await house.desk.take_back(joined.id)
    of_first = await house.story(first.id)
    (named,) = told(of_first, "notification", "joins it")
    assert named.what == "NOTIF_2 joins it: another customer asks the same"
    assert second.id not in {one.ids.get("message_id") for one in of_first.moments}
    assert not [one for one in chapters(of_first) if "22)" in one], "the other customer is not shown"
    of_second = await house.story(second.id)
    assert told(of_second, "notification", "joins NOTIF_1, which asks the same")
    assert told(of_second, "notification", "asked before, for another customer")
    assert first.id not in {one.ids.get("message_id") for one in of_second.moments}
    assert not [one for one in chapters(of_second) if "11)" in one]
    assert answer.id in {one.ids.get("message_id") for one in of_second.moments}
    assert told(of_second, "said", "written for NOTIF_1")[0].chapter.endswith("to Rosa of the staff (+51…01)")
    back = [one for one in of_second.moments if one.chapter.endswith("to the customer (+51…22)")]
    assert [one.what for one in back if "for NOTIF_2" in one.what]
    assert of_second.outcome.endswith("NOTIF_2: the answer of Rosa is taken to the customer")


async def test_who_asked_that_was_no_turn(house: House) -> None:
    conversation = await house.shop.hear("hola")
    async with house.database.transaction() as session:
        service = NotificationService(session, house.shop.merchant_id, house.shop.clock)
        asked = await service.request(QUESTION, conversation, {"question": "¿Abren hoy?"}, "api:17")
    notification = await house.desk.run(asked.id)
    await house.desk.answer(notification.id, "Sí.", "api:18")
    await house.desk.take_back(notification.id)
    story = await house.story(2)
    assert told(story, "notification")[0].what == "user_question_request, asked over the API"
    assert told(story, "notification", "the answer of somebody is accepted")
    assert [one.what for one in told(story, "step")][-1] == "mark_answered"
    assert "message 1 from the customer (+51…11)" not in chapters(story), "it did not ask"


async def test_one_that_waits_and_one_that_nobody_can_be_asked(house: House) -> None:
    message, _ = await house.asks()
    story = await house.story(message.id)
    assert story.outcome.endswith("NOTIF_1 waits for the staff")
    lonely = await make_house(house.database, "lonely", "+15550200", staff=[])
    message, _ = await lonely.asks()
    story = await lonely.story(message.id)
    assert story.outcome.endswith("nobody could be asked about NOTIF_2")
    (alert,) = told(story, "alert")
    (said,) = told(story, "notification", "nobody to ask")
    assert (alert.chapter, alert.ids["notification_id"]) == (said.chapter, 2)
    assert "the merchant has no staff" in alert.what
    assert told(story, "said", "written for NOTIF_2")


async def test_an_answer_of_one_that_two_wait_for(house: House) -> None:
    """One message of the staff that answers two notifications causes both."""
    _, first = await house.asks()
    _, second = await house.asks("¿Y pan?", BETO)
    member = await house.inbox.member(LUIS)

    async def both(key: str) -> None:
        for row in (first, second):
            await house.desk.answer(row.id, ANSWERED, f"{key}:{row.id}", by=member)

    house.does(both)
    message = await house.write("Sí a las dos", LUIS)
    story = await house.story(message.id)
    assert "NOTIF_1: the answer of Luis is not taken to the customer yet; NOTIF_2: " in story.outcome
    assert told(story, "notification", "the answer is not on its way to the customer yet")
    customers = {one.split("(")[1] for one in chapters(story) if "from the customer" in one}
    assert customers == {"+51…11)", "+51…22)"}
    assert (ANA, BETO) == ("+51911111111", "+51922222222")


@pytest.mark.parametrize("minutes", [16, 61])
async def test_what_happens_while_nobody_answers(house: House, minutes: int) -> None:
    message, notification = await house.asks()
    house.shop.clock.forward(minutes=minutes)
    await house.desk.jobs.follow_up(notification.id, house.shop.merchant_id)
    story = await house.story(message.id)
    waits = [one for one in story.moments if one.chapter == "NOTIF_1: it waits for an answer"]
    assert [one.kind for one in waits] == ["notification"] * (1 if minutes == 16 else 2) + ["alert"] * (minutes == 61)
    assert waits[0].what == "who was asked is reminded"
    late = [one.ids["message_id"] for one in told(story, "said", "written for NOTIF_1") if one.seconds >= minutes * 60]
    assert len(late) == (2 if minutes == 16 else 3)
