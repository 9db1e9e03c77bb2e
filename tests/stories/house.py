"""A shop in which messages come in, are answered, and are asked about: by the real services, with agents in memory."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from recado.agent.graph import record_steps
from recado.channels.base import Event, RawEvent, StatusUpdate
from recado.channels.simulator.payloads import read_event
from recado.db.engine import Database
from recado.db.models import Delivery, Message, Notification
from recado.notifications.service import NotificationService
from recado.stories.schemas import Moment, Story
from recado.stories.service import Stories
from recado.telemetry.steps import step
from tests.builders import ANA, LUIS, ROSA, Shop, make_shop
from tests.notifications.answer_desk import AnswerDesk
from tests.notifications.desk import QUESTION
from tests.turns.inbox import Inbox, Told
from tests.turns.talk import Talk

ASKED, ANSWERED = "¿Tienen hielo en bolsa?", "Sí, a 5 soles la bolsa."


class RecordingDesk(AnswerDesk):
    """Runs its graphs as the product does: with what they do recorded."""

    async def _run(self, thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        await self.graph.ainvoke({"run_key": run_key, **given}, {"callbacks": [*record_steps(False)]})

    async def _run_answer(self, thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        await self.answer_graph.ainvoke({"run_key": run_key, **given}, {"callbacks": [*record_steps(False)]})


class Wire(Told):
    """Also reads what the simulated network itself reports."""

    def parse(self, payload: bytes) -> Event:
        return self.events[payload] if payload in self.events else read_event(payload)


class WireInbox(Inbox):
    """Is told of statuses as the simulated network reports them, so that any process can read them again."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self.channel.__class__ = Wire

    def raw(self, event: Event, address: str | None = None, key: str | None = None) -> RawEvent:
        raw = super().raw(event, address, key)
        if not isinstance(event, StatusUpdate) or event.code:
            return raw
        told = {"status": event.state, "id": event.provider_message_id, "delivery_id": event.delivery_id}
        return replace(raw, payload=json.dumps(told).encode())


class House:
    """One shop, whole. What is said in it is told by `story`."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.database = shop, shop.database
        self.inbox, self.talk, self.desk = WireInbox(shop), Talk(shop), RecordingDesk(shop, 0)
        self.post = self.desk.post
        self.inbox.count = shop.merchant_id * 1_000  # so that no two shops hear of the same event

    async def story(self, message_id: int, *, texts: bool = False) -> Story:
        async with self.database.read() as session:
            channels: dict[str, Any] = {self.inbox.channel.kind: self.inbox.channel}
            return await Stories(session, self.shop.merchant_id, channels).tell(message_id, texts=texts)

    async def write(self, text: str, user: str = ANA, **more: Any) -> Message:
        """Somebody writes, and a turn answers."""
        message = await self.inbox.write(text, user, **more)
        await self.talk.run(message.conversation_id)
        return await self.inbox.row(str(message.provider_message_id))

    def does(self, work: Callable[[str], Awaitable[object]]) -> None:
        """What the agent does in its next run, given its key."""
        runs = self.talk.agent.runs

        async def run() -> None:
            with step("step", "load"):
                pass
            with step("model", "customer", task="customer", model="m-1", tokens_in=900, tokens_out=40, cost=0.0021):
                pass
            await work(f"{runs[-1][1]}:call")

        self.talk.agent.during.append(run)

    async def asks(self, question: str = ASKED, user: str = ANA) -> tuple[Message, Notification]:
        """A customer writes, and the agent has the staff asked."""

        async def ask(key: str) -> None:
            with step("tool", "request_notification"):
                async with self.database.transaction() as session:
                    service = NotificationService(session, self.shop.merchant_id, self.shop.clock)
                    conversation = (await self.inbox.conversation(user)).id
                    await service.request(QUESTION, conversation, {"question": question}, key)

        self.does(ask)
        message = await self.write(question, user)
        async with self.database.read() as session:
            newest = select(Notification).where(Notification.merchant_id == self.shop.merchant_id)
            found = (await session.scalars(newest.order_by(Notification.id.desc()).limit(1))).one()
        await self.desk.jobs.request(found.id, self.shop.merchant_id)
        return message, await self.desk.row(found.id)

    async def answers(self, notification: Notification, said: str = ANSWERED, user: str = ROSA) -> Message:
        """A member of the staff writes, the agent takes it for the answer, and it goes to the customer."""
        member = await self.inbox.member(user)

        async def answer(key: str) -> None:
            with step("tool", "answer_notification"):
                await self.desk.answer(notification.id, said, key, by=member)

        self.does(answer)
        message = await self.write(said, user)
        await self.desk.take_back(notification.id)
        return message

    async def deliver(self, user: str, *states: str) -> list[Delivery]:
        """Send what waits for somebody, and have the provider report so of the last of it."""
        conversation = (await self.inbox.conversation(user)).id
        sent = await self.post.deliver(conversation)
        for state in states:
            self.shop.clock.forward(seconds=1)
            last = sent[-1]
            await self.inbox.tell(StatusUpdate(str(last.provider_message_id), state, last.id))
        return await self.shop.deliveries(conversation)

    async def round_trip(self) -> tuple[Message, Message, Notification]:
        """The question of a customer, the answer of the staff, and the notification between them."""
        clock = self.shop.clock
        asked, notification = await self.asks()
        await self.deliver(ANA, "delivered")
        clock.forward(seconds=5)
        for member in (ROSA, LUIS):
            await self.deliver(member, "delivered", "read")
        clock.forward(minutes=16)
        await self.desk.jobs.follow_up(notification.id, self.shop.merchant_id)
        await self.deliver(LUIS)
        clock.forward(minutes=2)
        answer = await self.answers(notification)
        clock.forward(seconds=1)
        await self.deliver(ANA, "delivered", "read")
        await self.deliver(ROSA)
        return asked, answer, await self.desk.row(notification.id)


async def make_house(database: Database, sub_domain: str = "shop", address: str = "+15550100", **changes: Any) -> House:
    """A shop with Rosa (admin) and Luis (support)."""
    return House(await make_shop(database, sub_domain, address, **changes))


def chapters(story: Story) -> list[str]:
    """In the order in which they are told."""
    return list(dict.fromkeys(moment.chapter for moment in story.moments))


def told(story: Story, kind: str, fragment: str = "") -> list[Moment]:
    """The moments of a kind that say this."""
    return [moment for moment in story.moments if moment.kind == kind and fragment in moment.what]
