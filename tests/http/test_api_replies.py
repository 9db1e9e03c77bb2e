"""A human of the merchant writes to a person, over the REST API."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from recado.db.models import ChannelAccount, Contact, Conversation, Delivery, Message
from tests.builders import SetClock
from tests.http.counter import CONVERSATIONS, Counter

MENU = {"kind": "document", "url": "https://example.com/menu.pdf", "filename": "menu.pdf"}


def path(conversation_id: int) -> str:
    return f"{CONVERSATIONS}/{conversation_id}/messages"


async def ana(counter: Counter, channel: str = "simulator", hours: float = 0) -> int:
    """Ana's conversation on a channel of this kind, where she wrote so many hours ago."""
    counter.mine.clock = SetClock(datetime.now(UTC))
    counter.mine.clock.forward(hours=-hours)
    conversation_id = await counter.mine.hear("hola")
    async with counter.services.database.transaction() as session:
        await session.execute(update(ChannelAccount).values(channel=channel))
        await session.execute(update(Contact).values(channel=channel))
    return conversation_id


async def change(counter: Counter, **values: Any) -> None:
    async with counter.services.database.transaction() as session:
        await session.execute(update(Contact).values(**values))


async def deliveries(counter: Counter) -> list[Delivery]:
    async with counter.services.database.read() as session:
        return list(await session.scalars(select(Delivery).order_by(Delivery.id)))


async def test_a_text_is_written_and_goes_out_as_a_humans(counter: Counter) -> None:
    conversation_id = await ana(counter)
    written = await counter.ok("POST", path(conversation_id), 201, json={"text": " Tu pedido sale hoy. "})
    assert (written["role"], written["text"], written["delivery_state"]) == ("admin", "Tu pedido sale hoy.", "pending")
    assert (await counter.ok("GET", path(conversation_id)))["items"][-1] == written
    (delivery,) = await deliveries(counter)
    assert (delivery.text, delivery.by_human, delivery.template) == ("Tu pedido sale hoy.", True, None)
    assert await counter.services.nudges.queue.count("queued") == 1


async def test_a_file_and_buttons_go_with_it(counter: Counter) -> None:
    conversation_id = await ana(counter)
    buttons = [{"id": f"b{n}", "title": f"Opción {n}", "description": "d"} for n in range(10)]
    body = {"text": "¿Cuál?", "media": MENU, "buttons": buttons}
    written = await counter.ok("POST", path(conversation_id), 201, json=body)
    assert written["other_data"] == {"media": MENU, "buttons": buttons}
    await counter.ok("POST", path(conversation_id), 201, json={"media": MENU})
    both, alone = await deliveries(counter)
    assert (both.media, both.buttons, both.text) == (MENU, buttons, "¿Cuál?")
    assert (alone.media, alone.buttons, alone.text) == (MENU, [], None)


@pytest.mark.parametrize("how", ["header", "body"])
async def test_the_same_key_writes_once(counter: Counter, how: str) -> None:
    conversation_id = await ana(counter)
    named: dict[str, Any] = {"headers": {"Idempotency-Key": "k1"}} if how == "header" else {}
    body = {"text": "hola", **({"key": "k1"} if how == "body" else {})}
    written = await asyncio.gather(
        *(counter.ok("POST", path(conversation_id), 201, json=body, **named) for _ in range(5))
    )
    assert {message["id"] for message in written} == {written[0]["id"]}
    # Also once the window has closed: it was written.
    async with counter.services.database.transaction() as session:
        await session.execute(update(Conversation).values(last_inbound_at=None))
    again = await counter.ok("POST", path(conversation_id), 201, json=body, **named)
    assert again["id"] == written[0]["id"]
    assert len(await deliveries(counter)) == 1
    for other in ({"text": "otra"}, {"text": "hola", "media": MENU}):
        await counter.refused(422, "POST", path(conversation_id), "this key", json={**body, **other}, **named)
    other_one = await counter.mine.hear("hola", "+51922222222")
    await counter.refused(422, "POST", path(other_one), "this key", json=body, **named)


