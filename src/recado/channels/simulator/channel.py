"""The simulator: a telephone network of our own, for a machine without any provider.

`SimulatorNetwork` is the provider's side (it keeps what phones sent and received, and tells browsers about it);
`SimulatorChannel` is the adapter on ours. What the network reports comes in through the inbox, like everywhere.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from recado.channels.base import Attachment, InboundMessage, OutboundMessage, RawEvent, StatusUpdate, kind_of
from recado.channels.simulator.files import SimulatorFiles
from recado.channels.simulator.payloads import describe, inbound_payload, outbound_kind, read_event
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.insert import insert_new
from recado.db.models import SimulatorClock, SimulatorMessage
from recado.errors import MediaRefused, Permanent
from recado.merchants.account import Account

Notice = tuple[str, dict[str, Any]]
"""An event for a browser: its name and data."""

STATUS_RANK = {"accepted": 0, "sent": 1, "delivered": 2, "read": 3}


class SimulatorNetwork:
    """What phones sent and received, kept in the database, and files in `folder`. `report` is the webhook it calls."""

    def __init__(self, database: Database, clock: Clock, folder: Path = Path("data/media/simulator")) -> None:
        self.files = SimulatorFiles(folder)
        self._database = database
        self._clock = clock
        self._watchers: dict[str, set[asyncio.Queue[Notice]]] = {}
        self.report: Callable[[list[RawEvent]], Awaitable[None]] | None = None

    async def person_sends(self, values: dict[str, Any]) -> SimulatorMessage:
        """A person sends a message. The same `client_reference` again is a redelivery of the first.

        `attachments` are {content_type, filename?, data: bytes}; `location` is {latitude, longitude, name?}.
        """
        reference = values.get("client_reference") or f"sim-in-{uuid4().hex}"
        about = {"direction": "in", "client_reference": reference, "id": reference, **await self._content(values)}
        row = await self._insert({**values, **about})
        await self._report(row.address, row.id, inbound_payload(row, values.get("name"), values.get("button")))
        await self.mark([row.id], row.address, "delivered")
        return row

    async def deliver(self, address: str, message: OutboundMessage) -> SimulatorMessage:
        """A message arrives on a person's phone."""
        template = message.template
        row = await self._insert(
            {
                "address": address,
                "phone": message.to,
                "direction": "out",
                "client_reference": str(message.delivery_id),
                "id": f"sim-out-{message.delivery_id}",
                "kind": outbound_kind(message),
                "content": {"media": asdict(message.media)} if message.media and not template else None,
                "text": template.text if template else message.text or "",
                "template": {
                    "name": template.name,
                    "language": template.language,
                    "variables": dict(template.variables),
                }
                if template
                else None,
                "buttons": [dict(button) for button in (template.buttons if template else message.buttons)],
                "status": "delivered",
            }
        )
        await self._report_status(row, "delivered")
        return row

    async def _content(self, values: dict[str, Any]) -> dict[str, Any]:
        """What a person sends beside the text, and what kind of message that makes it."""
        kept = []
        for sent in values.get("attachments") or ():
            kind = kind_of(sent["content_type"])
            name = await asyncio.to_thread(self.files.keep, sent["data"])
            filename = sent.get("filename")
            about = {"kind": kind, "source": name, "content_type": sent["content_type"], "filename": filename}
            kept.append({**about, "voice": kind == "audio" and not filename, "size": len(sent["data"])})
        if kept:
            return {"kind": kept[0]["kind"], "content": {"attachments": kept}}
        location = values.get("location")
        return {"kind": "location", "content": {"location": location}} if location else {}

    async def person_reads(self, phone: str, address: str) -> None:
        """A person looks at the chat: all that arrived there is read."""
        async with self._database.read() as session:
            unread = list(
                await session.scalars(
                    select(SimulatorMessage).where(
                        SimulatorMessage.phone == phone,
                        SimulatorMessage.address == address,
                        SimulatorMessage.direction == "out",
                        SimulatorMessage.status.in_(("sent", "delivered")),
                    )
                )
            )
        for row in unread:
            await self._report_status(row, "read")
        await self.mark([row.id for row in unread], address, "read")

    async def mark(self, ids: list[str], address: str, status: str) -> None:
        """Move messages forward to `status` (never back), and tell their phones."""
        earlier = [name for name, rank in STATUS_RANK.items() if rank < STATUS_RANK[status]]
        async with self._database.transaction() as session:
            changed = list(
                await session.scalars(
                    update(SimulatorMessage)
                    .where(
                        SimulatorMessage.id.in_(ids),
                        SimulatorMessage.address == address,
                        SimulatorMessage.status.in_(earlier),
                    )
                    .values(status=status)
                    .returning(SimulatorMessage)
                )
            )
        for row in changed:
            self.tell(row.phone, ("message", describe(row)))

    async def messages(self, phone: str) -> list[SimulatorMessage]:
        """All that this phone sent and received, oldest first."""
        async with self._database.read() as session:
            query = select(SimulatorMessage).where(SimulatorMessage.phone == phone)
            return list(await session.scalars(query.order_by(SimulatorMessage.position)))

    @asynccontextmanager
    async def watch(self, phone: str) -> AsyncIterator[asyncio.Queue[Notice]]:
        """What happens on this phone from now on."""
        queue: asyncio.Queue[Notice] = asyncio.Queue()
        self._watchers.setdefault(phone, set()).add(queue)
        try:
            yield queue
        finally:
            self._watchers[phone].discard(queue)

    def tell(self, phone: str | None, notice: Notice) -> None:
        """Pass an event to the browsers that watch this phone, or all phones."""
        phones = self._watchers if phone is None else [phone]
        for watched in phones:
            for queue in self._watchers.get(watched, ()):
                queue.put_nowait(notice)

    async def load_clock(self) -> None:
        """Put the clock where the clock control last left it."""
        async with self._database.read() as session:
            row = await session.get(SimulatorClock, 1)
        if row is not None:
            self._clock.advance_to(timedelta(seconds=row.offset_seconds))

    async def advance_clock(self, seconds: float) -> None:
        """Move the system's clock forward, for good."""
        self._clock.advance_to(self._clock.offset + timedelta(seconds=seconds))
        async with self._database.transaction() as session:
            await session.merge(SimulatorClock(id=1, offset_seconds=self._clock.offset.total_seconds()))
        self.tell(None, ("clock", self.clock()))

    def clock(self) -> dict[str, Any]:
        """The clock as the page shows it."""
        return {"now": self._clock.now().isoformat(), "offset_seconds": self._clock.offset.total_seconds()}

    async def _insert(self, values: dict[str, Any]) -> SimulatorMessage:
        columns = {
            "template": None,
            "content": None,
            "buttons": [],
            "reply_to": None,
            "status": "accepted",
            "kind": "text",
            "at": self._clock.now(),
            **{k: v for k, v in values.items() if hasattr(SimulatorMessage, k)},
        }
        async with self._database.transaction() as session:
            row, created = await _insert_once(session, self._database.is_sqlite, columns)
        if created:
            self.tell(row.phone, ("message", describe(row)))
        return row

    async def _report(self, address: str, event_id: str, payload: dict[str, Any]) -> None:
        if self.report is not None:
            await self.report([RawEvent("simulator", address, event_id, json.dumps(payload).encode())])

    async def _report_status(self, row: SimulatorMessage, status: str) -> None:
        payload = {"status": status, "id": row.id, "delivery_id": int(row.client_reference)}
        await self._report(row.address, f"{row.id}:{status}", payload)


