"""Having templates made and approved at the provider, and keeping what it says of them.

These run from a command or a job: they call providers between transactions of their own, never within one.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.alerts.raising import Alarm, raise_within
from recado.campaigns.outcomes import TO_MAKE, Outcome, failure_of, left_over, outcome_of
from recado.campaigns.templates import OwnTexts
from recado.campaigns.wanted import wanted_templates
from recado.channels.management import (
    ANY,
    DISABLED,
    PAUSED,
    PENDING,
    REJECTED,
    Approval,
    Listing,
    Management,
    NewTemplate,
    find,
    is_limit,
    one_line,
    remedy_of,
    with_id,
)
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import ChannelAccount
from recado.errors import Retryable, SendError
from recado.merchants.account import Account
from recado.merchants.repository import MerchantRepository, to_account

log = structlog.get_logger(__name__)

MOST_UNANSWERED = 3
"""So many calls in a row without an answer, and the rest of an account is left for another time."""

WITHDRAWN = frozenset({REJECTED, PAUSED, DISABLED})


@dataclass(frozen=True, slots=True)
class _Kept:
    """One account with what the YAML names and what is stored."""

    account: Account
    named: Mapping[str, Any]
    approvals: Mapping[str, Mapping[str, Any]]

    def named_id(self, name: str, language: str) -> str | None:
        """The id that the YAML gives this template."""
        entry = self.named.get(name)
        return entry.get(language) if isinstance(entry, Mapping) else entry

    def approval(self, template: NewTemplate, there: Listing, *, contents: bool) -> Approval | None:
        """What the provider says of this template: of the one that is named, else of the one with its words."""
        named = self.named_id(template.name, template.language)
        if named is None:
            return find(there, template)
        return with_id(there, named, template.language, contents=contents)


class ApprovalRepository:
    """What providers say of one merchant's templates."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id

    async def accounts(self) -> list[ChannelAccount]:
        """The merchant's active accounts."""
        query = select(ChannelAccount).where(ChannelAccount.merchant_id == self._merchant_id, ChannelAccount.active)
        return list(await self._session.scalars(query.order_by(ChannelAccount.id)))

    async def keep(self, account_id: int, found: Mapping[tuple[str, str], Approval]) -> None:
        """Write down what the provider says, by name and language; what it does not speak of stays."""
        query = select(ChannelAccount).where(
            ChannelAccount.merchant_id == self._merchant_id, ChannelAccount.id == account_id
        )
        # A webhook may write into the same column.
        row = await self._session.scalar(query.with_for_update())
        if row is None:
            return
        approvals = {name: dict(languages) for name, languages in (row.approvals or {}).items()}
        for (name, language), approval in found.items():
            approvals.setdefault(name, {})[language] = approval.stored()
        if approvals != (row.approvals or {}):
            row.approvals = approvals


async def merchants_who_wait(session: AsyncSession) -> list[int]:
    """The merchants, of all, with an account that waits for the approval of a template."""
    query = select(ChannelAccount.merchant_id, ChannelAccount.approvals).where(
        ChannelAccount.active, ChannelAccount.approvals.is_not(None)
    )
    return sorted({row.merchant_id for row in await session.execute(query) if _waits(row.approvals or {})})


