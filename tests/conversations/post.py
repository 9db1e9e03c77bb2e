"""A shop with its outbox, for the tests of deliveries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import event, select
from sqlalchemy import update as sql_update

from recado.channels.base import StatusUpdate
from recado.channels.rules import RULES
from recado.conversations.outbox import Outbox
from recado.conversations.repository import ConversationRepository, conversations_with_due_deliveries
from recado.conversations.statuses import apply_status
from recado.db.models import ChannelAccount, Contact, Delivery
from tests.alert_log import AlertLog
from tests.builders import Line, Shop

LONG = "Una frase entera que no es corta. " * 300


class Post:
    """A shop with its outbox."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.line, self.alerts = shop, Line(), AlertLog(shop.database)
        self.outbox = self.new_outbox("first")

    def new_outbox(self, process_id: str, *, alone: bool = False) -> Outbox:
        shop = self.shop
        channels = dict.fromkeys(RULES, self.line)
        return Outbox(shop.database, shop.clock, channels, process_id, alone=alone)

    async def deliver(self, conversation_id: int, outbox: Outbox | None = None) -> list[Delivery]:
        await (outbox or self.outbox).deliver(conversation_id, self.shop.merchant_id)
        return await self.shop.deliveries(conversation_id)

    async def be(self, channel: str, **values: object) -> None:
        """Have the shop's account on another channel, and with other limits. Before anybody is known to it."""
        account = self.shop.account
        async with self.shop.database.transaction() as session:
            mine = sql_update(ChannelAccount).where(ChannelAccount.id == account.id)
            await session.execute(mine.values(channel=channel, **values))
        self.shop.account = replace(account, channel=channel)

    async def wish(self, opt_out: str | None) -> None:
        """What everybody wants no more."""
        async with self.shop.database.transaction() as session:
            await session.execute(sql_update(Contact).values(opt_out=opt_out, opt_out_at=self.shop.clock.now()))

    async def contact(self) -> Contact:
        """The only person."""
        async with self.shop.database.read() as session:
            return (await session.scalars(select(Contact))).one()

    async def set(self, **values: object) -> None:
        async with self.shop.database.transaction() as session:
            await session.execute(sql_update(Delivery).values(**values))

    async def status(self, state: str, provider_id: str = "p1", delivery_id: int | None = None, **more: object) -> bool:
        async with self.shop.database.transaction() as session:
            repository = ConversationRepository(session, self.shop.merchant_id)
            update = StatusUpdate(provider_id, state, delivery_id, **more)
            return await apply_status(repository, update, self.shop.clock.now())

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """What reaches the database within the block."""
        found: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            found.append(statement)

        engine = self.shop.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield found
        finally:
            event.remove(engine, "before_cursor_execute", note)

    async def due(self) -> list[tuple[int, int]]:
        """What the sweep finds to send."""
        async with self.shop.database.read() as session:
            return await conversations_with_due_deliveries(session, self.shop.clock.now(), 10)
