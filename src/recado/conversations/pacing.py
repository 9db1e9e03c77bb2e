"""How fast one may send: per address, per person, and to how many new people a day.

The first two are buckets of GCRA (the virtual scheduling of ITU-T I.371): one moment for each says until when it is
used up. They are rows, so they hold over processes and restarts. Who may not go now is given the time at which they
may, so that a crowd does not wake at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from recado.alerts.raising import Alarm
from recado.channels.rules import RULES, ChannelRules
from recado.conversations.limit_repository import LimitRepository
from recado.merchants.account import Account

DAY = timedelta(hours=24)
LATE = timedelta(seconds=30)
"""How late a reserved slot may still be used: many of them at once would be a burst, as after a restart."""
WARN_AT = 0.8
"""At which part of the daily cap somebody is told."""
CAP_REMEDY = (
    "have the provider raise the limit of the business portfolio (verify the business, keep the quality of its numbers "
    "high), then set `daily_limit` of the channel and run `recado apply`"
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One in `every`, after a burst of `burst`."""

    key: str
    every: timedelta
    burst: int = 1

    def slot(self, until: datetime, now: datetime) -> datetime:
        """When the next one may go."""
        return max(now, until - self.every * (self.burst - 1))

    def after(self, until: datetime, slot: datetime) -> datetime:
        """Until when it is used up once one has gone at `slot`."""
        return max(until, slot) + self.every


@dataclass(frozen=True, slots=True)
class Slot:
    """When a delivery may go. `reserved`: that moment is its own; else it has to ask again then."""

    at: datetime
    reserved: bool


def account_bucket(account: Account, rules: ChannelRules) -> Bucket | None:
    """What an address may send, with a burst of one second. None: as much as it likes."""
    per_second = account.per_second or rules.per_second
    if not per_second:
        return None
    key = f"account:{account.channel}:{account.address}"
    return Bucket(key, timedelta(seconds=1 / per_second), max(1, int(per_second)))


def pair_bucket(account: Account, rules: ChannelRules, channel_user_id: str) -> Bucket | None:
    """What an address may send to one person. None: as much as it likes."""
    if rules.pair is None:
        return None
    key = f"pair:{account.channel}:{account.address}:{channel_user_id}"
    return Bucket(key, rules.pair.every, rules.pair.burst)


class Pacing:
    """The limits of one account, asked within the transaction that claims a delivery."""

    def __init__(self, limits: LimitRepository, account: Account, now: datetime) -> None:
        self._limits = limits
        self._account = account
        self._now = now
        self._rules = RULES[account.channel]

    async def slot(self, channel_user_id: str) -> Slot:
        """When the next message may go from this account to this person.

        Nothing is reserved for a person who has had too many: their messages go one after the other anyway, and the
        account's time would lie idle until then.
        """
        pair = pair_bucket(self._account, self._rules, channel_user_id)
        account = account_bucket(self._account, self._rules)
        used = await self._limits.lock(pair.key, self._now) if pair else self._now
        if pair and (at := pair.slot(used, self._now)) > self._now:
            return Slot(at, reserved=False)
        at = self._now
        if account:
            until = await self._limits.lock(account.key, self._now)
            at = account.slot(until, self._now)
            await self._limits.set(account.key, account.after(until, at))
        if pair:
            await self._limits.set(pair.key, pair.after(used, at))
        return Slot(at, reserved=True)

    async def new_recipient(self, channel_user_id: str) -> tuple[datetime, Alarm | None]:
        """When this person may be written to outside their window, which is noted; and what to tell an operator.

        They count for 24 hours from then, those who wait for their turn too: so each of a crowd gets a time of its own.
        """
        cap = self._account.daily_limit if self._account.daily_limit is not None else self._rules.daily
        now, portfolio = self._now, self._account.portfolio
        if not cap:
            return now, None
        await self._limits.lock(f"cap:{portfolio}", now)
        known = await self._limits.recipient(portfolio, channel_user_id)
        if known is not None and known > now - DAY:
            if known <= now:
                await self._limits.note_recipient(portfolio, channel_user_id, now)
            return max(known, now), None
        await self._limits.forget_recipients(portfolio, now - DAY)
        count = await self._limits.count_recipients(portfolio, now - DAY)
        at = now if count < cap else await self._limits.newest_recipient(portfolio, cap - 1) + DAY
        await self._limits.note_recipient(portfolio, channel_user_id, at)
        return at, self._alarm(count, cap)

    def _alarm(self, count: int, cap: int) -> Alarm | None:
        """`count`: how many there were before this one."""
        account, share = self._account, 100 if count + 1 >= cap else 80
        if count + 1 < WARN_AT * cap:
            return None
        said = f"{min(count + 1, cap)} of {cap} new people in 24 hours were written to outside their windows"
        waiting = "; more have to wait until the oldest is 24 hours ago" if count >= cap else ""
        return Alarm(
            "daily_limit_reached" if share == 100 else "daily_limit_near",
            f"{said}{waiting}; {CAP_REMEDY}",
            {"merchant_id": account.merchant_id, "channel_account_id": account.id},
            f"{account.portfolio}",
        )
