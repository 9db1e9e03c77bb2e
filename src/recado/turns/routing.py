"""Whose a message is that came to an address which several merchants share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from recado.alerts.raising import Alarm, raise_within
from recado.channels.base import Channel, InboundMessage
from recado.clock import Clock
from recado.db.engine import Database
from recado.errors import SyncError
from recado.jobs.nudges import Nudges
from recado.merchants.linking import find_code, merchant_of_code
from recado.merchants.repository import Owner, employers_of, owners_of
from recado.merchants.tenants import TenantLookup
from recado.text import mask_phone, shorten
from recado.turns.repository import (
    Sender,
    last_merchant,
    lock_inbox,
    merchant_of_delivery,
    routing_events,
    sender_of,
)

log = structlog.get_logger(__name__)

AGAIN_AFTER = timedelta(minutes=1)
"""How long what is nobody's waits until it is tried again."""
GIVEN_UP_AFTER = timedelta(hours=24)
"""How old a message may be and still be tried again. After that `recado apply` takes it in again."""
LONGEST_NAME = 100
PASSING = (OperationalError, InterfaceError)
"""The database is away: the sweep comes back."""


@dataclass(frozen=True, slots=True)
class Found:
    """Whose it is: `merchant_id`, and by what. None: nobody's, and `reason` says why."""

    merchant_id: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a person sent to these merchants' address, the newest first. `new`: some of it was never tried before."""

    sender: Sender
    owners: Sequence[Owner]
    messages: Sequence[InboundMessage]
    new: bool

    @property
    def phone(self) -> str | None:
        """Their phone number, where the channel told it."""
        return next((message.phone for message in self.messages if message.phone), None)


