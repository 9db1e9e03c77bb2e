"""Merchants are walls: no story has a row of another merchant's, whatever the rows name."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select, update

from recado.db.engine import Database
from recado.db.models import (
    AlertOccurrence,
    Delivery,
    InboxEvent,
    MerchantUser,
    Message,
    Notification,
    SyncEntry,
    Turn,
)
from recado.errors import NotFound
from recado.stories.schemas import Story
from tests.builders import ANA, NOON
from tests.stories.house import House, make_house

TABLES: Mapping[str, Any] = {
    "message_id": Message,
    "turn_id": Turn,
    "delivery_id": Delivery,
    "notification_id": Notification,
    "event_id": InboxEvent,
    "sync_entry_id": SyncEntry,
}


@pytest.fixture
async def houses(database: Database) -> tuple[House, House]:
    """Two shops in which the same has happened to the same people."""
    url = database.url.render_as_string(hide_password=False)
    synced = Database(url, syncs=True)
    mine, theirs = await make_house(synced), await make_house(synced, "other", "+15550200")
    for house in (mine, theirs):
        await house.round_trip()
    async with synced.transaction() as session:  # my customer is on their staff
        values = {"name": "theirs", "phone": ANA, "types": [], "active": True}
        session.add(MerchantUser(merchant_id=theirs.shop.merchant_id, **values))
    return mine, theirs


async def rows(house: House, table: Any) -> set[int]:
    async with house.database.read() as session:
        return set(await session.scalars(select(table.id).where(table.merchant_id == house.shop.merchant_id)))


async def all_of(house: House) -> list[Story]:
    """The story of every message of a shop."""
    return [await house.story(message_id) for message_id in sorted(await rows(house, Message))]


async def assert_own(house: House, stories: list[Story]) -> None:
    for name, table in TABLES.items():
        named = {one.ids[name] for story in stories for one in story.moments if name in one.ids}
        assert named, f"no story names a {name}: this proves nothing"
        assert named <= await rows(house, table), name


async def test_a_story_is_of_one_merchant(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    assert "theirs" not in json.dumps([story.model_dump(mode="json") for story in await all_of(mine)])
    for house, other in ((mine, theirs), (theirs, mine)):
        await assert_own(house, await all_of(house))
        for message_id in sorted(await rows(other, Message)):
            with pytest.raises(NotFound):
                await house.story(message_id)
    await mine.database.close()


MINE = {
    "other_data": lambda my, their: update(Message).values(other_data={"notification_id": their["note"]}),
    "turn_of_message": lambda my, their: update(Message).values(turn_id=their["turn"]),
    "request_key": lambda my, their: update(Notification).values(request_key=f"turn:{their['turn']}:1:x"),
    "answer_key": lambda my, their: update(Notification).values(answer_key=f"turn:{their['turn']}:1:x"),
    "joined": lambda my, their: update(Notification).values(joined_to_id=their["note"]),
    "recipients": lambda my, their: update(Notification).values(
        context={"question": "x", "answer": "y", "merchant_user_conversation_user_ids": their["contacts"]}
    ),
}
"""Rows of mine that name what is theirs."""
THEIRS = {
    "message": lambda my, their: update(Message).values(conversation_id=my["talk"]),
    "message_of_turn": lambda my, their: update(Message).values(turn_id=my["turn"]),
    "event": lambda my, their: update(InboxEvent).values(delivery_id=my["delivery"]),
    "delivery": lambda my, their: update(Delivery).values(message_id=my["said"], part=Delivery.id + 100),
    "sync": lambda my, their: update(SyncEntry).where(SyncEntry.kind == "message").values(message_id=my["said"]),
    "state": lambda my, their: update(SyncEntry).where(SyncEntry.kind == "state").values(conversation_id=my["talk"]),
    "joins": lambda my, their: update(Notification).values(joined_to_id=my["note"]),
    "asked": lambda my, their: update(Notification).values(
        request_key=f"turn:{my['turn']}:1:x", conversation_id=my["talk"]
    ),
    "answered": lambda my, their: update(Notification).values(answer_key=f"turn:{my['turn']}:1:x"),
}
"""Rows of theirs that name what is mine."""


async def first_of(house: House) -> dict[str, Any]:
    """What is named: a turn, a notification, who was asked, a conversation, a message in it, its delivery."""
    turn, note = min(await rows(house, Turn)), min(await rows(house, Notification))
    async with house.database.read() as session:
        contacts = (await session.get_one(Notification, note)).context["merchant_user_conversation_user_ids"]
        delivery = await session.get_one(Delivery, min(await rows(house, Delivery)))
    talk, said = delivery.conversation_id, delivery.message_id
    return {"turn": turn, "note": note, "contacts": contacts, "talk": talk, "said": said, "delivery": delivery.id}


@pytest.mark.parametrize(("whose", "forged"), [("mine", name) for name in MINE] + [("theirs", name) for name in THEIRS])
async def test_rows_that_name_anothers_lead_nowhere(houses: tuple[House, House], whose: str, forged: str) -> None:
    """As if a fault had written the ids of one merchant into the rows of another."""
    mine, theirs = houses
    make, owner = (MINE[forged], mine) if whose == "mine" else (THEIRS[forged], theirs)
    change = make(await first_of(mine), await first_of(theirs))
    table = change.entity_description["entity"]
    async with mine.database.transaction() as session:
        changed = await session.execute(change.where(table.merchant_id == owner.shop.merchant_id).returning(table.id))
        assert changed.all()
    stories = await all_of(mine)
    for name, named_table in TABLES.items():
        named = {one.ids[name] for story in stories for one in story.moments if name in one.ids}
        assert not named & await rows(theirs, named_table), name
    await mine.database.close()


async def test_an_alert_of_the_whole_system_tells_nothing_of_others(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    conversation = (await mine.inbox.conversation()).id
    turn_id = min(await rows(mine, Turn))
    common = {"fingerprint": "f", "condition": "turn_failed", "context": {"turn_id": turn_id}, "at": NOON}
    async with mine.database.transaction() as session:
        for house, about, said in ((mine, conversation, "mine"), (theirs, conversation, "theirs")):
            session.add(
                AlertOccurrence(
                    merchant_id=house.shop.merchant_id, conversation_id=about, description=said, count=1, **common
                )
            )
    stories = json.dumps([story.model_dump(mode="json") for story in await all_of(mine)])
    assert "Turn failed for good: mine (1 time; not told yet)" in stories
    assert "theirs" not in stories
    await mine.database.close()
