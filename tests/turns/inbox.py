"""A shop and what providers tell it, event by event, as ingest takes it in."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from recado.channels.base import Event, InboundMessage, RawEvent
from recado.db.models import Contact, Conversation, InboxEvent, Message
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.merchants.linking import StaffLinks
from recado.merchants.repository import MerchantRepository
from recado.turns.ingest import Ingest
from recado.turns.intake import Intake
from tests.alert_log import AlertLog
from tests.builders import ANA, Shop


@dataclass
class Told:
    """A channel whose payloads name what they say."""

    kind: str = "simulator"
    events: dict[bytes, Event] = field(default_factory=dict)

    def parse(self, payload: bytes) -> Event:
        return self.events[payload]


class Inbox:
    """`tell` an event, or `write` as a person."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.alerts, self.channel = shop, AlertLog(shop.database), Told(shop.account.channel)
        self.nudges = Nudges(make_queue("memory://"))
        channels: dict[str, Any] = {self.channel.kind: self.channel}
        self.intake = Intake(shop.database, shop.clock, self.nudges)
        self.ingest = Ingest(shop.database, shop.clock, channels, self.nudges)
        self.count = 0

    def raw(self, event: Event, address: str | None = None, key: str | None = None) -> RawEvent:
        self.count += 1
        payload = f"payload {self.count}".encode()
        self.channel.events[payload] = event
        where = self.shop.account.address if address is None else address
        return RawEvent(self.channel.kind, where, key or f"e{self.count}", payload)

    async def tell(self, *events: Event, address: str | None = None) -> list[str]:
        """The states of all events so far."""
        await self.intake.accept([self.raw(event, address) for event in events])
        await self.ingest.run()
        async with self.shop.database.read() as session:
            return list(await session.scalars(select(InboxEvent.state).order_by(InboxEvent.id)))

    def message(self, text: str, user: str = ANA, phone: str | None = "", **more: Any) -> InboundMessage:
        """`phone`, where not given, is the user id itself if that is one."""
        self.count += 1
        values = {"kind": "text", "text": text, "name": "Ana", **more}
        known = phone if phone != "" else user if user.startswith("+") else None
        message_id = values.pop("message_id", f"in{self.count}")
        return InboundMessage(message_id, user, known, **values)

    async def write(self, text: str, user: str = ANA, phone: str | None = "", **more: Any) -> Message:
        """A person writes; the message as it is kept."""
        inbound = self.message(text, user, phone, **more)
        assert (await self.tell(inbound))[-1] == "done"
        return await self.row(inbound.provider_message_id)

    async def row(self, message_id: str) -> Message:
        async with self.shop.database.read() as session:
            query = select(Message).where(
                Message.provider_message_id == message_id, Message.merchant_id == self.shop.merchant_id
            )
            return (await session.scalars(query)).one()

    async def contacts(self) -> list[Contact]:
        async with self.shop.database.read() as session:
            query = select(Contact).where(Contact.merchant_id == self.shop.merchant_id)
            return list(await session.scalars(query.order_by(Contact.id)))

    async def conversation(self, user: str = ANA) -> Conversation:
        async with self.shop.database.read() as session:
            query = select(Conversation).join(Contact, Contact.id == Conversation.contact_id)
            query = query.where(Contact.merchant_id == self.shop.merchant_id, Contact.channel_user_id == user)
            return (await session.scalars(query)).one()

    async def said(self, user: str = ANA) -> list[str]:
        """What the person was told."""
        return [m.text for m in await self.shop.messages((await self.conversation(user)).id, "response")]

    async def nudged(self, what: str, conversation_id: int) -> bool:
        return await self.nudges.queue.job(self.nudges.queue.job_id(f"{what}:{conversation_id}")) is not None

    async def member(self, phone: str) -> int:
        """The id of the member of the staff with this phone."""
        async with self.shop.database.read() as session:
            found = await MerchantRepository(session, self.shop.merchant_id).staff_by_phone(phone)
        assert found is not None
        return found.id

    async def staff_name(self, user: str) -> str | None:
        """Whom of the staff this user is taken for."""
        (contact,) = [one for one in await self.contacts() if one.channel_user_id == user]
        async with self.shop.database.read() as session:
            found = await MerchantRepository(session, self.shop.merchant_id).staff_of(contact)
        return found.name if found else None

    async def code(self, phone: str) -> tuple[str, datetime]:
        """A code for the member with this phone, and until when it is good."""
        user_id = await self.member(phone)
        async with self.shop.database.transaction() as session:
            return await StaffLinks(session, self.shop.merchant_id, self.shop.clock).new_code(user_id)
