"""What a channel is given to tell, and what it promises."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from recado.alerts.conditions import SeverityLevel

Kind = Literal["first", "ongoing", "summary"]
"""The error happened; it still does; it is over (and happened more than once)."""


@dataclass(frozen=True, slots=True)
class Customer:
    """The person whom it is about. `orders_count`: as the conversation API knows them."""

    name: str | None = None
    phone: str | None = None
    orders_count: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell the team. Texts are as they came: a channel cuts and escapes them for its own format.

    `at`: when it first happened. `ids`: turn, delivery, event and the like, by name. `spread`: in how many
    conversations and of how many merchants it happened, when that is more than one.
    """

    kind: Kind
    condition: str
    severity: SeverityLevel
    title: str
    description: str
    at: datetime
    last_at: datetime
    count: int = 1
    spread: tuple[int, int] | None = None
    store_name: str | None = None
    conversation_id: int | None = None
    customer: Customer = field(default_factory=Customer)
    ids: Mapping[str, Any] = field(default_factory=dict)
    conversation_url: str | None = None
    trace_url: str | None = None
    logs_url: str | None = None
    linear_url: str | None = None
    linear_identifier: str | None = None


class AlertChannel(Protocol):
    """Where alerts go: Discord, a Slack-compatible webhook, e-mail, the log."""

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    async def send(self, notice: Notice) -> None:
        """Tell it. Raises AlertFailed when it was not taken."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
