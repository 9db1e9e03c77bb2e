"""What happens is written down for the conversation API in the very transaction in which it happens."""

import asyncio

import pytest
from sqlalchemy import select

from recado.db.engine import Database
from recado.db.models import SyncEntry, SyncSession
from recado.errors import ConversationNotFound, SyncOff
from tests.builders import Shop, make_shop
from tests.turns.talk import Talk

Written = tuple[str, str | None]


@pytest.fixture
async def talk(database: Database) -> Talk:
    return Talk(await make_shop(database))


async def entries(shop: Shop) -> list[Written]:
    """(kind, the message's role or the state's step) of each, in order."""
    async with shop.database.read() as session:
        rows = list(await session.scalars(select(SyncEntry).order_by(SyncEntry.id)))
    roles = {m.id: m.role for c in {row.conversation_id for row in rows} for m in await shop.messages(c)}
    return [
        (row.kind, roles[row.message_id] if row.message_id else (row.payload or {}).get("step", "?")) for row in rows
    ]


async def test_a_turn_writes_messages_and_each_step_in_order(talk: Talk) -> None:
    talk.agent.result = {
        "progress": [{"intent": "menu", "step": "looking"}, {"intent": "info", "step": "waiting_for_team"}]
    }
    conversation_id = await talk.shop.hear("Hola")
    await talk.shop.hear("¿Abren hoy?")
    await talk.run(conversation_id)
    assert await entries(talk.shop) == [
        ("message", "user"),
        ("message", "user"),
        ("state", "looking"),
        ("message", "response"),
        ("state", "waiting_for_team"),
    ]


async def test_a_turn_that_says_nothing_writes_its_state(talk: Talk) -> None:
    talk.agent.result = {"replies": []}
    conversation_id = await talk.shop.hear("👍", kind="reaction")
    await talk.run(conversation_id)
    assert await entries(talk.shop) == [("message", "user"), ("state", None)]


async def test_the_same_message_said_again_is_written_once(talk: Talk) -> None:
    conversation_id = await talk.shop.open()
    for _ in range(2):
        await talk.shop.say(conversation_id, "Listo.", key="notification:1:answer")
    assert await entries(talk.shop) == [("message", "response"), ("state", None)]


async def test_what_is_undone_is_not_written(talk: Talk) -> None:
    conversation_id = await talk.shop.open()

    async def fail_afterwards() -> None:
        async with talk.shop.conversations() as service:
            await service.link_order(conversation_id, "order-1")
            await service.repository.get(conversation_id + 1)

    with pytest.raises(ConversationNotFound):
        await fail_afterwards()
    assert await entries(talk.shop) == []


async def test_what_the_api_knows_is_there_before_the_agent_thinks(talk: Talk) -> None:
    happened: list[str] = []

    async def restore(conversation_id: int, merchant_id: int) -> None:
        happened.append("asked")
        await asyncio.sleep(0.05)
        happened.append(f"known {conversation_id} {merchant_id}")

    async def thinks() -> None:
        happened.append("thinks")

    talk.agent.during = [thinks]
    conversation_id = await talk.shop.hear("Hola")
    await talk.run(conversation_id, talk.new_service("restoring", restore=restore))
    assert happened[:3] == ["asked", f"known {conversation_id} {talk.shop.merchant_id}", "thinks"]


async def test_switched_off_nothing_is_written(talk: Talk, database: Database) -> None:
    off = Database(database.url.render_as_string(hide_password=False))
    talk.shop.database = off
    conversation_id = await talk.shop.hear("Hola")
    await talk.run(conversation_id, talk.new_service("off"))
    assert await talk.said(conversation_id) == ["answer 1"]
    assert await entries(talk.shop) == []
    async with off.read() as session:
        assert list(await session.scalars(select(SyncSession))) == []
    with pytest.raises(SyncOff):
        async with talk.shop.conversations() as service:
            await service.link_order(conversation_id, "order-1")
    await off.close()
