"""`recado doctor`: who gets the messages that come to a number which merchants share."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from recado.db.models import ChannelAccount
from recado.entrypoints.finding import Finding
from recado.settings import Settings


def shared_addresses(
    settings: Settings, accounts: Sequence[ChannelAccount], sub_domains: Mapping[int, str]
) -> list[Finding]:
    """One finding for each address with several of these active accounts; `sub_domains` by merchant id."""

    def place(account: ChannelAccount) -> tuple[str, str]:
        return account.channel, account.address

    findings = []
    for (channel, address), group in groupby(sorted(accounts, key=place), place):
        owners = [sub_domains[account.merchant_id] for account in group]
        if len(owners) > 1:
            findings.append(_shared(settings, f"{channel} {address}", owners))
    return findings


def _shared(settings: Settings, part: str, owners: Sequence[str]) -> Finding:
    text = f"shared by {', '.join(sorted(owners))}; "
    asks = settings.enable_conversation_sync or settings.use_cartaai_api
    text += "lookups are on" if asks else "lookups are off (ENABLE_CONVERSATION_SYNC, USE_CARTAAI_API)"
    default = settings.cartaai_subdomain
    if default in owners:
        return Finding(part, True, f"{text}; the default merchant is {default}")
    lacking = f"CARTAAI_SUBDOMAIN={default} has no account here" if default else "set CARTAAI_SUBDOMAIN"
    return Finding(part, asks, f"{text}; no default merchant ({lacking}): messages of unknown people wait")