WRONG: list[Any] = [
    {},
    {"text": ""},
    {"text": " \n"},
    {"text": None},
    {"text": "a\x00b"},
    {"text": "x" * 20_001},
    {"text": "hola", "more": 1},
    {"media": {**MENU, "url": "http://example.com/menu.pdf"}},
    {"media": {**MENU, "url": "file:///etc/passwd"}},
    {"media": {**MENU, "url": "https://"}},
    {"media": {**MENU, "url": "https://example.com/" + "x" * 2_000}},
    {"media": {**MENU, "kind": "sticker"}},
    {"media": MENU, "buttons": [{"id": "1", "title": "Sí"}]},
    {"text": "hola", "buttons": [{"id": str(n), "title": "Sí"} for n in range(11)]},
    {"text": "hola", "buttons": [{"id": "1", "title": "Sí"}, {"id": "1", "title": "No"}]},
    {"text": "hola", "buttons": [{"id": "1", "title": "x" * 21}]},
    {"text": "hola", "buttons": [{"id": "", "title": "Sí"}]},
    {"text": "hola", "buttons": [{"id": "1", "title": "Sí", "description": "x" * 73}]},
    {"text": "hola", "key": "a b"},
]


async def test_what_cannot_be_written_is_refused(counter: Counter) -> None:
    conversation_id = await ana(counter)
    for body in WRONG:
        await counter.refused(422, "POST", path(conversation_id), json=body)
    theirs = await counter.theirs.hear("hola")
    for nobodys in (theirs, 2**31 - 1):
        await counter.refused(404, "POST", path(nobodys), json={"text": "hola"})
    await counter.refused(401, "POST", path(conversation_id), key=None, json={"text": "hola"})
    assert await deliveries(counter) == []


@pytest.mark.parametrize(("hours", "goes"), [(1, True), (30, True), (167, True), (169, False)])
async def test_on_instagram_a_human_may_write_for_seven_days(counter: Counter, hours: float, goes: bool) -> None:
    conversation_id = await ana(counter, "instagram", hours)
    if goes:
        await counter.ok("POST", path(conversation_id), 201, json={"text": "hola"})
        (delivery,) = await deliveries(counter)
        assert (delivery.by_human, delivery.template) == (True, None)
        return
    until = f"{counter.mine.clock.now() + timedelta(days=7):%Y-%m-%d %H:%M} UTC"
    problem = await counter.refused(409, "POST", path(conversation_id), "168 hours", json={"text": "hola"})
    assert problem["title"] == "Cannot write to them now"
    assert "instagram has no templates" in problem["detail"]
    assert until in problem["detail"]
    assert await deliveries(counter) == []


async def test_on_whatsapp_a_template_tells_of_a_text_outside_the_window(counter: Counter) -> None:
    conversation_id = await ana(counter, hours=25)
    await counter.ok("POST", path(conversation_id), 201, json={"text": "Tu pedido sale hoy."})
    told, said = await deliveries(counter)
    assert told.template is not None
    assert (told.template["name"], told.template["announces"], told.text) == ("customer_answer_ready", True, None)
    assert "Ana" in told.template["text"]
    assert (said.text, said.template) == ("Tu pedido sale hoy.", None)
    await counter.refused(409, "POST", path(conversation_id), "24 hours", json={"text": "El menú", "media": MENU})


async def test_without_an_approved_template_a_closed_window_is_told(counter: Counter) -> None:
    conversation_id = await ana(counter, "twilio", 25)
    await counter.refused(409, "POST", path(conversation_id), "customer_answer_ready", json={"text": "hola"})
    async with counter.services.database.transaction() as session:
        await session.execute(update(Conversation).values(last_inbound_at=None))
    await counter.refused(409, "POST", path(conversation_id), "never written", json={"text": "hola"})
    assert await deliveries(counter) == []


async def test_who_has_opted_out_is_not_written_to(counter: Counter) -> None:
    conversation_id = await ana(counter)
    await change(counter, opt_out="all")
    await counter.refused(409, "POST", path(conversation_id), "opted out", json={"text": "hola"})
    await change(counter, opt_out="marketing")
    await counter.ok("POST", path(conversation_id), 201, json={"text": "hola"})


async def test_a_contact_that_is_another_by_now_is_not_written_to(counter: Counter) -> None:
    conversation_id = await ana(counter)
    await change(counter, superseded_by_id=77)
    await counter.refused(409, "POST", path(conversation_id), "77", json={"text": "hola"})
    async with counter.services.database.read() as session:
        assert list(await session.scalars(select(Message.id).where(Message.role == "admin"))) == []
