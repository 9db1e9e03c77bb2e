"""A shop with a customer who asked something, and the steps of the two notification graphs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from recado.db.models import Notification
from recado.notifications.schemas import AnswerContext
from recado.notifications.service import NotificationService
from tests.builders import Shop

QUESTION = "user_question_request"


class Staffroom:
    """A shop with a customer who asked something."""

    def __init__(self, shop: Shop, conversation_id: int) -> None:
        self.shop, self.conversation_id = shop, conversation_id

    @asynccontextmanager
    async def service(self, shop: Shop | None = None) -> AsyncIterator[NotificationService]:
        shop = shop or self.shop
        async with shop.database.transaction() as session:
            yield NotificationService(session, shop.merchant_id, shop.clock)

    async def request(self, key: str = "k", question: str = "¿Venden hielo?", **changes: Any) -> int:
        async with self.service() as service:
            given = {"conversation_id": self.conversation_id, "context": {"question": question}, **changes}
            row = await service.request(given.pop("type", QUESTION), request_key=key, **given)
            return row.id

    async def announce(self, notification_id: int) -> tuple[list[int], list[int]]:
        """The request graph's steps."""
        async with self.service() as service:
            document = await service.create_document(f"notification:{notification_id}", "¿Venden hielo?")
        async with self.service() as service:
            await service.complete_context(notification_id, document.id)
        async with self.service() as service:
            asked = await service.announce(notification_id, "instruction")
        async with self.service() as service:
            await service.remember_recipients(notification_id, asked.contact_ids)
        return asked.contact_ids, asked.conversation_ids

    async def accept(
        self, notification_id: int, answer: Any = "Sí", key: str = "a", by: int | None = None
    ) -> Notification:
        async with self.service() as service:
            given = answer if isinstance(answer, dict) else {"answer": answer}
            return (await service.accept(notification_id, given, key, by))[0]

    async def context(self, notification_id: int) -> AnswerContext:
        """What the steps of taking the answer back are given."""
        async with self.service() as service:
            return await service.load_answer(notification_id)

    async def answer_customer(
        self, notification_id: int, text: str, fragment: str | None = None, prompt: str | None = None
    ) -> int:
        context = await self.context(notification_id)
        async with self.service() as service:
            return await service.answer_customer(context, text, fragment, prompt)

    async def notify_others(self, notification_id: int) -> list[int]:
        context = await self.context(notification_id)
        async with self.service() as service:
            return await service.notify_others(context)

    async def get(self, notification_id: int) -> Notification:
        async with self.service() as service:
            return await service.get(notification_id)
