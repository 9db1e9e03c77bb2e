"""Nobody waits in silence: reminders, escalation and the customer's note, each once, by the merchant's patience."""

import asyncio

import pytest

from recado.db.engine import Database
from recado.notifications.patience import NO_REPLY_YET, notifications_to_follow_up
from recado.turns.sweep import sweep
from tests.builders import BETO, apply_specs, merchant_spec
from tests.notifications.desk import EVA, LUIS, QUESTION, ROSA, SUPPORT, Desk, make_desk

REASON = "Mi licuadora llegó rota"
RETURNS_SAID = {"target_user_type": "returns", "support_request_type": "Returns"}


@pytest.fixture
async def desk(database: Database) -> Desk:
    made = await make_desk(database)
    made.models.answers["classify"] = RETURNS_SAID
    return made


async def due(desk: Desk) -> list[int]:
    async with desk.database.read() as session:
        found = await notifications_to_follow_up(session, desk.shop.clock.now(), 100)
    return [notification_id for notification_id, _ in found]


async def follow_up_all(desk: Desk) -> list[int]:
    """What the sweep would do now; the notifications that it looked at."""
    found = await due(desk)
    for notification_id in found:
        await desk.jobs.follow_up(notification_id, desk.shop.merchant_id)
    return found


async def told(desk: Desk, conversation_id: int) -> list[str]:
    return [message.text for message in await desk.shop.messages(conversation_id, "response")]


async def test_those_who_were_asked_are_reminded_after_the_merchants_minutes_and_once(desk: Desk) -> None:
    asked = await desk.ask(SUPPORT, REASON)
    desk.shop.clock.forward(minutes=15, seconds=-1)
    assert await due(desk) == []
    desk.shop.clock.forward(seconds=1)
    assert await follow_up_all(desk) == [asked.id]
    sent = await desk.asked(asked.id)
    assert list(sent) == [LUIS]
    assert len(sent[LUIS]) == 2
    assert sent[LUIS][1] == f"Recordatorio: NOTIF_{asked.id} sigue esperando una respuesta.\n\n{REASON}"
    assert (await desk.row(asked.id)).reminded_at == desk.shop.clock.now()
    desk.shop.clock.forward(minutes=10)
    assert await follow_up_all(desk) == []
    await desk.jobs.follow_up(asked.id, desk.shop.merchant_id)
    assert len((await desk.asked(asked.id))[LUIS]) == 2


async def test_a_reminder_has_its_template_and_the_answer_button(desk: Desk) -> None:
    asked = await desk.ask(SUPPORT, REASON)
    desk.shop.clock.forward(minutes=15)
    await follow_up_all(desk)
    conversation_id = await desk.staff_conversation(LUIS)
    request, reminder = await desk.shop.deliveries(conversation_id)
    assert reminder.template == request.template
    assert reminder.template is not None
    assert reminder.template["name"] == "merchant_user_override_request"
    assert [button["id"] for button in reminder.buttons] == ["answer"]
    (_, message) = await desk.shop.messages(conversation_id, "response")
    assert message.other_data["notification_id_prefixed"] == f"NOTIF_{asked.id}"


async def test_admins_are_asked_and_the_customer_hears_it_once(desk: Desk) -> None:
    asked = await desk.ask(SUPPORT, REASON)
    for minutes in (15, 45, 60, 600):
        desk.shop.clock.forward(minutes=minutes)
        await follow_up_all(desk)
    sent = await desk.asked(asked.id)
    assert {phone: len(texts) for phone, texts in sent.items()} == {LUIS: 2, ROSA: 1}
    assert REASON in sent[ROSA][0]
    (instruction,) = await desk.shop.messages(await desk.staff_conversation(ROSA), "assistant")
    assert "answer_notification" in instruction.text
    assert await told(desk, desk.conversation_id) == [NO_REPLY_YET["es"]]
    row = await desk.row(asked.id)
    assert row.escalated_at is not None
    assert row.announced_at is not None
    assert (row.escalated_at - row.announced_at).total_seconds() == 3_600
    assert len(row.context["merchant_user_conversation_user_ids"]) == 2


