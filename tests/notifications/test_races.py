"""One answer wins: whoever answers at once, one is accepted, the others are told, the customer hears one."""

import asyncio
import random
from collections import Counter

from sqlalchemy import func, select

from recado.db.engine import Database
from recado.db.models import Delivery, Message, Notification
from recado.errors import AlreadyAnswered
from recado.notifications.service import NotificationService
from tests.builders import ANA, Shop, make_shop, together
from tests.notifications.answer_desk import make_answer_desk
from tests.notifications.desk import QUESTION

STAFF = 10
ROUNDS = {"sqlite": 1_000, "postgresql": 100}
"""Ten writers that queue on SQLite's one lock are quick; PostgreSQL's are ten connections, each committing to disk."""


async def request(shop: Shop, conversation_id: int, key: str) -> int:
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        row = await service.request("user_question_request", conversation_id, {"question": "¿Hay hielo?"}, key)
        return row.id


async def answer(shop: Shop, notification_id: int, member: int, start: asyncio.Event) -> list[Notification]:
    """One of ten, with a session, and on PostgreSQL a connection, of their own."""
    await start.wait()
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        return await service.accept(notification_id, {"answer": f"de {member}"}, f"{notification_id}:{member}", None)


async def say(shop: Shop, notification_id: int) -> int:
    """The step of the answer job that writes to the customer."""
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        return await service.answer_customer(await service.load_answer(notification_id), "Sí hay.", None, None)


async def test_of_ten_who_answer_at_once_one_is_accepted_and_nine_are_refused(database: Database) -> None:
    """1,000 rounds on SQLite; 100 on PostgreSQL, where the ten are connected at the same time."""
    shop = await make_shop(database)
    conversation_id = await shop.hear("hola", ANA)
    winners: Counter[int] = Counter()
    for number in range(ROUNDS["sqlite" if database.is_sqlite else "postgresql"]):
        notification_id = await request(shop, conversation_id, f"round {number}")
        start = asyncio.Event()
        order = random.sample(range(STAFF), STAFF)
        racing = [asyncio.create_task(answer(shop, notification_id, member, start)) for member in order]
        await asyncio.sleep(0)
        start.set()
        results = dict(zip(order, await together(*racing), strict=True))
        accepted = [member for member, result in results.items() if isinstance(result, list)]
        assert len(accepted) == 1, results
        assert sum(isinstance(result, AlreadyAnswered) for result in results.values()) == STAFF - 1, results
        async with database.read() as session:
            row = await session.get_one(Notification, notification_id)
        assert (row.context["answer"], row.answer_key) == (f"de {accepted[0]}", f"{notification_id}:{accepted[0]}")
        winners[accepted[0]] += 1
        times = 1 if number % 10 else 2  # every tenth job runs twice
        assert await together(*(say(shop, notification_id) for _ in range(times))) == [conversation_id] * times
    assert len(winners) > 1, "whoever is first wins, not somebody in particular"
    said = Counter(
        message.other_data["notification_id"] for message in await shop.messages(conversation_id, "response")
    )
    assert len(said) == winners.total()
    assert set(said.values()) == {1}, "one message to the customer, however often its job runs"


async def test_however_many_answered_at_once_the_customer_gets_one_message(database: Database) -> None:
    """The whole way of 25 rounds: accepted, taken back by two jobs at once, delivered."""
    desk = await make_answer_desk(database)
    for number in range(25):
        notification = await desk.ask(QUESTION, f"¿Venden cosa {number}?")
        await desk.delivered()
        start = asyncio.Event()
        start.set()
        await together(*(answer(desk.shop, notification.id, member, start) for member in range(STAFF)))
        assert await together(desk.take_back(notification.id), desk.take_back(notification.id)) == [None, None]
        assert len(await desk.delivered()) == 1
    async with database.read() as session:
        mine = (Message.conversation_id == desk.conversation_id, Message.key.contains(":answer:"))
        assert (
            await session.scalar(select(func.count()).select_from(Message).where(*mine, Message.role == "response"))
            == 25
        )
        assert await session.scalar(select(func.count()).select_from(Delivery).where(Delivery.state == "failed")) == 0


async def test_those_that_had_joined_are_closed_with_the_first_answer_only(database: Database) -> None:
    shop = await make_shop(database)
    for number in range(20):
        root = await request(shop, await shop.hear("hola", ANA), f"root {number}")
        joined = await request(shop, await shop.hear("hola", "+51922222222"), f"joined {number}")
        async with database.transaction() as session:
            (await session.get_one(Notification, joined)).joined_to_id = root
        start = asyncio.Event()
        start.set()
        # Half of them name the one that joined.
        results = await together(
            *(answer(shop, root if member % 2 else joined, member, start) for member in range(STAFF))
        )
        (closed,) = [result for result in results if isinstance(result, list)]
        assert [row.id for row in closed] == [root, joined]
        assert sum(isinstance(result, AlreadyAnswered) for result in results) == STAFF - 1
        async with database.read() as session:
            rows = [await session.get_one(Notification, found) for found in (root, joined)]
        assert rows[0].context["answer"] == rows[1].context["answer"]
        assert {row.status for row in rows} == {"answered"}