class Routing:
    """Finds the merchant of all that a person sent to a shared address and that waits, and gives it back to ingest.

    `tenants` is None where the conversation API is not to be asked; `default` is the sub_domain of the merchant who
    gets those that it does not know.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        channels: Mapping[str, Channel],
        nudges: Nudges,
        tenants: TenantLookup | None,
        default: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._channels = channels
        self._nudges = nudges
        self._tenants = tenants
        self._default = default

    async def run(self, event_id: int) -> None:
        """Route what the sender of this event has waiting."""
        async with self._database.read() as session:
            sender = await sender_of(session, event_id)
            events = await routing_events(session, sender)
            owners = await owners_of(session, sender.channel, sender.address)
        if not events:
            return
        parsed = [self._channels[sender.channel].parse(event.payload) for event in reversed(events)]
        messages = [one for one in parsed if isinstance(one, InboundMessage)]
        waiting = Waiting(sender, owners, messages, new=any(event.error is None for event in events))
        try:
            found = await self._find(waiting)
        except PASSING:
            raise
        except Exception as error:
            # Whatever it was must show, and must not be tried again every few seconds.
            log.warning("routing failed", event_id=event_id, exc_info=True)
            found = Found(None, f"{type(error).__name__}: {error}"[:2_000])
        await self._settle(sender, found)

    async def _find(self, waiting: Waiting) -> Found:
        owners, phone = waiting.owners, waiting.phone
        if not owners:
            return Found(None, "no channel account has this address: add it with `recado apply`")
        if len(owners) == 1:
            return Found(owners[0].merchant_id, "the only account")
        if (quoted := await self._quoted(waiting)) is not None:
            return Found(quoted, "what they quote")
        if (coded := await self._coded(waiting)) is not None:
            return Found(coded, "the code that they write")
        if phone is None:
            employer = await self._employer(waiting, None)
            oldest = Found(owners[0].merchant_id, "the oldest account: they have no phone number")
            return employer or oldest
        problem = "is not asked: see ENABLE_CONVERSATION_SYNC and USE_CARTAAI_API"
        if self._tenants is not None:
            try:
                return await self._asked(self._tenants, waiting, phone)
            except SyncError as error:
                problem = f"cannot be asked: {error}"
                log.warning("tenant lookup failed", phone=mask_phone(phone), error=str(error))
        last = await self._last(waiting.sender, owners)
        if last is not None:
            return Found(last, "whom they last spoke with")
        return await self._untold(waiting, phone, f"the conversation API {problem}")

    async def _asked(self, tenants: TenantLookup, waiting: Waiting, phone: str) -> Found:
        """Whom the conversation API names. Raises SyncError."""
        sub_domain = await tenants.sub_domain_of(phone)
        if sub_domain is None:
            if waiting.new:
                log.warning("no tenant found for phone", phone=mask_phone(phone))
            return await self._untold(waiting, phone, "no tenant found for phone at the conversation API")
        for owner in waiting.owners:
            if owner.sub_domain == sub_domain:
                return Found(owner.merchant_id, "the conversation API")
        named = shorten(sub_domain, LONGEST_NAME)
        return Found(None, f"the conversation API names {named}, which has no active account at this address")

    async def _untold(self, waiting: Waiting, phone: str, problem: str) -> Found:
        """Whose somebody is of whom the API says nothing: their employer's, else the default merchant's."""
        if (employer := await self._employer(waiting, phone)) is not None:
            return employer
        for owner in waiting.owners:
            if owner.sub_domain == self._default:
                return Found(owner.merchant_id, "CARTAAI_SUBDOMAIN")
        default = f"names {self._default}, which has no account at this address" if self._default else "is empty"
        return Found(None, f"{problem}, and CARTAAI_SUBDOMAIN {default}")

    async def _employer(self, waiting: Waiting, phone: str | None) -> Found | None:
        """On whose staff they are; with several, whom they last spoke with."""
        merchants, sender = [owner.merchant_id for owner in waiting.owners], waiting.sender
        async with self._database.read() as session:
            employers = await employers_of(session, merchants, sender.channel, sender.channel_user_id, phone)
        theirs = [owner for owner in waiting.owners if owner.merchant_id in employers]
        if not theirs:
            return None
        last = await self._last(sender, theirs) if len(theirs) > 1 else None
        return Found(last or theirs[0].merchant_id, "whose staff they are")

    async def _coded(self, waiting: Waiting) -> int | None:
        """Whose code they write, to be linked to a member of the staff."""
        merchants = [owner.merchant_id for owner in waiting.owners]
        for message in waiting.messages:
            if (written := find_code(message.text)) is not None:
                async with self._database.read() as session:
                    return await merchant_of_code(session, merchants, written.code, self._clock.now())
        return None

    async def _quoted(self, waiting: Waiting) -> int | None:
        """Whose message they quote, or whose button they tapped."""
        accounts = [owner.account_id for owner in waiting.owners]
        quoted = [one.quoted_provider_message_id for one in waiting.messages if one.quoted_provider_message_id]
        async with self._database.read() as session:
            for provider_message_id in quoted:
                found = await merchant_of_delivery(session, accounts, provider_message_id)
                if found is not None:
                    return found
        return None

    async def _last(self, sender: Sender, owners: Sequence[Owner]) -> int | None:
        accounts, merchants = [owner.account_id for owner in owners], [owner.merchant_id for owner in owners]
        async with self._database.read() as session:
            return await last_merchant(session, accounts, merchants, sender)

    async def _settle(self, sender: Sender, found: Found) -> None:
        """Give what waits back to ingest with its merchant, or put it aside, and tell of what is new there."""
        again = self._clock.now() + AGAIN_AFTER
        async with self._database.transaction() as session:
            await lock_inbox(session, self._database.is_sqlite)
            events = await routing_events(session, sender, to_change=True)
            new = [event.id for event in events if event.error is None]
            for event in events:
                if found.merchant_id is not None:
                    event.state, event.merchant_id, event.error, event.due_at = (
                        "received",
                        found.merchant_id,
                        None,
                        None,
                    )
                else:
                    event.state, event.error = "unrouted", found.reason
                    event.due_at = again if again <= event.received_at + GIVEN_UP_AFTER else None
            if found.merchant_id is None and new:
                context = {"event_id": new[0], "events": len(new), "channel": sender.channel}
                raise_within(session, [Alarm("event_unrouted", found.reason, context)], self._clock.now())
        if found.merchant_id is not None:
            person = mask_phone(sender.channel_user_id)
            log.info("message routed", person=person, merchant_id=found.merchant_id, by=found.reason)
            await self._nudges.ingest()
