"""From stored events to messages and statuses, in the order in which they arrived."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.raising import Alarm, raise_within
from recado.channels.base import (
    Channel,
    IdentityChanged,
    Ignored,
    InboundMessage,
    PreferenceChanged,
    StatusUpdate,
    TemplateChanged,
)
from recado.clock import Clock
from recado.conversations.repository import ConversationRepository
from recado.conversations.statuses import apply_status
from recado.db.engine import Database
from recado.db.models import InboxEvent
from recado.errors import ConfigurationError, RecadoError
from recado.jobs.nudges import Nudges
from recado.merchants.account import WABA, Account
from recado.merchants.repository import accounts_at, accounts_of_waba
from recado.telemetry import metrics
from recado.telemetry.tracing import began, in_trace, is_on, trace_id_of
from recado.turns.approvals import template_changed
from recado.turns.news import identity_changed, preference_changed
from recado.turns.reception import Reception
from recado.turns.repository import Sender, lock_inbox, merchant_of_delivery, received_events

log = structlog.get_logger(__name__)

BATCH = 100
PASSING = (OperationalError, InterfaceError, ConfigurationError)
"""No fault of the events: the database is away, or SECRET_KEY is not the one of the credentials. They wait."""

LATE_AFTER = timedelta(hours=12)
NO_ACCOUNT = "no channel account has this address: add it with `recado apply`"
NOBODYS = "it names no address of ours, so that nobody can tell whose it is"

Accounts = dict[tuple[str, str], list[Account]]


@dataclass(frozen=True, slots=True)
class Touched:
    """The conversations of a batch, with their merchants: in which people wrote, and in which deliveries may go now.

    `routing`: who wrote to a shared address, each with an event of theirs that waits for its merchant.
    """

    written: dict[int, int] = field(default_factory=dict)
    delivering: dict[int, int] = field(default_factory=dict)
    routing: dict[Sender, int] = field(default_factory=dict)


class Ingest:
    """Reads the inbox. One runs at a time, so that order is kept. `late_after`: see `Reception`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        nudges: Nudges,
        late_after: timedelta = LATE_AFTER,
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = channels
        self._nudges = nudges
        self._late_after = late_after

    async def run(self) -> None:
        """Take in everything that waits."""
        while True:
            try:
                count = await self._batch(BATCH)
            except PASSING:
                raise
            except Exception:
                # One event spoils its batch: take them singly, so that only that one is put aside.
                log.warning("a batch of events failed, taking them one by one", exc_info=True)
                await self._single()
                continue
            if count < BATCH:
                return  # what comes from now on is nudged anew

    async def _batch(self, size: int) -> int:
        touched = Touched()
        async with self._database.transaction() as session:
            await lock_inbox(session, self._database.is_sqlite)
            events = await received_events(session, size)
            accounts: Accounts = {}
            for event in events:
                await self._take(session, event, accounts, touched)
        for event in events:
            self._observe(event)
        for conversation_id, merchant_id in touched.delivering.items():
            await self._nudges.deliver(conversation_id, merchant_id)
        for conversation_id, merchant_id in touched.written.items():
            await self._nudges.turn(conversation_id, merchant_id)
        for sender, event_id in touched.routing.items():
            await self._nudges.route(event_id, sender.key)
        return len(events)

    def _observe(self, event: InboxEvent) -> None:
        metrics.EVENTS_TAKEN.labels(event.channel, event.state).inc()
        if event.message_id is not None and is_on():
            # Here, where each event comes once: webhooks are posted again. Spans tell real time.
            received_at = (event.received_at - self._clock.offset).timestamp()
            facts = {"channel": event.channel, "event_id": event.id, "message_id": event.message_id}
            began(_trace_of(event), "webhook", received_at, facts)

    async def _single(self) -> None:
        try:
            await self._batch(1)
        except PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            async with self._database.transaction() as session:
                await lock_inbox(session, self._database.is_sqlite)
                for event in await received_events(session, 1):
                    self._put_aside(session, event, "dead", f"{type(error).__name__}: {error}"[:2_000])

    async def _take(self, session: AsyncSession, event: InboxEvent, accounts: Accounts, touched: Touched) -> None:
        place = (event.channel, event.address)
        if place not in accounts:
            accounts[place] = await _accounts(session, *place)
        here = accounts[place]
        if event.address and not here:
            self._put_aside(session, event, "unrouted", NO_ACCOUNT)
            return
        try:
            parsed = self._channels[event.channel].parse(event.payload)
        except RecadoError as error:
            self._put_aside(session, event, "dead", str(error))
            return
        if isinstance(parsed, Ignored):
            event.state, event.error = "done", None
        elif not here or (event.address.startswith(WABA) and not isinstance(parsed, TemplateChanged)):
            self._put_aside(session, event, "dead", NOBODYS)
        elif isinstance(parsed, IdentityChanged | PreferenceChanged | TemplateChanged):
            await self._note(session, event, here, parsed, touched)
        else:
            await self._route(session, event, here, parsed, touched)

    def _put_aside(self, session: AsyncSession, event: InboxEvent, state: str, reason: str) -> None:
        told, event.state, event.error = event.error == reason, state, reason
        if not told:
            context = {"event_id": event.id, "channel": event.channel}
            raise_within(session, [Alarm(f"event_{state}", reason, context)], self._clock.now())

    async def _note(
        self,
        session: AsyncSession,
        event: InboxEvent,
        accounts: list[Account],
        news: IdentityChanged | PreferenceChanged | TemplateChanged,
        touched: Touched,
    ) -> None:
        """What is true of a number or an account is so for every merchant who has it."""
        merchants = {account.merchant_id for account in accounts}
        event.merchant_id = merchants.pop() if len(merchants) == 1 else None
        event.state, event.error = "done", None
        if isinstance(news, TemplateChanged):
            await template_changed(session, self._clock, accounts, news)
            return
        for account in accounts:
            if isinstance(news, IdentityChanged):
                await identity_changed(session, self._clock, account, news)
                continue
            told = await preference_changed(
                session,
                self._clock,
                account,
                news,
                event_id=event.id,
                received_at=event.received_at,
                only_known=len(accounts) > 1,
            )
            if told is not None:
                touched.delivering[told] = account.merchant_id

    async def _route(
        self,
        session: AsyncSession,
        event: InboxEvent,
        accounts: list[Account],
        parsed: InboundMessage | StatusUpdate,
        touched: Touched,
    ) -> None:
        account: Account | None = accounts[0]
        if len(accounts) > 1:
            account = await self._of_several(session, event, accounts, parsed)
        if account is not None:
            await self._accept(session, event, account, parsed, touched)
        elif isinstance(parsed, InboundMessage):
            # Its merchant may have to be asked for, and nothing is asked for here.
            event.state, event.merchant_id, event.due_at = "routing", None, self._clock.now()
            event.channel_user_id = parsed.channel_user_id
            touched.routing[Sender(event.channel, event.address, parsed.channel_user_id)] = event.id
        else:
            event.state, event.error = "done", None
            log.info("status of a message that is not ours", event_id=event.id)

    async def _of_several(
        self, session: AsyncSession, event: InboxEvent, accounts: list[Account], parsed: InboundMessage | StatusUpdate
    ) -> Account | None:
        """Which of the accounts of a shared address an event is for. None: no delivery, or nobody yet, tells."""
        merchant_id = event.merchant_id
        if isinstance(parsed, StatusUpdate):
            ids = [account.id for account in accounts]
            merchant_id = await merchant_of_delivery(session, ids, parsed.provider_message_id, parsed.delivery_id)
        return next((account for account in accounts if account.merchant_id == merchant_id), None)

    async def _accept(
        self,
        session: AsyncSession,
        event: InboxEvent,
        account: Account,
        parsed: InboundMessage | StatusUpdate,
        touched: Touched,
    ) -> None:
        # Its row is changed last, and so once: what is written in between is flushed.
        if isinstance(parsed, StatusUpdate):
            repository = ConversationRepository(session, account.merchant_id)
            moved = await apply_status(repository, parsed, self._clock.now())
            if moved is None:
                log.info("status of a message that is not ours", event_id=event.id)
            event.delivery_id = moved.id if moved else None
            metrics.STATUSES.labels(event.channel, parsed.state, parsed.code or "").inc()
        else:
            await self._receive(session, event, account, parsed, touched)
        event.merchant_id, event.state, event.error = account.merchant_id, "done", None

    async def _receive(
        self, session: AsyncSession, event: InboxEvent, account: Account, message: InboundMessage, touched: Touched
    ) -> None:
        reception = Reception(session, account, self._clock, self._late_after)
        with in_trace(_trace_of(event)):
            taken = await reception.take(message, event.received_at)
        event.message_id = taken.message_id
        touched.written[taken.conversation_id] = account.merchant_id
        for conversation_id in taken.delivering:
            touched.delivering[conversation_id] = account.merchant_id


def _trace_of(event: InboxEvent) -> str:
    return trace_id_of(event.channel, event.address, event.provider_event_id)


async def _accounts(session: AsyncSession, channel: str, address: str) -> list[Account]:
    """Whose an event is; nobody's where its address is empty."""
    if not address:
        return []
    if address.startswith(WABA):
        return await accounts_of_waba(session, address.removeprefix(WABA))
    return await accounts_at(session, channel, address)
