"""What a provider tells of people besides their messages: that they have another id, or want no marketing."""

from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.raising import Alarm, raise_within
from recado.channels.base import IdentityChanged, PreferenceChanged
from recado.clock import Clock
from recado.conversations.identity import Identities
from recado.conversations.optouts import OptOuts
from recado.conversations.service import ConversationService
from recado.merchants.account import Account
from recado.merchants.repository import MerchantRepository
from recado.turns.reception import tell

log = structlog.get_logger(__name__)


async def identity_changed(session: AsyncSession, clock: Clock, account: Account, news: IdentityChanged) -> None:
    """Know a person by their new id, where the old one is known."""
    identities = Identities(session, account.merchant_id)
    moved = await identities.move(account.channel, news.channel_user_id, news.new_channel_user_id, news.phone)
    if moved is None:
        log.info("another id of somebody who is not known", merchant_id=account.merchant_id, channel=account.channel)
        return
    if moved.phone is None or moved.phone == moved.contact.phone:
        return
    member = await MerchantRepository(session, account.merchant_id).staff_by_phone(moved.phone)
    if member is not None:
        reason = (
            f"{member.name} is known by a phone number that is not theirs any more, so that who has it now would be "
            "taken for them: write the new number under `staff` in the merchant's YAML and run `recado apply`"
        )
        context = {"merchant_id": account.merchant_id, "merchant_user_id": member.id}
        raise_within(session, [Alarm("security_staff_number_changed", reason, context)], clock.now())


async def preference_changed(
    session: AsyncSession,
    clock: Clock,
    account: Account,
    news: PreferenceChanged,
    *,
    event_id: int,
    received_at: datetime,
    only_known: bool,
) -> int | None:
    """Keep what a person wants of marketing. The conversation in which it is confirmed; None: nothing is said.

    `only_known`: the address is several merchants', and who never wrote to this one is not made known to it.
    """
    service = ConversationService(session, account.merchant_id, clock)
    known = await service.identities.find(account.channel, news.channel_user_id, news.phone, to_change=True)
    if known is not None:
        contact, conversation = known.contact, known.conversation
    elif only_known:
        return None
    else:
        contact, conversation = await service.open(account, news.channel_user_id, news.phone, None)
    decision = await OptOuts(session, account.merchant_id).prefer(contact, news, received_at)
    if decision is None:
        return None
    said = await tell(service, conversation, contact, f"preference:{event_id}:{contact.id}", decision, clock)
    return conversation.id if said else None
