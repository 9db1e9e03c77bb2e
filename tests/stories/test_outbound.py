"""The stories of what we send: who caused it, how it went out, what the provider said, and what was kept in step."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from recado.alerts.conditions import SeverityLevel
from recado.alerts.counting import Counting
from recado.alerts.links import Links
from recado.channels.base import StatusUpdate
from recado.db.engine import Database
from recado.db.models import AlertPost, SyncEntry
from recado.errors import Permanent, Retryable
from recado.settings import Settings
from recado.stories.service import with_links
from tests.builders import ANA, TEMPLATE
from tests.stories.house import House, chapters, make_house, told


async def test_what_a_human_wrote(house: House) -> None:
    conversation = await house.shop.hear("hola")
    message_id = await house.shop.say(conversation, "Soy Rosa.", role="admin", by_human=True)
    story = await house.story(message_id)
    assert chapters(story) == [f"message {message_id} to the customer (+51…11)"]
    assert told(story, "said")[0].what == "written by a human, over the API: text, 9 characters"
    assert story.outcome == "it is pending"
    assert told(story, "delivery")[0].what == "delivery 1 waits to be sent"


async def test_what_the_provider_refused_with_its_code_and_alert(house: House) -> None:
    await house.write("hola")
    error = Permanent("no such user +51911111111", "63024", remedy="none")
    house.post.line.plan.append((error, False))
    await house.deliver(ANA)
    story = await house.story(2)
    assert story.outcome == "it is failed"
    (standing,) = told(story, "delivery")
    assert standing.failed
    assert standing.what.startswith("delivery 1 failed after 1 attempt: 63024: no such user +51…11")
    assert standing.facts["code"] == "63024"
    (alert,) = told(story, "alert")
    assert alert.chapter == standing.chapter
    assert alert.ids["delivery_id"] == 1


async def test_what_is_tried_again(house: House) -> None:
    await house.write("hola")
    house.post.line.plan.append((Retryable("busy", "429"), False))
    await house.deliver(ANA)
    story = await house.story(2)
    assert "is tried again from 12:00:" in told(story, "delivery")[0].what
    house.shop.clock.forward(minutes=1)
    await house.deliver(ANA, "sent", "read")
    story = await house.story(2)
    assert told(story, "delivery")[0].what == "delivery 1 sent as text at attempt 2: p1"
    assert [one.facts["state"] for one in told(story, "status")] == ["sent", "read"]


async def test_what_failed_after_it_was_taken(house: House) -> None:
    await house.write("hola")
    await house.deliver(ANA)
    failed = StatusUpdate("p1", "failed", 1, "63016", "outside the window", Permanent)
    await house.inbox.tell(failed)
    story = await house.story(2)
    (status,) = told(story, "status")
    assert status.failed
    assert status.what == "failed, the provider says in event 2: 63016: outside the window"
    assert told(story, "delivery")[-1].failed
    assert told(story, "alert", "Delivery failed at the provider")


async def test_a_template_is_named(house: House) -> None:
    conversation = await house.shop.hear("hola")
    house.shop.clock.forward(hours=25)
    message_id = await house.shop.say(conversation, "Una respuesta.", TEMPLATE)
    await house.deliver(ANA, "delivered")
    story = await house.story(message_id)
    assert told(story, "delivery")[0].what == "delivery 1 sent as template merchant_user_question_answer (es): p1"
    assert told(story, "delivery")[0].facts["template"] == "merchant_user_question_answer"


async def test_what_is_held_until_they_open_the_window(house: House) -> None:
    conversation = await house.shop.hear("hola")
    house.shop.clock.forward(hours=25)
    ready = replace(TEMPLATE, announces=True)
    message_id = await house.shop.say(conversation, "Una respuesta.", ready)
    await house.post.deliver(conversation)
    story = await house.story(message_id)
    assert story.outcome == "its parts are 1: sent, 2: held"
    assert told(story, "delivery")[-1].what == "delivery 2, part 2 of 2 is held until the person opens the window"


async def test_alerts_tell_where_they_were_told(house: House) -> None:
    await house.write("hola")
    house.post.line.plan.append((Permanent("gone", "1"), False))
    await house.deliver(ANA)

    def route(condition: str, severity: SeverityLevel) -> list[str]:
        return ["discord", "log"]

    await Counting(house.database, house.shop.clock, route, house.shop.clock.offset).run()
    async with house.database.transaction() as session:
        sent = update(AlertPost).where(AlertPost.channel == "log")
        await session.execute(sent.values(state="sent", sent_at=house.shop.clock.now()))
    settings = Settings(
        _env_file=None,
        trace_url="https://traces.example/{trace_id}",
        webapp_base_url="https://app.example",
        railway_project_id="p",
        railway_environment_id="e",
    )
    story = await with_links(await house.story(1), Links(settings))
    (alert,) = told(story, "alert")
    assert alert.what.endswith("(1 time; told: discord pending, log sent)")
    assert [one["channel"] for one in alert.facts["told"]] == ["discord", "log"]
    assert alert.facts["count_in_all"] == 1
    assert story.links["trace"] == alert.links["trace"] == f"https://traces.example/{story.trace_ids[0]}"
    assert story.links["conversation"] == "https://app.example/whatsapp/messages?conversationId=1"
    assert set(alert.links) == {"trace", "logs"}
    assert (await with_links(await house.story(1), Links(Settings(_env_file=None)))).links == {}


@pytest.fixture
async def kept(database: Database) -> House:
    """A shop that is kept in step with the conversation API."""
    url = database.url.render_as_string(hide_password=False)
    return await make_house(Database(url, syncs=True))


async def test_what_the_conversation_api_was_told(kept: House) -> None:
    message = await kept.write("hola")
    kept.shop.clock.forward(minutes=10)
    await kept.write("otra cosa")
    async with kept.database.transaction() as session:
        mine = update(SyncEntry).where(SyncEntry.message_id == message.id)
        await session.execute(mine.values(state="refused", error="no session for +51911111111"))
    story = await kept.story(message.id)
    assert [one.what for one in told(story, "sync")] == [
        "conversation API: message refused: no session for +51…11",
        "conversation API: message pending",
        "conversation API: state pending",
    ]
    assert [one.failed for one in told(story, "sync")] == [True, False, False]
    assert [one.chapter.split(" (")[0] for one in told(story, "sync")] == [
        f"message {message.id} from the customer",
        "message 2 to the customer",
        "message 2 to the customer",
    ]
    await kept.database.close()
