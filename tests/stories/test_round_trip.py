"""The story of a question that goes to the staff and back."""

from datetime import timedelta
from itertools import pairwise

import pytest

from recado.entrypoints.cli_trace import WIDTH, printed
from recado.stories.schemas import Story
from tests.builders import ANA, LUIS, ROSA
from tests.notifications.desk import counted, selects
from tests.stories.house import ANSWERED, ASKED, House, chapters, told

MOST_QUERIES = 20


async def test_it_is_told_from_top_to_bottom(house: House) -> None:
    asked, answer, notification = await house.round_trip()
    story = await house.story(asked.id)
    assert chapters(story) == [
        f"message {asked.id} from the customer (+51…11)",
        "turn 1",
        "NOTIF_1: the staff is asked",
        "message 2 to the customer (+51…11)",
        "message 4 to Rosa of the staff (+51…01)",
        "message 6 to Luis of the staff (+51…02)",
        "NOTIF_1: it waits for an answer",
        "message 7 to Rosa of the staff (+51…01)",
        "message 8 to Luis of the staff (+51…02)",
        f"message {answer.id} from Rosa of the staff (+51…01)",
        "turn 2",
        "NOTIF_1: the answer is taken back",
        "message 10 to Rosa of the staff (+51…01)",
        "message 12 to the customer (+51…11)",
        "message 14 to Luis of the staff (+51…02)",
    ]
    assert [one.what for one in told(story, "tool")] == ["request_notification", "answer_notification"]
    steps = [(one.chapter, one.what) for one in told(story, "step")]
    request, back = "NOTIF_1: the staff is asked", "NOTIF_1: the answer is taken back"
    assert (request, "send_campaign") in steps
    assert [chapter for chapter, what in steps if what == "validate"] == [request, back]
    assert steps[-1] == (back, "mark_answered")
    assert len(told(story, "model")) >= 2
    (model, *_) = told(story, "model")
    assert model.what == "customer: m-1, 900 tokens in, 40 out, $0.002100"
    assert model.facts == {"task": "customer", "model": "m-1", "tokens_in": 900, "tokens_out": 40, "cost": 0.0021}
    assert [one.chapter.split(":")[0] for one in told(story, "notification", "reminded")] == ["NOTIF_1"]
    assert told(story, "notification", "the answer of Rosa is accepted in turn 2")
    assert told(story, "delivery", "as template merchant_user_question_request (es)")
    last = [one for one in story.moments if one.chapter == "message 12 to the customer (+51…11)"]
    assert [one.kind for one in last] == ["said", "delivery", "status", "status"]
    assert [one.facts["state"] for one in last[2:]] == ["delivered", "read"]
    assert story.outcome.endswith("NOTIF_1: the answer of Rosa is taken to the customer")
    assert story.trace_ids[0] == asked.trace_id
    assert answer.trace_id in story.trace_ids
    assert notification.id == 1


async def test_time_goes_forward_in_each_chapter_and_from_one_to_the_next(house: House) -> None:
    asked, _, _ = await house.round_trip()
    story = await house.story(asked.id)
    begun = [next(one.at for one in story.moments if one.chapter == chapter) for chapter in chapters(story)]
    assert begun == sorted(begun)
    seen: list[str] = []
    for one, following in pairwise(story.moments):
        if one.chapter == following.chapter:
            assert one.at <= following.at
        else:
            seen.append(one.chapter)
            assert following.chapter not in seen
    assert story.moments[0].seconds == 0.0
    assert all(one.at == story.began_at + timedelta(seconds=one.seconds) for one in story.moments)
    assert story.ended_at == max(one.at for one in story.moments)


async def test_it_is_the_same_story_from_whichever_of_its_messages(house: House) -> None:
    asked, answer, _ = await house.round_trip()
    of_the_question = await house.story(asked.id)
    spoken = {one.ids["message_id"] for one in of_the_question.moments if one.kind == "said"}
    assert {asked.id, answer.id} < spoken
    for message_id in sorted(spoken - {asked.id}):
        story = await house.story(message_id)
        assert story.message_id == message_id
        assert {one.ids["message_id"] for one in story.moments if one.kind == "said"} == spoken
        assert chapters(story) == chapters(of_the_question)
    to_luis = await house.story(6)
    assert (to_luis.role, to_luis.outcome) == ("response", "it is read")
    assert (await house.story(14)).outcome == "it is pending"
    assert (await house.story(3)).outcome == "only the agent reads it"


def secrets_in(shown: str) -> list[str]:
    return [one for one in (ANA, ROSA, LUIS, ASKED, ANSWERED, "Me dicen", "hielo", "Ana ") if one in shown]


@pytest.mark.parametrize("texts", [False, True])
async def test_texts_and_numbers_are_shown_only_when_they_are_wanted(house: House, texts: bool) -> None:
    asked, _, _ = await house.round_trip()
    story = await house.story(asked.id, texts=texts)
    shown = story.model_dump_json() + " ".join(printed(story).split())
    assert len(secrets_in(shown)) == (8 if texts else 0), secrets_in(shown)
    assert [one.text for one in told(story, "said", "text, 23")] == ([ASKED, ANSWERED] if texts else [None, None])


async def test_it_fits_in_the_width_of_a_terminal(house: House) -> None:
    asked, _, _ = await house.round_trip()
    for texts in (False, True):
        lines = printed(await house.story(asked.id, texts=texts)).splitlines()
        assert max(map(len, lines)) <= WIDTH
        assert "\x1b" not in "".join(lines)
        assert [line for line in lines if line.endswith("  <- this one")] == [
            f"message {asked.id} from the customer{' Ana (+51911111111)' if texts else ' (+51…11)'}  <- this one"
        ]
    # The columns stand under each other, whatever they hold.
    timed = [line for line in lines if line.lstrip().startswith("+") and " s " in line[:20]]
    assert len(timed) > 40
    assert all(line[27:29] == "  " and line[29].isalpha() and line[43].strip() for line in timed)


async def test_it_costs_the_same_queries_however_long_it_is(house: House) -> None:
    short = await house.write("hola", "+51933333333")
    asked, _, _ = await house.round_trip()
    with counted(house.database) as few:
        await house.story(short.id)
    with counted(house.database) as many:
        told_before = await house.story(asked.id)
    for _ in range(3):
        await house.deliver(ROSA, *["read"] * 5)
    for number in range(6):
        await house.asks(f"{ASKED} {number}", f"+5194444444{number}")
    with counted(house.database) as again:
        assert chapters(await house.story(asked.id)) == chapters(told_before)
    assert len(selects(many)) == len(selects(again))
    assert len(selects(few)) <= len(selects(many)) <= MOST_QUERIES


async def test_other_talk_of_the_same_people_is_no_part_of_it(house: House) -> None:
    asked, answer, _ = await house.round_trip()
    before = chapters(await house.story(asked.id))
    later = await house.write("¡Gracias!")
    staff = await house.write("De nada", ROSA)
    assert chapters(await house.story(asked.id)) == before
    for message in (later, staff):
        of_its_own = await house.story(message.id)
        assert not told(of_its_own, "notification")
        assert not {asked.id, answer.id} & {one.ids.get("message_id") for one in of_its_own.moments}


async def test_the_example_is_a_story() -> None:
    (example,) = Story.model_config["json_schema_extra"]["examples"]  # type: ignore[index, call-overload, typeddict-item]
    assert Story.model_validate(example).moments
