"""A shop whose staff is asked by the real graph, with a model that says what a test wants."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from sqlalchemy import event

from graphs.request_notification.graph import build
from graphs.request_notification.nodes import RequestNodes
from recado.agent.models import Models
from recado.db.engine import Database
from recado.db.models import Contact, Conversation, Notification
from recado.errors import ModelError
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.notifications.jobs import NotificationJobs
from recado.notifications.service import NotificationService
from tests.alert_log import AlertLog
from tests.builders import ANA, Shop, make_shop

QUESTION, SUPPORT = "user_question_request", "user_support_request"
RETURNS = {
    "category": "support_classification",
    "title": "returns",
    "content": "Processes returns,\n exchanges and refunds",
}
SALES = {"category": "support_classification", "title": "sales", "content": "Handles product inquiries, pricing"}
ROSA, LUIS, EVA = "+51900000001", "+51900000002", "+51900000003"
STAFF = [
    {"name": "Rosa", "phone": ROSA, "types": ["admin"]},
    {"name": "Luis", "phone": LUIS, "types": ["returns", "support"]},
    {"name": "Eva", "phone": EVA, "types": ["sales"]},
]


class ScriptedModels(Models):
    """Says `answers[task]`, raises it when it is an exception, and calls it first when it can be called."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, str]] = []
        self.newest_shown = False
        """Say of every question that the newest open one asks the same."""

    async def structured(self, task: str, messages: Sequence[Any], schema: type[Any]) -> Any:
        self.calls.append((task, str(messages[0]["content"])))
        if self.newest_shown:
            open_questions = json.loads(str(messages[0]["content"]).split("## Open questions\n")[1])
            return schema.model_validate({"notification_id": open_questions[0]["notification_id"]})
        said = self.answers[task]
        said = await said() if callable(said) and not isinstance(said, BaseModel) else said
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, BaseModel) else schema.model_validate(said)


class Desk:
    """Requests, and the job that asks the staff for them."""

    def __init__(self, shop: Shop, conversation_id: int) -> None:
        self.shop, self.conversation_id = shop, conversation_id
        self.database = shop.database
        self.models, self.alerts = ScriptedModels(), AlertLog(shop.database)
        self.nudges = Nudges(make_queue("memory://"))
        self.nodes = RequestNodes(self.database, shop.clock, self.models, self.nudges, self.alerts)
        self.graph = build(self.nodes).compile()
        self.jobs = NotificationJobs(self.database, shop.clock, self.nudges, self._run, self._run)
        self.keys = 0

    async def _run(self, thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        await self.graph.ainvoke({"run_key": run_key, **given})

    async def request(self, kind: str, text: str, conversation_id: int | None = None, **context: Any) -> int:
        """Written down, nobody asked yet."""
        self.keys += 1
        field = "question" if kind == QUESTION else "support_request_reason"
        async with self.database.transaction() as session:
            service = NotificationService(session, self.shop.merchant_id, self.shop.clock)
            context = {field: text, **context}
            return (
                await service.request(kind, conversation_id or self.conversation_id, context, f"desk:{self.keys}")
            ).id

    async def run(self, notification_id: int) -> Notification:
        """The request job, and what it left."""
        await self.jobs.request(notification_id, self.shop.merchant_id)
        return await self.row(notification_id)

    async def ask(self, kind: str, text: str, conversation_id: int | None = None) -> Notification:
        return await self.run(await self.request(kind, text, conversation_id))

    async def row(self, notification_id: int) -> Notification:
        async with self.database.read() as session:
            return await session.get_one(Notification, notification_id)

    async def accept(self, notification_id: int, answer: dict[str, Any]) -> None:
        async with self.database.transaction() as session:
            service = NotificationService(session, self.shop.merchant_id, self.shop.clock)
            await service.accept(notification_id, answer, f"answer:{notification_id}", None)

    async def asked(self, notification_id: int) -> dict[str, list[str]]:
        """What each member of the staff was sent about a notification, by phone."""
        found: dict[str, list[str]] = {}
        async with self.database.read() as session:
            query = Conversation.__table__.join(Contact.__table__, Contact.id == Conversation.contact_id)
            rows = (await session.execute(query.select().with_only_columns(Contact.phone, Conversation.id))).all()
        for phone, conversation_id in rows:
            messages = await self.shop.messages(conversation_id, "response")
            texts = [m.text for m in messages if m.other_data.get("notification_id") == notification_id]
            if texts and phone != ANA:
                found[phone] = texts
        return found

    async def staff_conversation(self, phone: str) -> int:
        async with self.database.read() as session:
            query = Conversation.__table__.join(Contact.__table__, Contact.id == Conversation.contact_id)
            columns = query.select().with_only_columns(Conversation.id).where(Contact.phone == phone)
            return int((await session.execute(columns)).scalar_one())


async def make_desk(database: Database, **shop: Any) -> Desk:
    """A desk in a shop with Rosa (admin), Luis (returns, support) and Eva (sales), and two classification documents."""
    made = await make_shop(database, **{"staff": STAFF, "documents": [RETURNS, SALES], **shop})
    return Desk(made, await made.hear("hola"))


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that reach the database within the block."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)


def selects(statements: Sequence[str]) -> list[str]:
    return [statement for statement in statements if statement.lstrip().upper().startswith("SELECT")]


def no_model() -> Callable[[], Any]:
    """An outage."""

    async def fail() -> Any:
        raise ModelError("the model could not be reached")

    return fail
