"""A channel account as the rest of the code sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

APPROVED = "approved"
WABA = "waba:"
"""Before the id of a WhatsApp Business Account, where that is an event's address."""


@dataclass(frozen=True, slots=True)
class Account:
    """One address of a merchant on one channel. `credentials` is never logged.

    `templates`: the provider's ids of those that may be sent, {name: id, or {language: id}}. `per_second` and
    `daily_limit`: see `ChannelAccount`.
    """

    id: int
    merchant_id: int
    channel: str
    address: str
    credentials: Mapping[str, Any] = field(repr=False)
    templates: Mapping[str, Any]
    portfolio: str = ""
    """The key under which new recipients are counted."""
    per_second: float | None = None
    daily_limit: int | None = None
    waba_id: str | None = None


def usable_templates(named: Mapping[str, Any], approvals: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The templates that may be sent: `named` in the YAML, and approved ones; without what the provider withdrew."""
    usable = dict(named)
    for name, languages in approvals.items():
        entry = named.get(name, {})
        # A name without languages stands for all of them: it becomes one for each that is known.
        ids = dict(entry) if isinstance(entry, Mapping) else dict.fromkeys(languages, entry)
        for language, approval in languages.items():
            if approval.get("status") != APPROVED:
                ids.pop(language, None)
            elif language not in ids:
                ids[language] = approval.get("id") or name
        usable[name] = ids
    return usable
