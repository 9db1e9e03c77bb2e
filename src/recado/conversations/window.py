"""WhatsApp's 24-hour rule, and the only place that knows it.

Free text may be sent until 24 hours after the person's last message; afterwards approved templates only. The provider
opens the window on messages and button taps, not on reactions, calls, or what it tells of earlier messages.
"""

from datetime import datetime, timedelta

WINDOW = timedelta(hours=24)
NO_MESSAGES = frozenset(
    {"reaction", "call", "call_permission_reply", "system", "status", "request_welcome"}
    | {"edit", "edited", "revoke", "revoked", "delete", "deleted"}
)
"""Kinds of what arrives that are not messages of the person's: nobody answers them and they open no window."""


def opens_window(kind: str) -> bool:
    """Whether an inbound message of this kind opens the window."""
    return kind not in NO_MESSAGES


def is_open(last_inbound_at: datetime | None, now: datetime) -> bool:
    """Whether free text may be sent now. A person who never wrote has no window."""
    return last_inbound_at is not None and now - last_inbound_at <= WINDOW