async def _insert_once(
    session: AsyncSession, is_sqlite: bool, columns: dict[str, Any]
) -> tuple[SimulatorMessage, bool]:
    statement = insert_new(SimulatorMessage, is_sqlite).values(columns).returning(SimulatorMessage)
    row = await session.scalar(statement)
    if row is not None:
        return row, True
    query = select(SimulatorMessage).where(
        SimulatorMessage.address == columns["address"],
        SimulatorMessage.direction == columns["direction"],
        SimulatorMessage.client_reference == columns["client_reference"],
    )
    return (await session.scalars(query)).one(), False


class SimulatorChannel:
    """The adapter to the simulated network."""

    kind = "simulator"

    def __init__(self, network: SimulatorNetwork) -> None:
        self._network = network

    def parse(self, payload: bytes) -> InboundMessage | StatusUpdate:
        """Read a stored event of the network. Raises MalformedEvent."""
        return read_event(payload)

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Mark as read and show that an answer is being typed."""
        await self._network.mark([message.provider_message_id], account.address, "read")
        self._network.tell(message.channel_user_id, ("typing", {"typing": True}))

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Put the message on the person's phone, once for each delivery."""
        return (await self._network.deliver(account.address, message)).id

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        """The message of this delivery, if the network has it."""
        rows = await self._network.messages(message.to)
        return [row.id for row in rows if row.direction == "out" and row.client_reference == str(message.delivery_id)]

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        """Write a file that a person sent. Raises MediaRefused and Permanent."""
        data = await asyncio.to_thread(self._network.files.read, attachment.source)
        if data is None:
            raise Permanent("the simulator has no such file")
        if len(data) > limit:
            raise MediaRefused(f"larger than {limit} bytes")
        file.write(data)
        return attachment.content_type

    async def close(self) -> None:
        """Nothing to let go."""