async def test_admins_who_were_asked_already_are_not_asked_again(desk: Desk) -> None:
    asked = await desk.ask(QUESTION, "¿Venden hielo?")
    desk.shop.clock.forward(minutes=60)
    await follow_up_all(desk)
    sent = await desk.asked(asked.id)
    assert {phone: len(texts) for phone, texts in sent.items()} == {LUIS: 2, ROSA: 2, EVA: 2}
    assert await told(desk, desk.conversation_id) == [NO_REPLY_YET["es"]]


async def test_after_a_long_stop_each_step_still_happens_once(desk: Desk) -> None:
    asked = await desk.ask(SUPPORT, REASON)
    desk.shop.clock.forward(hours=5)
    assert await follow_up_all(desk) == [asked.id]
    assert {phone: len(texts) for phone, texts in (await desk.asked(asked.id)).items()} == {LUIS: 2, ROSA: 1}
    assert await follow_up_all(desk) == []


async def test_an_answer_ends_it(desk: Desk) -> None:
    asked = await desk.ask(QUESTION, "¿Venden hielo?")
    await desk.accept(asked.id, {"answer": "Sí"})
    desk.shop.clock.forward(hours=2)
    assert await due(desk) == []
    await desk.jobs.follow_up(asked.id, desk.shop.merchant_id)
    assert {len(texts) for texts in (await desk.asked(asked.id)).values()} == {1}
    assert await told(desk, desk.conversation_id) == []


async def test_everyone_who_joined_hears_that_nobody_has_replied_in_their_language(desk: Desk) -> None:
    first = await desk.ask(QUESTION, "¿Venden hielo?")
    other = await desk.shop.hear("do you sell ice?", BETO)
    async with desk.shop.conversations() as conversations:
        (await conversations.repository.get(other))[0].language = "en"
    joined = await desk.ask(QUESTION, "¿venden HIELO?", other)
    assert joined.joined_to_id == first.id
    desk.shop.clock.forward(minutes=60)
    assert await follow_up_all(desk) == [first.id]
    assert await told(desk, desk.conversation_id) == [NO_REPLY_YET["es"]]
    assert await told(desk, other) == [NO_REPLY_YET["en"]]


async def test_outside_the_window_the_customer_is_not_told_but_the_admins_are_asked(desk: Desk) -> None:
    await apply_specs(desk.database, merchant_spec(reminder_minutes=1_000, escalation_minutes=1_500))
    asked = await desk.ask(SUPPORT, REASON)
    desk.shop.clock.forward(minutes=1_500)
    assert await follow_up_all(desk) == [asked.id]
    assert await told(desk, desk.conversation_id) == []
    assert (await desk.row(asked.id)).escalated_at is not None


async def test_merchants_have_their_own_patience(desk: Desk, database: Database) -> None:
    hasty = await make_desk(database, sub_domain="hasty", address="+15550199", reminder_minutes=1, escalation_minutes=2)
    slow_id = (await desk.ask(QUESTION, "¿Venden hielo?")).id
    hasty_id = (await hasty.ask(QUESTION, "¿Venden hielo?")).id
    desk.shop.clock.forward(minutes=2)
    assert await due(desk) == [hasty_id]
    desk.shop.clock.forward(minutes=13)
    assert sorted(await due(desk)) == sorted([slow_id, hasty_id])


async def test_two_processes_that_follow_up_at_once_say_it_once(desk: Desk) -> None:
    asked = await desk.ask(SUPPORT, REASON)
    desk.shop.clock.forward(minutes=60)
    await asyncio.gather(*(desk.jobs.follow_up(asked.id, desk.shop.merchant_id) for _ in range(5)))
    assert {phone: len(texts) for phone, texts in (await desk.asked(asked.id)).items()} == {LUIS: 2, ROSA: 1}
    assert await told(desk, desk.conversation_id) == [NO_REPLY_YET["es"]]


async def test_the_sweep_nudges_what_is_due(desk: Desk) -> None:
    asked = await desk.ask(SUPPORT, REASON)
    key = desk.nudges.queue.job_id(f"follow_up:{asked.id}")
    await sweep(desk.database, desk.shop.clock, desk.nudges)
    assert await desk.nudges.queue.job(key) is None
    desk.shop.clock.forward(minutes=15)
    await sweep(desk.database, desk.shop.clock, desk.nudges)
    assert await desk.nudges.queue.job(key) is not None
