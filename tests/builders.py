"""Rows and stand-ins for tests of the services: a merchant, people, a clock, a provider and an agent in memory."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import pytest
from sqlalchemy import select

from recado.agent.protocol import AgentReply, AgentResult
from recado.campaigns.apply import apply_file
from recado.campaigns.templates import check_text
from recado.channels.base import Attachment, InboundMessage, OutboundMessage, StatusUpdate, Template
from recado.clock import Clock
from recado.conversations.service import ConversationService, Reply
from recado.db.engine import Database
from recado.db.models import Delivery, Merchant, Message
from recado.entrypoints.logs import configure_logs
from recado.merchants.account import Account
from recado.merchants.repository import find_account
from recado.merchants.schemas import MerchantsFile
from recado.settings import Settings, get_settings

configure_logs(Settings(_env_file=None))  # as it comes, structlog draws tracebacks for seconds

ANA, BETO = "+51911111111", "+51922222222"
ROSA, LUIS, EVA = "+51900000001", "+51900000002", "+51900000003"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class SetClock(Clock):
    """A clock that stands still until the test moves it."""

    def __init__(self, start: datetime = NOON) -> None:
        super().__init__()
        self.time = start

    def now(self) -> datetime:
        return self.time

    def forward(self, **duration: float) -> None:
        self.time += timedelta(**duration)


class ProcessDies(BaseException):
    """Stands for the end of the process in the middle of a call: nothing of the product may catch it."""


@dataclass
class Line:
    """A provider in memory. `plan` says what happens to the next sends: an exception is raised, with `taken` the
    provider has the message nevertheless. Afterwards all goes well. `gate`, while it is there, holds sends."""

    kind: str = "simulator"
    plan: list[tuple[BaseException, bool]] = field(default_factory=list)
    find_plan: list[Exception] = field(default_factory=list)
    taken: dict[str, OutboundMessage] = field(default_factory=dict)
    tries: list[OutboundMessage] = field(default_factory=list)
    finds: int = 0
    gate: asyncio.Event | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: list[str] = field(default_factory=list)

    def parse(self, payload: bytes) -> InboundMessage | StatusUpdate:
        raise NotImplementedError

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        self.acknowledged.append(message.provider_message_id)

    async def send(self, account: Account, message: OutboundMessage) -> str:
        self.tries.append(message)
        self.started.set()
        if self.gate is not None:
            await self.gate.wait()
        error, taken = self.plan.pop(0) if self.plan else (None, True)
        provider_id = f"p{len(self.taken) + 1}"
        if taken:
            self.taken[provider_id] = message
        if error is not None:
            raise error
        return provider_id

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        self.finds += 1
        if self.find_plan:
            raise self.find_plan.pop(0)
        return [provider_id for provider_id, taken in self.taken.items() if taken.text == message.text]

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        raise NotImplementedError

    async def close(self) -> None: ...

    @property
    def texts(self) -> list[str | None]:
        """What arrived, templates as `name`."""
        return [m.template.name if m.template else m.text for m in self.taken.values()]


@dataclass
class ScriptedAgent:
    """An agent in memory: answers with `reply`, and remembers its runs. `during` happens while it thinks."""

    reply: str = "answer"
    acted: bool = False
    failures: list[Exception] = field(default_factory=list)
    during: list[Any] = field(default_factory=list)
    runs: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    prunes: list[Exception] = field(default_factory=list)
    active: int = 0
    most_active: int = 0
    result: dict[str, Any] = field(default_factory=dict)

    async def run(self, conversation_id: int, run_key: str, given: dict[str, Any]) -> AgentResult:
        self.runs.append((conversation_id, run_key, given))
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            if self.during:
                await self.during.pop(0)()
            if self.failures:
                raise self.failures.pop(0)
        finally:
            self.active -= 1
        replies = [AgentReply(f"{self.reply} {len(self.runs)}", "customer@0123456789ab")]
        news = {"language": None, "summary": None, "summarised_through": None}
        return AgentResult(**{"replies": replies, "acted": self.acted, **news, **self.result})

    async def prune(self, conversation_id: int) -> None:
        if self.prunes:
            raise self.prunes.pop(0)

    @property
    def run_keys(self) -> list[str]:
        return [key for _, key, _ in self.runs]


def merchant_spec(sub_domain: str = "shop", address: str = "+15550100", **changes: Any) -> dict[str, Any]:
    """A merchant as `recado apply` reads it."""
    return {
        "name": sub_domain.title(),
        "sub_domain": sub_domain,
        "language": "es",
        "timezone": "America/Lima",
        "channels": [{"kind": "simulator", "address": address}],
        "staff": [
            {"name": "Rosa", "phone": ROSA, "types": ["admin"]},
            {"name": "Luis", "phone": LUIS, "types": ["support"]},
        ],
        **changes,
    }


async def apply_specs(database: Database, *specs: dict[str, Any], clock: Clock | None = None) -> list[str]:
    """Apply merchants; the lines of what changed."""
    async with database.transaction() as session:
        file = MerchantsFile.model_validate({"merchants": list(specs)}, context=check_text)
        return (await apply_file(session, clock or Clock(), file)).lines


@dataclass
class Shop:
    """One merchant with one simulator account."""

    database: Database
    clock: SetClock
    merchant_id: int
    account: Account
    heard: int = 0

    @asynccontextmanager
    async def conversations(self) -> Any:
        """The conversation service in a transaction."""
        async with self.database.transaction() as session:
            yield ConversationService(session, self.merchant_id, self.clock)

    async def open(self, phone: str = ANA, name: str | None = "Ana") -> int:
        """The id of this person's conversation."""
        async with self.conversations() as service:
            return (await service.open(self.account, phone, phone, name))[1].id

    async def hear(
        self, text: str, phone: str = ANA, *, kind: str = "text", quoting: str | None = None, button: str | None = None
    ) -> int:
        """A person writes; the id of their conversation."""
        self.heard += 1
        inbound = InboundMessage(
            f"wamid.{self.merchant_id}.{self.heard}",
            phone,
            phone,
            "Ana",
            kind,
            text,
            quoted_provider_message_id=quoting,
            button=button,
        )
        async with self.conversations() as service:
            return (await service.receive(self.account, inbound, self.clock.now())).conversation.id

    async def say(
        self, conversation_id: int, text: str | None, template: Template | None = None, key: str = "", **more: Any
    ) -> int:
        """Put a message into the outbox; its id."""
        self.heard += 1
        reply = Reply(key or f"said:{self.heard}", text, template, **more)
        async with self.conversations() as service:
            conversation, contact, _ = await service.repository.get(conversation_id)
            return (await service.say(conversation, contact, reply))[0]

    async def deliveries(self, conversation_id: int) -> list[Delivery]:
        """All deliveries of a conversation, in order."""
        async with self.database.read() as session:
            query = select(Delivery).where(Delivery.conversation_id == conversation_id).order_by(Delivery.id)
            return list(await session.scalars(query))

    async def messages(self, conversation_id: int, *roles: str) -> list[Message]:
        """The messages of a conversation in these roles (all, without any), in order."""
        query = select(Message).where(Message.conversation_id == conversation_id).order_by(Message.id)
        if roles:
            query = query.where(Message.role.in_(roles))
        async with self.database.read() as session:
            return list(await session.scalars(query))


async def make_shop(database: Database, sub_domain: str = "shop", address: str = "+15550100", **changes: Any) -> Shop:
    """A merchant in the database."""
    await apply_specs(database, merchant_spec(sub_domain, address, **changes))
    async with database.read() as session:
        account = await find_account(session, "simulator", address)
        merchant_id = await session.scalar(select(Merchant.id).where(Merchant.sub_domain == sub_domain))
    assert account is not None
    assert merchant_id is not None
    return Shop(database, SetClock(), merchant_id, account)


@contextmanager
def another_secret_key() -> Iterator[None]:
    """Within this block SECRET_KEY is another one."""
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SECRET_KEY", "another key, long enough to be one")
            get_settings.cache_clear()
            yield
    finally:
        get_settings.cache_clear()


async def together(*work: Any) -> Sequence[Any]:
    """Run at once; results and exceptions, in order."""
    return await asyncio.gather(*work, return_exceptions=True)


TEMPLATE = Template("merchant_user_question_answer", "es", {"lead_name": "Ana", "answer": "sí"}, "Gracias, Ana: sí.")