class Approvals:
    """Templates of merchants at their providers; `managements` by kind of channel."""

    def __init__(self, database: Database, managements: Mapping[str, Management], clock: Clock) -> None:
        self._database = database
        self._managements = managements
        self._clock = clock

    async def create(
        self, merchant_id: int, languages: Sequence[str] | None = None, *, dry_run: bool = False
    ) -> AsyncIterator[Outcome]:
        """Make every template that the merchant's accounts lack, in these languages (None: all), and say what came of
        each. Done again, it makes nothing twice: what the provider has by its name and words is taken.
        """
        own_texts, accounts = await self._read(merchant_id)
        for kept in accounts:
            management = self._managements[kept.account.channel]
            lacking = [
                template
                for template in wanted_templates(own_texts, languages, contents=management.contents)
                if kept.named_id(template.name, template.language) is None
            ]
            try:
                there = await management.approvals(kept.account)
            except SendError as error:
                yield failure_of(kept.account, error)
                continue
            async for outcome in self._make(kept.account, management, lacking, there, dry_run=dry_run):
                yield outcome

    async def status(self, merchant_id: int) -> AsyncIterator[Outcome]:
        """Ask the providers what they say of each of the merchant's templates, and write it down."""
        own_texts, accounts = await self._read(merchant_id)
        for kept in accounts:
            management = self._managements[kept.account.channel]
            try:
                there = await management.approvals(kept.account)
            except SendError as error:
                yield failure_of(kept.account, error)
                continue
            found = _state(kept, management, own_texts, there)
            await self._keep(kept, found)
            for template in wanted_templates(own_texts, contents=management.contents):
                approval = found.get((template.name, template.language))
                named = kept.named_id(template.name, template.language) is not None
                yield outcome_of(kept.account, template, approval, named=named)

    async def refresh(self, merchant_ids: Iterable[int]) -> None:
        """Ask again for these merchants' accounts that wait for an approval; alerts say what was refused."""
        for merchant_id in merchant_ids:
            _, accounts = await self._read(merchant_id)
            for kept in accounts:
                if _waits(kept.approvals):
                    await self._refresh(kept)

    async def _refresh(self, kept: _Kept) -> None:
        management = self._managements[kept.account.channel]
        try:
            there = await management.approvals(kept.account)
        except SendError as error:
            log.warning("approvals cannot be read", account_id=kept.account.id, error=str(error), remedy=error.remedy)
            return
        found = _stored(kept, management, there)
        await self._keep(kept, found, _withdrawn(kept, found))

    async def _make(
        self,
        account: Account,
        management: Management,
        lacking: Sequence[NewTemplate],
        there: Listing,
        *,
        dry_run: bool,
    ) -> AsyncIterator[Outcome]:
        unanswered = 0
        for number, template in enumerate(lacking):
            if dry_run:
                found = find(there, template)
                yield (
                    outcome_of(account, template, found)
                    if found
                    else Outcome(account, TO_MAKE, template.name, template.language)
                )
                continue
            try:
                approval = await management.create_template(account, template, there)
            except SendError as error:
                yield failure_of(account, error, template)
                unanswered = unanswered + 1 if isinstance(error, Retryable) else 0
                if is_limit(error) or unanswered >= MOST_UNANSWERED:
                    yield left_over(account, len(lacking) - number, error)
                    return
                continue
            unanswered = 0
            # At once: what is known is not lost with the rest of the work.
            async with self._database.transaction() as session:
                repository = ApprovalRepository(session, account.merchant_id)
                await repository.keep(account.id, {(template.name, template.language): approval})
            yield outcome_of(account, template, approval)

    async def _read(self, merchant_id: int) -> tuple[OwnTexts | None, list[_Kept]]:
        async with self._database.read() as session:
            merchant = await MerchantRepository(session, merchant_id).get()
            rows = await ApprovalRepository(session, merchant_id).accounts()
            accounts = [
                _Kept(to_account(row), row.templates, row.approvals or {})
                for row in rows
                if row.channel in self._managements and self._managements[row.channel].has_templates
            ]
            return merchant.template_texts, accounts

    async def _keep(self, kept: _Kept, found: Mapping[tuple[str, str], Approval], alarms: Iterable[Alarm] = ()) -> None:
        """Write it down. A name to which the YAML gives one id for all languages is not: that would narrow it."""
        found = {key: approval for key, approval in found.items() if not isinstance(kept.named.get(key[0]), str)}
        async with self._database.transaction() as session:
            await ApprovalRepository(session, kept.account.merchant_id).keep(kept.account.id, found)
            raise_within(session, alarms, self._clock.now())


def _withdrawn(kept: _Kept, found: Mapping[tuple[str, str], Approval]) -> Iterator[Alarm]:
    """What may not be sent any more since it was last asked for."""
    account = kept.account
    for (name, language), approval in found.items():
        before = kept.approvals[name][language].get("status")
        if approval.status in WITHDRAWN and before != approval.status:
            reason = f": {one_line(approval.reason)}" if approval.reason else ""
            said = f"template {name} ({language}) is {approval.status}{reason}; {remedy_of(approval)}"
            context = {"merchant_id": account.merchant_id, "channel_account_id": account.id}
            yield Alarm("template_withdrawn", said, context, f"{account.id}:{name}:{language}:{approval.status}")


def _state(
    kept: _Kept, management: Management, own_texts: OwnTexts | None, there: Listing
) -> dict[tuple[str, str], Approval]:
    """What the provider says of each template that is named, stored or has our words."""
    found = _stored(kept, management, there)
    for template in wanted_templates(own_texts, contents=management.contents):
        approval = kept.approval(template, there, contents=management.contents)
        if approval is not None:
            found[template.name, template.language] = approval
    return found


def _stored(kept: _Kept, management: Management, there: Listing) -> dict[tuple[str, str], Approval]:
    """What it says of those that were written down before, by their ids."""
    found = {}
    for name, languages in kept.approvals.items():
        for language, stored in languages.items():
            wanted = kept.named_id(name, language) or stored.get("id") or name
            approval = with_id(there, wanted, language or ANY, contents=management.contents)
            if approval is not None:
                found[name, language] = approval
    return found


def _waits(approvals: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(each.get("status") == PENDING for languages in approvals.values() for each in languages.values())
