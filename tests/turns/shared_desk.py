"""The inbox of merchants that share a number, and a conversation API in memory that knows their customers."""

import asyncio
import json
from typing import Any

from sqlalchemy import select

from recado.channels.base import RawEvent
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork
from recado.db.engine import Database
from recado.db.models import InboxEvent, Merchant, Message
from recado.errors import SyncUnavailable
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.merchants.repository import accounts_at
from recado.merchants.tenants import TenantLookup
from recado.turns.ingest import Ingest
from recado.turns.intake import Intake
from recado.turns.routing import Routing
from recado.turns.sweep import sweep
from tests.alert_log import AlertLog
from tests.builders import ANA, SetClock, Shop, apply_specs, merchant_spec

NUMBER = "+15550100"


def sharing(sub_domain: str, address: str = NUMBER, **changes: Any) -> dict[str, Any]:
    """A merchant with a shared number and nobody on its staff."""
    channels = [{"kind": "simulator", "address": address, "shared": True}]
    return merchant_spec(sub_domain, address, **{"channels": channels, "staff": [], **changes})


class Api:
    """Knows phones: {phone: sub_domain}. It is `down`, or `slow` for some phones; `gate`, while there, holds all."""

    def __init__(self) -> None:
        self.knows: dict[str, str] = {}
        self.asked: list[str] = []
        self.down = False
        self.slow: set[str] = set()
        self.gate: asyncio.Event | None = None

    async def ask(self, phone: str) -> str | None:
        self.asked.append(phone)
        if phone in self.slow:
            await asyncio.sleep(0.05)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise SyncUnavailable("no answer", "timeout")
        return self.knows.get(phone)


class SharedDesk:
    """Merchants at one number. What ingest and the sweep nudge is done by `work`, all at once, as workers do it."""

    def __init__(self, shops: dict[str, Shop]) -> None:
        self.shops = shops
        first = next(iter(shops.values()))
        self.database, self.clock = first.database, first.clock
        self.api, self.alerts, self.nudges = Api(), AlertLog(first.database), Nudges(make_queue("memory://"))
        self.intake = Intake(self.database, self.clock, self.nudges)
        self.channels: dict[str, Any] = {"simulator": SimulatorChannel(SimulatorNetwork(self.database, self.clock))}
        self.ingest = Ingest(self.database, self.clock, self.channels, self.nudges)
        self.routing = self.new_routing()
        self.count = 0

    def new_routing(self, *, default: str = "", asks: bool = True, database: Database | None = None) -> Routing:
        """As a process of its own has it, with a cache of its own."""
        tenants = TenantLookup(self.api.ask, self.clock) if asks else None
        where = database or self.database
        return Routing(where, self.clock, self.channels, self.nudges, tenants, default)

    def message(self, said: str, phone: str | None = ANA, address: str = NUMBER, **changes: Any) -> RawEvent:
        self.count += 1
        key = f"m{self.count}"
        payload = {"id": key, "phone": phone, "name": "Ana", "text": said, "kind": "text", "reply_to": None, **changes}
        return RawEvent("simulator", address, key, json.dumps(payload).encode())

    def status(self, delivery_id: int) -> RawEvent:
        self.count += 1
        payload = {"status": "read", "id": f"sim-out-{delivery_id}", "delivery_id": delivery_id}
        return RawEvent("simulator", NUMBER, f"s{self.count}", json.dumps(payload).encode())

    async def take(self, *events: RawEvent) -> list[str]:
        """Accept, and work until nothing is left; the states of all events."""
        for event in events:
            await self.intake.accept([event])
        await self.work()
        return await self.states()

    async def work(self, *processes: Routing) -> None:
        """Do what the sweep finds until it finds nothing, each nudge in all of the processes at once."""
        for _ in range(20):
            await self.ingest.run()
            found = await self.found()
            if not found:
                return
            runs = [process.run(event_id) for event_id in found for process in processes or (self.routing,)]
            await asyncio.gather(*runs, self.ingest.run())
        raise AssertionError("it never comes to an end")

    async def found(self) -> list[int]:
        """Whom the sweep would have routed, one event of each."""
        nudges = _Found(make_queue("memory://"))
        await sweep(self.database, self.clock, nudges)
        return nudges.events

    async def events(self) -> list[InboxEvent]:
        async with self.database.read() as session:
            return list(await session.scalars(select(InboxEvent).order_by(InboxEvent.id)))

    async def states(self) -> list[str]:
        return [event.state for event in await self.events()]

    async def errors(self) -> list[str | None]:
        return [event.error for event in await self.events()]

    async def heard(self, merchant: str) -> list[str]:
        """What people said to a merchant, in the order in which it got it."""
        query = select(Message.text).join(Merchant, Merchant.id == Message.merchant_id)
        query = query.where(Merchant.sub_domain == merchant, Message.role == "user").order_by(Message.id)
        async with self.database.read() as session:
            return list(await session.scalars(query))


class _Found(Nudges):
    """Keeps whom the sweep found to route."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self.events: list[int] = []

    async def route(self, event_id: int, sender: str) -> None:
        self.events.append(event_id)


async def shared_desk(database: Database, *names: str) -> SharedDesk:
    """Merchants of these names that share NUMBER, the first being the oldest."""
    await apply_specs(database, *(sharing(name) for name in names))
    clock = SetClock()
    async with database.read() as session:
        accounts = await accounts_at(session, "simulator", NUMBER)
    shops = [Shop(database, clock, account.merchant_id, account) for account in accounts]
    return SharedDesk(dict(zip(names, shops, strict=True)))
