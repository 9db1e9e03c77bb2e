"""The outbox of a shop and the conversation API that it is drained into."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from recado.db.models import Conversation, SyncEntry, SyncSession
from recado.intents import Intent, Progress
from recado.sync.circuit import Circuit
from recado.sync.client import ConversationStateService
from recado.sync.outbox import SyncOutbox, SyncSettings
from tests.alert_log import AlertLog
from tests.builders import ANA, Shop
from tests.fakes.conversation_api import ConversationApiFake

Said = tuple[str, str]
"""Who and what: ("user", "Hola")."""


class SyncDesk:
    """`process_id` of the first outbox: `first`."""

    def __init__(self, shop: Shop, api: ConversationApiFake) -> None:
        self.shop, self.api, self.alerts = shop, api, AlertLog(shop.database)
        self._services: list[ConversationStateService] = []
        self.circuit = Circuit(shop.clock)
        self.outbox = self.new_outbox("first", circuit=self.circuit)

    def new_outbox(
        self, process_id: str, *, alone: bool = False, circuit: Circuit | None = None, timeout: float = 5.0
    ) -> SyncOutbox:
        """An outbox of its own, as another process has it."""
        circuit = circuit or Circuit(self.shop.clock)
        service = ConversationStateService(
            self.api.url, "key", prefix=self.api.prefix, timeout=timeout, retries=0, circuit=circuit
        )
        self._services.append(service)
        settings = SyncSettings(process_id, alone, "branch01", collect_seconds=0.0)
        return SyncOutbox(self.shop.database, self.shop.clock, service, circuit, self.alerts.report, settings)

    async def close(self) -> None:
        for service in self._services:
            await service.aclose()

    def knows(self, phone: str = ANA, sub_domain: str = "shop", **more: Any) -> str:
        """The API has a conversation of this person; its session id."""
        return self.api.seed(phone, sub_domain, **more)

    async def turn(
        self, heard: Sequence[str] = ("Hola",), said: Sequence[str] = ("¡Hola!",), intent: Intent = "info", **more: Any
    ) -> int:
        """What a turn writes: what the person sent, what they are told, where they stand. The conversation's id."""
        phone = more.get("phone", ANA)
        for text in heard:
            conversation_id = await self.shop.hear(text, phone)
        async with self.shop.conversations() as service:
            conversation, _, _ = await service.repository.get(conversation_id)
            conversation.intent, conversation.step = intent, more.get("step", "answered")
            passed: list[Progress] = more.get("passed", [])
            await service.progressed(conversation, passed)
        for text in said:
            await self.shop.say(conversation_id, text)
        return conversation_id

    async def restore(self, conversation_id: int) -> None:
        """Ask what the API knows of a person, and wait for that, however busy the machine is."""
        await self.outbox.restore(conversation_id, self.shop.merchant_id)
        await asyncio.gather(*self.outbox._restoring)

    async def drain_until_empty(self, outbox: SyncOutbox | None = None, hours: float = 12) -> None:
        """Drain, moving the clock on as long as something waits for a later try."""
        for _ in range(int(hours * 60)):
            await (outbox or self.outbox).drain()
            if not await self.waiting():
                return
            self.shop.clock.forward(minutes=1)
        raise AssertionError(f"{await self.waiting()} entries wait: {[s.error for s in await self.sessions()]}")

    async def waiting(self) -> int:
        return await self.count("pending")

    async def count(self, state: str) -> int:
        query = select(func.count()).select_from(SyncEntry).where(SyncEntry.state == state)
        async with self.shop.database.read() as session:
            return (await session.execute(query)).scalar_one()

    async def entries(self, conversation_id: int) -> list[SyncEntry]:
        query = select(SyncEntry).where(SyncEntry.conversation_id == conversation_id).order_by(SyncEntry.id)
        async with self.shop.database.read() as session:
            return list(await session.scalars(query))

    async def sessions(self) -> list[SyncSession]:
        async with self.shop.database.read() as session:
            return list(await session.scalars(select(SyncSession).order_by(SyncSession.conversation_id)))

    async def conversation(self, conversation_id: int) -> Conversation:
        async with self.shop.database.read() as session:
            return await session.get_one(Conversation, conversation_id)

    def history(self, session_id: str) -> list[Said]:
        """The messages that the API would show."""
        document = self.api.document(session_id) or {}
        shown = document.get("context", {}).get("previousMessages", [])
        return [(message["role"], message["content"]) for message in shown]
