"""What a provider decides about templates, as it tells of it."""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.raising import Alarm, raise_within
from recado.campaigns.templates import TEXTS
from recado.channels.base import TemplateChanged
from recado.clock import Clock
from recado.db.models import ChannelAccount
from recado.merchants.account import Account

WITHDRAWN: Mapping[str, str] = {
    "rejected": "change its text (`templates` of the merchant) and make it anew with `recado templates create`",
    "paused": "people have blocked or reported it: Meta lifts the pause by itself; see that it goes only to those who "
    "asked, or change its text and run `recado templates create`",
    "disabled": "it is off for good: change its text and make it anew with `recado templates create`",
    "deleted": "make it anew with `recado templates create`, or take it out of `templates` of the channel",
}
"""What there is to do about a template that may not be sent any more."""

MARKETING = "MARKETING"
RECATEGORISED = (
    "it costs more now, is withheld from people who want no marketing, and does not reach US numbers; ask Meta for a "
    "review in the WhatsApp manager, or change its text to what the person asked for and run `recado templates create`"
)


async def template_changed(
    session: AsyncSession, clock: Clock, accounts: Sequence[Account], news: TemplateChanged
) -> None:
    """Keep it with these accounts, and tell of what takes a template away that is in use."""
    for account in accounts:
        query = select(ChannelAccount).where(
            ChannelAccount.merchant_id == account.merchant_id, ChannelAccount.id == account.id
        )
        row = (await session.scalars(query.with_for_update())).one()
        approvals = row.approvals or {}
        before = approvals.get(news.name, {}).get(news.language, {})
        if news.provider_id and before.get("id") not in (None, news.provider_id):
            continue  # it is about one with other words, which another has replaced
        now = {
            "status": news.status,
            "id": news.provider_id or before.get("id"),
            "reason": news.reason,
            "category": news.category or before.get("category"),
        }
        if now == before:
            continue
        # A new object, or the change would not be seen.
        row.approvals = {**approvals, news.name: {**approvals.get(news.name, {}), news.language: now}}
        await session.flush()
        if news.name in TEXTS or news.name in row.templates:
            raise_within(session, _alarms(row, news, before), clock.now())


def _alarms(row: ChannelAccount, news: TemplateChanged, before: Mapping[str, str | None]) -> Iterator[Alarm]:
    context = {"merchant_id": row.merchant_id, "channel_account_id": row.id}
    which = f"template {news.name} ({news.language})"
    if news.status in WITHDRAWN and news.status != before.get("status"):
        why = f": {news.reason}" if news.reason else ""
        said = f"{which} is {news.status}{why}; {WITHDRAWN[news.status]}"
        yield Alarm("template_withdrawn", said, context, f"{row.id}:{news.name}:{news.language}:{news.status}")
    is_marketing = (news.category or "").upper() == MARKETING
    if is_marketing and (before.get("category") or "").upper() != MARKETING:
        said = f"{which} is {MARKETING} now: {RECATEGORISED}"
        yield Alarm("template_recategorised", said, context, f"{row.id}:{news.name}:{news.language}")
