"""Alerts: what the team must know, sent where it looks. For now that is the log."""

from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Alerts:
    """Raises alerts. Never raises an exception."""

    async def send(self, title: str, description: str, **context: Any) -> None:
        """Tell the team. `context` holds ids, never texts or phone numbers."""
        log.error("alert", alert=title, description=description, **context)
