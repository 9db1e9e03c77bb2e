"""The stories of what people send: answered, waiting, dealt with at once, failed."""

from datetime import timedelta

import pytest

from recado.channels.base import Attachment
from recado.errors import ModelError, NotFound
from recado.telemetry.steps import step
from recado.turns.service import MAX_FAILURES
from tests.builders import ANA, ROSA
from tests.stories.house import House, chapters, told


async def test_how_late_it_came_is_told(house: House) -> None:
    now = house.shop.clock.now()
    message = await house.write("hola", sent_at=now - timedelta(minutes=3))
    story = await house.story(message.id)
    sent, arrived = told(story, "received")
    assert (sent.at, arrived.at) == (now - timedelta(minutes=3), now)
    assert (
        arrived.what == f"arrived as event 1 over simulator, 180.0 s after it was sent: {message.provider_message_id}"
    )
    assert arrived.facts["delay_seconds"] == 180.0
    assert arrived.ids["event_id"] == 1
    assert (sent.seconds, arrived.seconds) == (0.0, 180.0)


async def test_a_clock_that_is_ahead_moves_nothing(house: House) -> None:
    message = await house.write("hola", sent_at=house.shop.clock.now() + timedelta(minutes=3))
    story = await house.story(message.id)
    assert [one.at for one in told(story, "received")] == [house.shop.clock.now()] * 2


async def test_one_that_still_waits(house: House) -> None:
    message = await house.inbox.write("hola")
    story = await house.story(message.id)
    assert chapters(story) == [f"message {message.id} from the customer (+51…11)"]
    assert [one.what for one in told(story, "waiting")] == ["no turn has taken it yet"]
    assert story.outcome == "no turn has taken it yet"
    assert story.trace_ids == [message.trace_id]


async def test_what_was_sent_with_it_is_told(house: House) -> None:
    files = (Attachment("image", "https://example.com/a"), Attachment("audio", "b", voice=True))
    message = await house.write("mira", kind="image", attachments=files, quoted_provider_message_id="x1")
    story = await house.story(message.id)
    assert told(story, "said")[0].what == "image, 4 characters, 2 files, quotes another"
    assert [one.what for one in told(story, "file")] == ["file 1: pending", "file 2: pending"]


async def test_a_burst_is_one_turn_and_one_story(house: House) -> None:
    first = await house.inbox.write("hola")
    house.shop.clock.forward(seconds=1)
    second = await house.inbox.write("¿abren hoy?")
    house.shop.clock.forward(seconds=1)
    await house.talk.run(first.conversation_id)
    for message in (first, second):
        story = await house.story(message.id)
        assert told(story, "turn")[0].what == f"begins, to answer messages {first.id}, {second.id}"
        assert [one.ms for one in told(story, "waiting")] == [2_000.0, 1_000.0]
    assert (await house.story(second.id)).outcome == "turn 1 answered after 1.0 s"


async def test_a_draft_that_was_dropped_is_told(house: House) -> None:
    first = await house.inbox.write("hola")

    async def meanwhile() -> None:
        house.shop.clock.forward(seconds=4)
        await house.inbox.write("y otra cosa")
        house.shop.clock.forward(seconds=1)

    house.talk.agent.during.append(meanwhile)
    await house.talk.run(first.conversation_id)
    story = await house.story(first.id)
    assert told(story, "turn")[-1].what == "done, draft 2: newer messages came"
    assert told(story, "turn")[-1].facts == {"state": "done", "draft": 2, "failures": 0}
    assert told(story, "waiting")[-1].what == "comes while turn 1 is at work"
    assert told(story, "turn")[-1].ms == 5_000.0


async def fails(house: House, message_id: int, times: int) -> None:
    for _ in range(times):
        house.talk.agent.failures.append(ModelError("the model at +51911111111 is away"))
        await house.talk.run((await house.story(message_id)).conversation_id)
        house.shop.clock.forward(minutes=2)


async def test_a_turn_that_failed_for_good_with_its_alert(house: House) -> None:
    message = await house.inbox.write("hola")

    async def work() -> None:
        with step("step", "customer_agent"):
            pass

    house.talk.agent.during += [work] * MAX_FAILURES
    await fails(house, message.id, 1)
    once = await house.story(message.id)
    assert once.outcome == "turn 1 is at work on it, after 1 failures"
    assert told(once, "turn", "is tried again from 12:00:")
    await fails(house, message.id, MAX_FAILURES - 1)
    story = await house.story(message.id)
    assert story.outcome == "turn 1 failed for good, and the person was told so"
    ended = told(story, "turn")[-1]
    assert ended.failed
    assert ended.what == "failed for good, draft 1, 3 failures: ModelError: the model at +51…11 is away"
    assert [one.what for one in told(story, "step")] == ["customer_agent"]
    (alert,) = told(story, "alert")
    assert alert.chapter == "turn 1"
    assert alert.what.startswith("Turn failed for good: ModelError: the model at +51…11 is away (1 time; not told yet)")
    assert alert.facts["condition"] == "turn_failed"
    apology = told(story, "said", "written by turn 1")
    assert len(apology) == 1
    assert not (await house.story(message.id, texts=True)).outcome.startswith("no ")


@pytest.mark.parametrize(("word", "hours", "provider"), [("late", 13, None), ("opt_out", 0, "stop")])
async def test_what_is_dealt_with_when_it_comes(house: House, word: str, hours: int, provider: str | None) -> None:
    sent_at = house.shop.clock.now() - timedelta(hours=hours)
    message = await house.inbox.write("hola", sent_at=sent_at, opt_out=provider)
    story = await house.story(message.id)
    assert story.outcome == f"dealt with as {word} when it came"
    (waiting,) = told(story, "waiting")
    assert waiting.what == f"dealt with as {word} when it came: no agent answers it"
    assert waiting.facts == {"handled": word}
    notices = told(story, "said", "written at once")
    assert len(notices) == (0 if provider else 1), "the provider has said it itself"
    for notice in notices:
        assert f"because message {message.id} was dealt with as {word}:" in notice.what
        assert chapters(await house.story(notice.ids["message_id"])) == chapters(story)


async def test_a_stop_word_is_confirmed_in_its_story(house: House) -> None:
    message = await house.inbox.write("STOP")
    await house.deliver(ANA, "delivered")
    await house.talk.run(message.conversation_id)
    story = await house.story(message.id)
    (notice,) = told(story, "said", "written at once")
    assert told(story, "status", "delivered")
    assert chapters(await house.story(notice.ids["message_id"])) == chapters(story)


async def test_a_number_that_nobody_has(house: House) -> None:
    for unknown in (0, -1, 999, 2**31 - 1):
        with pytest.raises(NotFound):
            await house.story(unknown)


async def test_a_member_of_the_staff_who_asks_for_nothing(house: House) -> None:
    message = await house.write("hola", ROSA)
    story = await house.story(message.id)
    assert story.person == "Rosa of the staff (+51…01)"
    assert story.outcome == "turn 1 answered after 0.0 s"
