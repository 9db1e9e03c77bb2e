"""A shop whose staff is asked and whose customers are answered by the real graphs, with a model in memory."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from graphs.answer_notification.graph import build as build_answer
from graphs.answer_notification.nodes import AnswerNodes
from graphs.request_notification.graph import build as build_request
from graphs.request_notification.nodes import RequestNodes
from recado.agent.models import Answer
from recado.db.engine import Database
from recado.db.models import Conversation, Delivery, MerchantUser, Notification
from recado.notifications.jobs import NotificationJobs
from recado.notifications.service import NotificationService
from tests.builders import ANA, Shop, make_shop
from tests.conversations.post import Post
from tests.notifications.desk import QUESTION, RETURNS, SALES, STAFF, SUPPORT, Desk, ScriptedModels

FIELDS = {QUESTION: "answer", SUPPORT: "agent_response_to_customer"}
LOCALISED = {"continuation_fragment": "sí hay hielo", "full_sentence": "Sí hay hielo."}


class AnsweringModels(ScriptedModels):
    """Also chats: says `answers["reply"]`, or raises it."""

    def __init__(self) -> None:
        super().__init__()
        self.chats: list[list[dict[str, Any]]] = []
        self.answers |= {"reply": "Me dicen que sí hay.", "localise": LOCALISED}
        self.answers |= {"classify": {"target_user_type": None, "support_request_type": None}}
        self.answers |= {"same_question": {"notification_id": None}}

    async def chat(self, task: str, messages: Sequence[Any], tools: Sequence[Any] = ()) -> Answer:
        self.calls.append((task, str(messages[0]["content"])))
        self.chats.append([dict(message) for message in messages])
        if isinstance(self.answers[task], Exception):
            raise self.answers[task]
        return Answer(content=self.answers[task], tool_calls=[])

    def prompts(self, *tasks: str) -> list[str]:
        return [prompt for task, prompt in self.calls if task in tasks]


class AnswerDesk(Desk):
    """Requests, answers, and the jobs behind both."""

    def __init__(self, shop: Shop, conversation_id: int) -> None:
        super().__init__(shop, conversation_id)
        self.models: AnsweringModels = AnsweringModels()
        self.post = Post(shop)
        shared = (self.database, shop.clock, self.models, self.nudges)
        self.graph = build_request(RequestNodes(*shared, self.alerts)).compile()
        self.answer_graph = build_answer(AnswerNodes(*shared, 30)).compile()
        self.jobs = NotificationJobs(self.database, shop.clock, self.nudges, self._run, self._run_answer)

    async def _run_answer(self, thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        await self.answer_graph.ainvoke({"run_key": run_key, **given})

    def service(self, session: AsyncSession) -> NotificationService:
        return NotificationService(session, self.shop.merchant_id, self.shop.clock)

    async def answer(self, notification_id: int, said: str, key: str = "", by: int | None = None) -> list[Notification]:
        """Accepted, not taken back yet."""
        kind = (await self.row(notification_id)).notification_type
        async with self.database.transaction() as session:
            accepted = self.service(session).accept(
                notification_id, {FIELDS[kind]: said}, key or f"answer:{notification_id}", by
            )
            return await accepted

    async def take_back(self, *notifications: Notification | int) -> None:
        """The answer job of each."""
        for found in notifications:
            notification_id = found if isinstance(found, int) else found.id
            await self.jobs.answer(notification_id, self.shop.merchant_id)

    async def delivered(self, conversation_id: int | None = None) -> list[str | None]:
        """What arrived at the customer: texts, templates as their name."""
        self.post.line.taken.clear()
        await self.post.deliver(conversation_id or self.conversation_id)
        return self.post.line.texts

    async def deliveries(self, conversation_id: int | None = None) -> list[Delivery]:
        return await self.shop.deliveries(conversation_id or self.conversation_id)

    async def staff_ids(self) -> dict[str, int]:
        async with self.database.read() as session:
            rows = await session.scalars(select(MerchantUser))
            return {row.phone: row.id for row in rows}

    async def conversation(self, conversation_id: int | None = None) -> Conversation:
        async with self.database.read() as session:
            return await session.get_one(Conversation, conversation_id or self.conversation_id)


async def make_answer_desk(database: Database, **shop: Any) -> AnswerDesk:
    """A desk in a shop with Rosa, Luis and Eva, to which Ana has just written."""
    made = await make_shop(database, **{"staff": STAFF, "documents": [RETURNS, SALES], **shop})
    return AnswerDesk(made, await made.hear("hola", ANA))
