"""Asking the staff."""

import json

import pytest
from sqlalchemy import func, select

from recado.campaigns import templates
from recado.db.engine import Database
from recado.db.models import Notification
from recado.errors import (
    ConversationNotFound,
    MissingField,
    UnknownNotificationType,
)
from recado.notifications.asking import instruction_for
from recado.notifications.repository import unfinished_notifications
from recado.notifications.schemas import Request
from recado.notifications.types import NotificationType, config_of
from tests.builders import ANA, NOON, make_shop
from tests.notifications.staffroom import Staffroom


async def count(room: Staffroom) -> int:
    async with room.shop.database.read() as session:
        return await session.scalar(select(func.count()).select_from(Notification)) or 0


async def test_the_same_key_asks_once(room: Staffroom) -> None:
    first = await room.request("k")
    assert await room.request("k", "otra cosa") == first
    assert await room.request("k2") != first
    assert await count(room) == 2
    row = await room.get(first)
    assert (row.status, row.context, row.allow_multiple_answers) == (
        "requested",
        {"question": "¿Venden hielo?"},
        False,
    )
    assert row.answer_model_json_schema["required"] == ["answer"]


async def test_the_same_key_of_another_merchant_is_another_request(room: Staffroom) -> None:
    other = await make_shop(room.shop.database, "other", "+15550200")
    first = await room.request("k")
    assert await Staffroom(other, await other.hear("hola")).request("k") != first


async def test_a_question_must_be_there(room: Staffroom) -> None:
    for context in ({}, {"question": None}, {"question": ""}, {"question": "  \n"}, {"question": "\x00"}):
        with pytest.raises(MissingField, match="Missing required field: question") as missing:
            await room.request(context=context)
        assert missing.value.field == "question"
    assert await count(room) == 0


async def test_an_unknown_type(room: Staffroom) -> None:
    with pytest.raises(UnknownNotificationType, match="known: user_question_request"):
        await room.request(type="coffee_request")


async def test_an_unknown_conversation_or_another_merchants(room: Staffroom) -> None:
    with pytest.raises(ConversationNotFound):
        await room.request(conversation_id=9_999)
    other = await make_shop(room.shop.database, "other", "+15550200")
    with pytest.raises(ConversationNotFound):
        await room.request(conversation_id=await other.hear("hola"))
    assert await count(room) == 0


async def test_every_member_of_the_active_staff_is_asked_once(room: Staffroom) -> None:
    room.shop.clock.forward(minutes=1)
    notification_id = await room.request()
    contacts, conversations = await room.announce(notification_id)
    assert await room.announce(notification_id) == (contacts, conversations)
    assert len(set(contacts)) == len(set(conversations)) == 2
    for conversation_id in conversations:
        instruction, asked = await room.shop.messages(conversation_id)
        assert (instruction.role, instruction.text, asked.role) == ("assistant", "instruction", "response")
        assert f"NOTIF_{notification_id}" in asked.text
        assert "¿Venden hielo?" in asked.text
        assert asked.other_data["notification_id_prefixed"] == f"NOTIF_{notification_id}"
        (delivery,) = await room.shop.deliveries(conversation_id)
        assert delivery.template is not None
        assert delivery.template["name"] == templates.QUESTION_REQUEST
    row = await room.get(notification_id)
    assert row.announced_at is not None
    assert row.context["merchant_user_conversation_user_ids"] == contacts
    assert (row.context["lead_phone"], row.context["lead_name"]) == (ANA, "Ana")


async def test_a_long_question_is_cut_in_the_template_and_whole_in_the_text(room: Staffroom) -> None:
    question = "¿Qué tal este? " * 200
    notification_id = await room.request(question=question)
    _, (conversation_id, _) = await room.announce(notification_id)
    deliveries = await room.shop.deliveries(conversation_id)
    assert len(str((deliveries[0].template or {})["text"])) <= 1_024
    assert question.strip() in (await room.shop.messages(conversation_id, "response"))[0].text


async def test_a_merchant_without_staff_asks_nobody(database: Database) -> None:
    shop = await make_shop(database, staff=[])
    room = Staffroom(shop, await shop.hear("hola"))
    assert await room.announce(await room.request()) == ([], [])


async def test_the_sweep_finds_what_has_work_left(room: Staffroom) -> None:
    async def unfinished() -> list[int]:
        async with room.shop.database.read() as session:
            return [row.id for row in await unfinished_notifications(session, room.shop.clock.now(), 10)]

    first, second, third = [await room.request(key) for key in "abc"]
    assert await unfinished() == [first, second, third]
    await room.announce(first)
    await room.announce(second)
    assert await unfinished() == [third]
    await room.accept(first, "Sí")
    assert await unfinished() == [first, third]
    async with room.service() as service:
        await service.finish(await service.load_answer(first))
        await service.abandon(third)
        await service.abandon(9_999)
    assert await unfinished() == []
    async with room.shop.database.read() as session:
        assert await unfinished_notifications(session, NOON.replace(year=2020), 10) == []


@pytest.mark.parametrize("kind", list(NotificationType))
def test_the_instruction_tells_the_agent_how_to_answer(kind: str) -> None:
    schema = config_of(kind).answer_schema.model_json_schema()
    reason = '¿hielo? "sí"\n' + "x" * 2_000
    told = instruction_for(
        Request(
            notification_id=12,
            merchant_id=1,
            notification_type=kind,
            conversation_id=1,
            context={config_of(kind).requested_fields[0]: reason, "support_request_type": "Queja"},
            answer_schema=schema,
            lead_phone=ANA,
            lead_name=None,
        )
    )
    about, written = told.split("this JSON schema: ")
    assert json.loads(written) == schema  # JSON, which the model can read, and no Python
    assert all(part in about for part in ("NOTIF_12", r"¿hielo? \"sí\"\n", "answer_notification"))
    assert ("Queja" in about) == (kind == NotificationType.user_support_request)
    assert ANA not in told
    assert len(about) < 1_400
