"""A shop whose conversations are answered by a scripted agent."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import select

from recado.db.models import Turn
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.turns.repository import conversations_with_work
from recado.turns.service import Restore, TurnService, TurnSettings, nothing_to_restore
from tests.alert_log import AlertLog
from tests.builders import Line, ScriptedAgent, Shop


class Talk:
    """A shop whose conversations are answered by a scripted agent."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.agent, self.line, self.alerts = shop, ScriptedAgent(), Line(), AlertLog(shop.database)
        self.nudges = Nudges(make_queue("memory://"))
        self.turns = self.new_service("first")

    def new_service(
        self, process_id: str, *, alone: bool = False, quiet: float = 0.0, restore: Restore = nothing_to_restore
    ) -> TurnService:
        settings = TurnSettings(process_id, quiet, alone)
        shop = self.shop
        channels: dict[str, Any] = {"simulator": self.line}
        return TurnService(shop.database, shop.clock, channels, self.agent, self.nudges, settings, restore)

    async def run(self, conversation_id: int, service: TurnService | None = None) -> None:
        await (service or self.turns).run(conversation_id, self.shop.merchant_id)

    async def rows(self) -> list[Turn]:
        async with self.shop.database.read() as session:
            return list(await session.scalars(select(Turn).order_by(Turn.id)))

    async def said(self, conversation_id: int) -> list[str]:
        return [message.text for message in await self.shop.messages(conversation_id, "response")]

    async def answered_by(self, conversation_id: int) -> list[int | None]:
        """The turn of each message that the person wrote."""
        return [message.turn_id for message in await self.shop.messages(conversation_id, "user")]

    async def work(self) -> list[tuple[int, int]]:
        """What the sweep finds."""
        async with self.shop.database.read() as session:
            return await conversations_with_work(session, 10)


def writes(talk: Talk, text: str) -> Callable[[], Awaitable[object]]:
    return lambda: talk.shop.hear(text)
