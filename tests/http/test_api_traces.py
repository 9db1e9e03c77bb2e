"""What happened to a message, over the REST API."""

import pytest

from recado.db.engine import Database
from recado.stories.schemas import Story
from tests.builders import ANA
from tests.http.counter import Counter, open_counter
from tests.stories.house import ASKED, House

TRACES = "/conversation/messages/{}/trace"
MOST_QUERIES = 21
"""Those of a story, and the key's."""


async def test_a_story_is_told_masked_unless_texts_are_wanted(counter: Counter) -> None:
    asked, _, _ = await House(counter.mine).round_trip()
    path = TRACES.format(asked.id)
    masked = await counter.ok("GET", path)
    story = Story.model_validate(masked)
    assert (story.message_id, story.merchant, story.person) == (asked.id, "shop", "the customer (+51…11)")
    assert ASKED not in str(masked)
    assert ANA not in str(masked)
    assert await counter.ok("GET", path, params={"texts": "false"}) == masked
    whole = await counter.ok("GET", path, params={"texts": "true"})
    assert ASKED in str(whole)
    assert f"Ana ({ANA})" in str(whole)
    assert [one["at"] for one in whole["moments"]] == [one["at"] for one in masked["moments"]]


async def test_links_are_there_where_they_are_set_up(database: Database) -> None:
    async with open_counter(
        database, trace_url="https://t.example/{trace_id}", webapp_base_url="https://w.example"
    ) as counter:
        message = await House(counter.mine).write("hola")
        links = (await counter.ok("GET", TRACES.format(message.id)))["links"]
        assert links["trace"] == f"https://t.example/{message.trace_id}"
        assert links["conversation"].startswith("https://w.example/")


async def test_anothers_message_does_not_exist(counter: Counter) -> None:
    mine = await House(counter.mine).write("hola")
    theirs = await House(counter.theirs).write("hola")
    gone = await counter.refused(404, "GET", TRACES.format(theirs.id), f"Message {theirs.id} not found")
    unknown = await counter.refused(404, "GET", TRACES.format(99_999), "Message 99999 not found")
    assert gone.keys() == unknown.keys()
    their_key = await counter.make_key(counter.theirs)
    await counter.refused(404, "GET", TRACES.format(mine.id), key=their_key)
    assert (await counter.ok("GET", TRACES.format(theirs.id), key=their_key))["merchant"] == "other"


async def test_whose_key_it_takes(counter: Counter) -> None:
    message = await House(counter.mine).write("hola")
    path = TRACES.format(message.id)
    await counter.refused(401, "GET", path, key=None)
    await counter.refused(422, "GET", path, "merchant_id or sub_domain", key=counter.services.settings.api_key)
    platform = {"key": counter.services.settings.api_key, "params": {"sub_domain": "shop"}}
    assert (await counter.ok("GET", path, **platform))["message_id"] == message.id
    await counter.refused(404, "GET", path, **platform | {"params": {"sub_domain": "other"}})


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "2147483648", "1.5", "%00"])
async def test_what_is_no_number_is_refused(counter: Counter, wrong: str) -> None:
    await counter.refused(422, "GET", TRACES.format(wrong))


async def test_it_costs_few_queries(counter: Counter) -> None:
    asked, _, _ = await House(counter.mine).round_trip()
    async with counter.queries() as run:
        await counter.ok("GET", TRACES.format(asked.id))
    assert len(run) <= MOST_QUERIES
