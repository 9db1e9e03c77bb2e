"""From stored events to messages and statuses, in the order in which they arrived."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.service import Alerts
from recado.channels.base import Channel, Event, InboundMessage, StatusUpdate
from recado.clock import Clock
from recado.conversations.repository import ConversationRepository
from recado.conversations.service import ConversationService
from recado.conversations.statuses import apply_status
from recado.db.engine import Database
from recado.db.models import InboxEvent
from recado.errors import ConfigurationError, RecadoError
from recado.jobs.nudges import Nudges
from recado.merchants.account import Account
from recado.merchants.repository import accounts_at
from recado.turns.repository import Sender, lock_inbox, merchant_of_delivery, received_events

log = structlog.get_logger(__name__)

BATCH = 100
PASSING = (OperationalError, InterfaceError, ConfigurationError)
"""No fault of the events: the database is away, or SECRET_KEY is not the one of the credentials. They wait."""

Accounts = dict[tuple[str, str], list[Account]]


@dataclass(frozen=True, slots=True)
class Touched:
    """The conversations of a batch: in which people wrote, with their merchants, and where that let deliveries go.

    `routing`: who wrote to a shared address, each with an event of theirs that waits for its merchant.
    """

    written: dict[int, int] = field(default_factory=dict)
    released: set[int] = field(default_factory=set)
    routing: dict[Sender, int] = field(default_factory=dict)


class Ingest:
    """Reads the inbox. One runs at a time, so that order is kept."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        alerts: Alerts,
        nudges: Nudges,
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = channels
        self._alerts = alerts
        self._nudges = nudges

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
        for conversation_id, merchant_id in touched.written.items():
            if conversation_id in touched.released:
                await self._nudges.deliver(conversation_id, merchant_id)
            await self._nudges.turn(conversation_id, merchant_id)
        for sender, event_id in touched.routing.items():
            await self._nudges.route(event_id, sender.key)
        return len(events)

    async def _single(self) -> None:
        try:
            await self._batch(1)
        except PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            async with self._database.transaction() as session:
                await lock_inbox(session, self._database.is_sqlite)
                for event in await received_events(session, 1):
                    await self._put_aside(event, "dead", f"{type(error).__name__}: {error}"[:2_000])

    async def _take(self, session: AsyncSession, event: InboxEvent, accounts: Accounts, touched: Touched) -> None:
        place = (event.channel, event.address)
        if place not in accounts:
            accounts[place] = await accounts_at(session, *place)
        if not accounts[place]:
            await self._put_aside(event, "unrouted", "no channel account has this address: add it with `recado apply`")
            return
        try:
            parsed = self._channels[event.channel].parse(event.payload)
        except RecadoError as error:
            await self._put_aside(event, "dead", str(error))
            return
        account: Account | None = accounts[place][0]
        if len(accounts[place]) > 1:
            account = await self._of_several(session, event, accounts[place], parsed)
        if account is not None:
            await self._accept(session, event, account, parsed, touched)
        elif isinstance(parsed, InboundMessage):
            # Its merchant may have to be asked for, and nothing is asked for here.
            event.state, event.merchant_id, event.due_at = "routing", None, self._clock.now()
            event.channel_user_id = parsed.channel_user_id
            touched.routing[Sender(*place, parsed.channel_user_id)] = event.id
        else:
            event.state, event.error = "done", None
            log.info("status of a message that is not ours", event_id=event.id)

    async def _of_several(
        self, session: AsyncSession, event: InboxEvent, accounts: list[Account], parsed: Event
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
        parsed: Event,
        touched: Touched,
    ) -> None:
        event.merchant_id, event.state, event.error = account.merchant_id, "done", None
        if isinstance(parsed, StatusUpdate):
            repository = ConversationRepository(session, account.merchant_id)
            if not await apply_status(repository, self._alerts, parsed, self._clock.now()):
                log.info("status of a message that is not ours", event_id=event.id)
            return
        if not isinstance(parsed, InboundMessage):
            return
        received = await ConversationService(session, account.merchant_id, self._clock).receive(
            account, parsed, event.received_at
        )
        touched.written[received.conversation.id] = account.merchant_id
        if received.released:
            touched.released.add(received.conversation.id)

    async def _put_aside(self, event: InboxEvent, state: str, reason: str) -> None:
        told, event.state, event.error = event.error == reason, state, reason
        if not told:
            await self._alerts.send(f"inbox event {state}", reason, event_id=event.id, channel=event.channel)
