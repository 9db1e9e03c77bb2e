"""Applying a merchant's channel accounts."""

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from recado.clock import Clock
from recado.db.models import ChannelAccount, InboxEvent, Merchant
from recado.errors import ConfigurationError
from recado.merchants.account import WABA
from recado.merchants.schemas import ChannelSpec, MerchantSpec

_ACCOUNTS = select(ChannelAccount).options(defer(ChannelAccount.credentials))
"""Credentials stay unread: with a new SECRET_KEY they cannot be, and applying again is what mends that."""


def change(row: object, values: dict[str, Any]) -> bool:
    """Give a row these values. Whether any was another."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    return bool(changed)


async def apply_channels(session: AsyncSession, clock: Clock, merchant: Merchant, spec: MerchantSpec) -> list[str]:
    """Make a merchant's accounts those of the file. What was changed, one line each."""
    lines = []
    for channel in spec.channels:
        if (what := await _apply_channel(session, clock, merchant, channel)) is not None:
            lines.append(f"channel {channel.kind} {channel.address}: {what}")
    await session.flush()
    for channel in spec.channels:
        waiting = await _route_again(session, channel.kind, channel.address)
        if channel.waba_id:  # what was told of its templates
            waiting += await _route_again(session, channel.kind, WABA + channel.waba_id)
        if waiting:
            lines.append(f"channel {channel.kind} {channel.address}: {waiting} stored events taken in again")
    return [*lines, *await _deactivate_others(session, merchant, spec)]


async def _apply_channel(session: AsyncSession, clock: Clock, merchant: Merchant, channel: ChannelSpec) -> str | None:
    row = await session.scalar(
        _ACCOUNTS.where(
            ChannelAccount.merchant_id == merchant.id,
            ChannelAccount.channel == channel.kind,
            ChannelAccount.address == channel.address,
        )
    )
    if row is None:
        place = {"merchant_id": merchant.id, "channel": channel.kind, "address": channel.address}
        now = clock.now()  # what came before is nobody's business here
        session.add(ChannelAccount(**place, credentials=channel.credentials, caught_up_to=now, **channel.values))
        return "created"
    changed = change(row, {**channel.values, "active": True})
    if await _stored_credentials(session, row.id) != channel.credentials:
        row.credentials, changed = channel.credentials, True
    return "changed" if changed else None


async def _deactivate_others(session: AsyncSession, merchant: Merchant, spec: MerchantSpec) -> list[str]:
    lines = []
    named = {(channel.kind, channel.address) for channel in spec.channels}
    for row in await session.scalars(_ACCOUNTS.where(ChannelAccount.merchant_id == merchant.id)):
        if (row.channel, row.address) not in named and change(row, {"active": False}):
            lines.append(f"channel {row.channel} {row.address}: deactivated")
            if row.shared:  # what waits for its merchant must not come behind what the only one left gets at once
                await _route_again(session, row.channel, row.address)
    return lines


async def check_sharing(session: AsyncSession, channel: str, address: str) -> None:
    """Several merchants may have an address when each says so, and with the same credentials: it is one number."""
    query = select(ChannelAccount.id, ChannelAccount.shared).where(
        ChannelAccount.channel == channel, ChannelAccount.address == address, ChannelAccount.active
    )
    rows = (await session.execute(query)).all()
    if len(rows) < 2:
        return
    if not all(shared for _, shared in rows):
        raise ConfigurationError(
            f"{channel} {address} belongs to another merchant already; merchants that share a number each say "
            "`shared: true` in its channel"
        )
    known = [await _stored_credentials(session, account_id) for account_id, _ in rows]
    if any(one != other for one in known for other in known if None not in (one, other)):
        raise ConfigurationError(
            f"{channel} {address} is shared with other credentials: give all its merchants the same, in one file"
        )


async def _route_again(session: AsyncSession, channel: str, address: str) -> int:
    """What came for this address and is nobody's waits again. How many events that is. `error`, once told, stays."""
    unrouted = update(InboxEvent).where(
        InboxEvent.channel == channel, InboxEvent.address == address, InboxEvent.state.in_(("unrouted", "routing"))
    )
    found = await session.execute(unrouted.values(state="received", due_at=None).returning(InboxEvent.id))
    return len(found.all())


async def _stored_credentials(session: AsyncSession, account_id: int) -> dict[str, Any] | None:
    """An account's credentials; None where this SECRET_KEY does not read them."""
    try:
        return await session.scalar(select(ChannelAccount.credentials).where(ChannelAccount.id == account_id))
    except ConfigurationError:
        return None
