"""Conversations, where people stand, their messages and how far these came, over the REST API."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update

from recado.db.engine import Database
from recado.db.models import Conversation, Delivery, SyncEntry
from tests.builders import ANA, BETO, TEMPLATE, SetClock
from tests.http.counter import CONVERSATIONS, Counter, open_counter


async def move(counter: Counter, message_id: int, *states: str) -> None:
    """Put the parts of a message into these states."""
    async with counter.services.database.transaction() as session:
        for part, state in enumerate(states):
            mine = (Delivery.message_id == message_id, Delivery.part == part)
            moved = await session.execute(update(Delivery).where(*mine).values(state=state).returning(Delivery.id))
            assert moved.scalar() is not None


async def test_conversations_come_newest_first_and_by_phone(counter: Counter) -> None:
    ana, beto = await counter.mine.hear("hola"), await counter.mine.hear("hola", BETO)
    await counter.theirs.hear("hola")
    page = await counter.ok("GET", CONVERSATIONS)
    assert ([item["id"] for item in page["items"]], page["total"]) == ([beto, ana], 2)
    for phone in (ANA, ANA.removeprefix("+"), ANA.replace("+", " ")):
        page = await counter.ok("GET", CONVERSATIONS, params={"phone": phone})
        assert [item["id"] for item in page["items"]] == [ana]
    found = page["items"][0]
    assert found["person"]["phone"] == ANA
    assert (found["person"]["channel"], found["person"]["name"]) == ("simulator", "Ana")
    assert await counter.ok("GET", f"{CONVERSATIONS}/{ana}") == found
    assert (await counter.ok("GET", CONVERSATIONS, params={"phone": "+51999999999"}))["total"] == 0
    for wrong in ("x", "", "%", "1' OR 1=1", "\x00", "+" + "1" * 5_000):
        await counter.refused(422, "GET", CONVERSATIONS, params={"phone": wrong})
    async with counter.queries() as run:
        await counter.ok("GET", CONVERSATIONS)
    assert len(run) == 3  # the key, the count, the page


async def test_the_window_is_open_for_a_day(counter: Counter) -> None:
    counter.mine.clock = SetClock(datetime.now(UTC))
    ana = await counter.mine.hear("hola")
    counter.mine.clock.forward(hours=-25)
    beto = await counter.mine.hear("hola", BETO)
    assert (await counter.ok("GET", f"{CONVERSATIONS}/{ana}"))["window_open"] is True
    late = await counter.ok("GET", f"{CONVERSATIONS}/{beto}")
    assert late["window_open"] is False
    assert datetime.fromisoformat(late["last_inbound_at"]) == counter.mine.clock.now()


async def test_messages_come_newest_last_and_lead_to_the_older_ones(counter: Counter) -> None:
    conversation_id = await counter.mine.hear("message 0")
    for number in range(1, 7):
        await counter.mine.hear(f"message {number}")
    await counter.mine.hear("somebody else", BETO)
    path = f"{CONVERSATIONS}/{conversation_id}/messages"
    seen: list[str] = []
    params: dict[str, Any] = {"page_size": 3}
    while True:
        page = await counter.ok("GET", path, params=params)
        assert page["total"] == 7
        seen = [item["text"] for item in page["items"]] + seen
        if page["next_before"] is None:
            break
        params["before"] = page["next_before"]
    assert seen == [f"message {number}" for number in range(7)]
    exact = await counter.ok("GET", path, params={"page_size": 7})
    assert (len(exact["items"]), exact["next_before"]) == (7, None)
    async with counter.queries() as run:
        await counter.ok("GET", path)
    assert len(run) == 3
    for wrong in ({"before": 0}, {"before": 2**31}, {"before": "x"}, {"page_size": 0}, {"page_size": 201}):
        await counter.refused(422, "GET", path, params=wrong)


async def test_a_message_shows_what_it_is_and_nothing_secret(counter: Counter) -> None:
    conversation_id = await counter.mine.hear("hola")
    await counter.mine.say(conversation_id, "¿Sí?", TEMPLATE, other_data={"notification_id": 12})
    path = f"{CONVERSATIONS}/{conversation_id}/messages"
    inbound, outbound = (await counter.ok("GET", path))["items"]
    assert (inbound["role"], inbound["kind"], inbound["text"], inbound["delivery_state"]) == (
        "user",
        "text",
        "hola",
        None,
    )
    assert (outbound["role"], outbound["other_data"]) == ("response", {"notification_id": 12})
    fields = {"id", "role", "kind", "text", "other_data", "delivery_state", "attachments", "created_at"}
    assert set(inbound) == set(outbound) == fields


async def test_a_message_is_as_far_as_its_slowest_part(counter: Counter) -> None:
    conversation_id = await counter.mine.hear("hola")
    message_id = await counter.mine.say(conversation_id, "Una frase. " * 900, TEMPLATE)
    path = f"{CONVERSATIONS}/{conversation_id}/messages"

    async def state() -> str:
        return str((await counter.ok("GET", path))["items"][-1]["delivery_state"])

    assert len(await counter.mine.deliveries(conversation_id)) >= 2
    assert await state() == "pending"
    for states, shown in (
        (("sent", "pending"), "pending"),
        (("read", "delivered", "read"), "delivered"),
        (("delivered", "failed", "read"), "failed"),
        (("sent", "held", "held"), "held"),
        (("read", "skipped", "skipped"), "read"),
        (("skipped", "skipped", "skipped"), "skipped"),
    ):
        parts = states[: len(await counter.mine.deliveries(conversation_id))]
        await move(counter, message_id, *parts)
        assert await state() == shown


async def test_another_merchants_conversation_does_not_exist(counter: Counter) -> None:
    theirs = await counter.theirs.hear("secret")
    for path in (f"{CONVERSATIONS}/{theirs}", f"{CONVERSATIONS}/{theirs}/messages"):
        await counter.refused(404, "GET", path)
    empty = await counter.mine.open()
    page = await counter.ok("GET", f"{CONVERSATIONS}/{empty}/messages")
    assert (page["items"], page["total"], page["next_before"]) == ([], 0, None)


async def test_a_conversation_shows_where_its_person_stands(counter: Counter) -> None:
    ana = await counter.mine.hear("hola")
    found = await counter.ok("GET", f"{CONVERSATIONS}/{ana}")
    assert (found["intent"], found["step"]) == (None, None)
    async with counter.services.database.transaction() as session:
        stands = {"intent": "order", "step": "choosing", "api_context": {"deliveryAddress": "of nobody's concern"}}
        await session.execute(update(Conversation).where(Conversation.id == ana).values(**stands))
    found = await counter.ok("GET", f"{CONVERSATIONS}/{ana}")
    assert (found["intent"], found["step"]) == ("order", "choosing")
    assert (await counter.ok("GET", CONVERSATIONS))["items"] == [found]
    assert "deliveryAddress" not in str(found)


async def orders(counter: Counter) -> list[tuple[int, int, Any]]:
    """Every order that waits to be linked: whose, where, and what of it."""
    query = select(SyncEntry).where(SyncEntry.kind == "order").order_by(SyncEntry.id)
    async with counter.services.database.read() as session:
        return [(row.merchant_id, row.conversation_id, row.payload) for row in await session.scalars(query)]


async def test_an_order_is_written_down_to_be_linked(synced_database: Database) -> None:
    async with open_counter(synced_database, enable_conversation_sync=True) as counter:
        ana = await counter.mine.hear("hola")
        path = f"{CONVERSATIONS}/{ana}/orders"
        longest = "x" * 200
        for order_id in ("66f2a1c0", "  66f2a1c0 ", longest):
            linked = await counter.ok("POST", path, 202, json={"order_id": order_id})
            assert linked == {"order_id": order_id.strip()}
        expected = [(counter.mine.merchant_id, ana, {"order_id": name}) for name in ("66f2a1c0", "66f2a1c0", longest)]
        assert await orders(counter) == expected
        wrong: list[Any] = [{}, {"order_id": ""}, {"order_id": " "}, {"order_id": "x" * 201}, {"order_id": 7}, []]
        wrong += [{"order_id": None}, {"order_id": "a\x00b"}, {"order_id": "1", "status": "paid"}]
        for body in wrong:
            await counter.refused(422, "POST", path, json=body)
        theirs = await counter.theirs.hear("hola")
        for nobodys in (theirs, 2**31 - 1):
            await counter.refused(404, "POST", f"{CONVERSATIONS}/{nobodys}/orders", json={"order_id": "1"})
        await counter.refused(401, "POST", path, key=None, json={"order_id": "1"})
        assert await orders(counter) == expected


async def test_without_the_sync_an_order_is_refused_with_the_remedy(counter: Counter) -> None:
    ana = await counter.mine.hear("hola")
    path = f"{CONVERSATIONS}/{ana}/orders"
    problem = await counter.refused(409, "POST", path, "ENABLE_CONVERSATION_SYNC=true", json={"order_id": "1"})
    assert problem["title"] == "Conversation sync disabled"
    assert await orders(counter) == []
