"""`recado doctor --live`: what the providers say of every active account."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from recado.channels.management import ANY, Check, Expected, Management, one_line
from recado.channels.managements import open_managements
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.migrate import pending_revision
from recado.db.models import ChannelAccount, Merchant
from recado.entrypoints.finding import Finding
from recado.errors import RecadoError
from recado.merchants.account import Account
from recado.merchants.repository import to_account
from recado.settings import Settings
from recado.text import mask_phone

AT_ONCE = 8
"""So many accounts are looked at at the same time."""
TIMEOUTS = 10
"""An account gets so many of its calls' timeouts in all."""
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What reading an answer of an unknown shape may raise."""


@dataclass(frozen=True, slots=True)
class _Patient:
    """An account with whose it is and what it should look like."""

    account: Account
    part: str
    expected: Expected


async def examine_live(settings: Settings) -> list[Finding]:
    """Call the providers, several at once, and change nothing. Where the database cannot be read there is nothing to
    look at: `examine` says so.
    """
    patients = await _patients(settings)
    if not patients:
        return [Finding("providers", True, "no active account at any: there is nobody to ask")]
    turn = asyncio.Semaphore(AT_ONCE)
    async with open_managements(settings, Clock()) as managements:

        async def look(patient: _Patient) -> list[Finding]:
            async with turn:
                return await _look(managements[patient.account.channel], patient, settings.provider_timeout_seconds)

        found = await asyncio.gather(*map(look, patients))
    return [finding for findings in found for finding in findings]


async def _patients(settings: Settings) -> Sequence[_Patient]:
    database = Database(settings.database_url)
    try:
        if await pending_revision(database):
            return []
        async with database.read() as session:
            query = (
                select(ChannelAccount, Merchant.sub_domain)
                .join(Merchant, Merchant.id == ChannelAccount.merchant_id)
                .where(ChannelAccount.active, ChannelAccount.channel != "simulator")
                .order_by(Merchant.sub_domain, ChannelAccount.id)
            )
            return [_patient(row, sub_domain, settings) for row, sub_domain in await session.execute(query)]
    except (SQLAlchemyError, OSError, RecadoError):
        return []
    finally:
        await database.close()


def _patient(row: ChannelAccount, sub_domain: str, settings: Settings) -> _Patient:
    shown = mask_phone(row.address) if row.address.startswith("+") else row.address
    expected = Expected(settings.public_base_url, _named(row))
    return _Patient(to_account(row), f"{sub_domain} {row.channel} {shown}", expected)


def _named(row: ChannelAccount) -> Mapping[str, Mapping[str, str]]:
    """The provider's ids that this account would send: of the YAML, and of what `recado templates` made."""
    named = {name: {ANY: entry} if isinstance(entry, str) else dict(entry) for name, entry in row.templates.items()}
    for name, languages in (row.approvals or {}).items():
        ids = named.setdefault(name, {})
        for language, approval in languages.items():
            if ANY not in ids:
                ids.setdefault(language, approval.get("id") or name)
    return named


async def _look(management: Management, patient: _Patient, timeout: float) -> list[Finding]:
    try:
        async with asyncio.timeout(timeout * TIMEOUTS):
            checks = await management.examine(patient.account, patient.expected)
    except TimeoutError:
        remedy = "try again later, or raise PROVIDER_TIMEOUT_SECONDS"
        checks = [Check(False, f"not done after {timeout * TIMEOUTS:.0f} s", remedy)]
    except UNREADABLE as error:
        remedy = "look at the provider's status page, and whether a proxy answers in its place"
        checks = [Check(False, f"the provider's answer cannot be understood ({type(error).__name__})", remedy)]
    return [_finding(patient.part, check) for check in checks]


def _finding(part: str, check: Check) -> Finding:
    text = f"{check.text}: {check.remedy}" if check.remedy else check.text
    return Finding(part, check.ok, one_line(text, 1_000), warning=check.ok and bool(check.remedy))
