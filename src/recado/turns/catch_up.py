"""What people wrote while nobody listened: fetched from the providers that keep it, taken in as if it had just come.

Twilio posts a message once. One that came while this server was down, or could not be reached, is only in its list.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import structlog
from sqlalchemy import select, update

from recado.alerts.raising import Alarm, Alerts
from recado.channels.base import Channel, RawEvent
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import ChannelAccount, InboxEvent
from recado.errors import SendError
from recado.merchants.account import Account
from recado.merchants.repository import to_account
from recado.turns.intake import Intake

log = structlog.get_logger(__name__)

OVERLAP = timedelta(minutes=5)
"""How far before the last look the next one begins: a provider's list may lag, and its clock is not ours."""
AT_ONCE = 8
"""How many addresses are asked about at a time, so that one that hangs holds up few."""
BATCH = 200
"""How many events go into one commit."""


@runtime_checkable
class Recalling(Protocol):
    """A channel whose provider can be asked what people have sent."""

    async def missed(self, account: Account, since: datetime) -> list[RawEvent]:
        """What people have sent to this address since then, oldest first, as it would have arrived. Raises SendError.

        An event that did arrive has the same id here.
        """
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """An address, the accounts that share it, and until when all that was sent there is known. None: nobody looked."""

    channel: str
    address: str
    accounts: tuple[Account, ...]
    caught_up_to: datetime | None


class CatchUp:
    """Looks for what was missed. One runs at a time."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        intake: Intake,
        alerts: Alerts,
        every: timedelta = timedelta(minutes=5),
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels: dict[str, Recalling] = {
            kind: channel for kind, channel in channels.items() if isinstance(channel, Recalling)
        }
        self._intake = intake
        self._alerts = alerts
        self._every = every
        self._next_at: datetime | None = None

    def is_due(self) -> bool:
        """Whether it is time to look again. Then it is not, for as long as `every`."""
        now = self._clock.now()
        if self._next_at is not None and now < self._next_at:
            return False
        self._next_at = now + self._every
        return True

    async def run(self) -> None:
        """Take in what was missed at every address. What fails at one is told, and holds up no other."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def look(place: Place) -> int:
            async with slots:
                return await self._look(place)

        recovered = sum(await asyncio.gather(*(look(place) for place in await self._places())))
        if recovered:
            log.warning("took in messages that had not arrived", recovered=recovered)

    async def _places(self) -> list[Place]:
        """All addresses: which merchants an address belongs to is what is read here, so no merchant scopes it."""
        query = select(ChannelAccount).where(ChannelAccount.channel.in_(self._channels), ChannelAccount.active)
        rows: dict[tuple[str, str], list[ChannelAccount]] = {}
        async with self._database.read() as session:
            for row in await session.scalars(query.order_by(ChannelAccount.id)):
                rows.setdefault((row.channel, row.address), []).append(row)
        return [
            Place(
                channel,
                address,
                tuple(to_account(row) for row in group),
                min((row.caught_up_to for row in group if row.caught_up_to is not None), default=None),
            )
            for (channel, address), group in rows.items()
        ]

    async def _look(self, place: Place) -> int:
        """How many events of this address were new."""
        began = self._clock.now() - self._clock.offset  # the provider's clock is real, whatever the simulator's is
        recovered = 0
        if place.caught_up_to is not None:
            try:
                missed = await self._channels[place.channel].missed(place.accounts[0], place.caught_up_to - OVERLAP)
            except Exception as error:  # noqa: BLE001 - the job boundary: other addresses are looked at all the same
                await self._failed(place, error)
                return 0
            recovered = await self._take_in(missed)
        async with self._database.transaction() as session:
            ids = [account.id for account in place.accounts]
            await session.execute(update(ChannelAccount).where(ChannelAccount.id.in_(ids)).values(caught_up_to=began))
        if recovered:
            log.info("messages had not arrived", account_id=place.accounts[0].id, recovered=recovered)
        return recovered

    async def _take_in(self, missed: Sequence[RawEvent]) -> int:
        recovered = 0
        for start in range(0, len(missed), BATCH):
            batch = missed[start : start + BATCH]
            known = await self._known(batch)
            new = [event for event in batch if (event.address, event.provider_event_id) not in known]
            if new:
                # One that arrives in this very moment is dropped there, by its key.
                await self._intake.accept(new)
            recovered += len(new)
        return recovered

    async def _known(self, events: Sequence[RawEvent]) -> set[tuple[str, str]]:
        query = select(InboxEvent.address, InboxEvent.provider_event_id).where(
            InboxEvent.channel.in_({event.channel for event in events}),
            InboxEvent.address.in_({event.address for event in events}),
            InboxEvent.provider_event_id.in_([event.provider_event_id for event in events]),
        )
        async with self._database.read() as session:
            return {(row[0], row[1]) for row in await session.execute(query)}

    async def _failed(self, place: Place, error: Exception) -> None:
        account = place.accounts[0]
        log.warning("cannot look for what was missed", account_id=account.id, error=str(error), exc_info=True)
        remedy = error.remedy if isinstance(error, SendError) else ""
        reason = str(error) if isinstance(error, SendError) else type(error).__name__
        alarm = Alarm(
            "catch_up_failed",
            f"{reason}; {remedy}" if remedy else reason,
            {"channel": place.channel, "channel_account_id": account.id, "merchant_id": account.merchant_id},
            key=f"{account.id}",
        )
        await self._alerts.send(alarm)
