"""WhatsApp's 24-hour rule and Instagram's, and the only place that knows them.

Free text may be sent until 24 hours after the person's last message; afterwards approved templates only, or, on
Instagram, what a person wrote, for seven days. The provider opens the window on messages and button taps, not on
reactions, calls, or what it tells of earlier messages.
"""

from datetime import datetime, timedelta
from typing import Literal

from recado.channels.rules import RULES

WINDOW = timedelta(hours=24)
NO_MESSAGES = frozenset(
    {"reaction", "call", "call_permission_reply", "system", "status", "request_welcome"}
    | {"edit", "edited", "deletion", "revoke", "revoked", "delete", "deleted"}
)
"""Kinds of what arrives that are not messages of the person's: they open no window."""

Way = Literal["text", "human", "template"]
"""How something may be sent now; `human`: as what a person wrote."""


def opens_window(kind: str) -> bool:
    """Whether an inbound message of this kind opens the window."""
    return kind not in NO_MESSAGES


def is_open(last_inbound_at: datetime | None, now: datetime) -> bool:
    """Whether free text may be sent now. A person who never wrote has no window."""
    return last_inbound_at is not None and now - last_inbound_at <= WINDOW


def way(
    channel: str,
    last_inbound_at: datetime | None,
    now: datetime,
    *,
    has_text: bool = True,
    has_template: bool = False,
    by_human: bool = False,
) -> Way | None:
    """How what there is may be sent to a person now; None: not at all."""
    rules = RULES[channel]
    if has_text and is_open(last_inbound_at, now):
        return "text"
    if by_human and rules.human is not None and last_inbound_at is not None and now - last_inbound_at <= rules.human:
        return "human"
    return "template" if has_template and rules.templates else None
