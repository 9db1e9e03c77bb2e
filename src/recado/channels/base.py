"""The contract of a channel: what every adapter takes and gives.

An adapter turns a provider's payloads into `InboundMessage` and `StatusUpdate`, and sends `OutboundMessage`. It knows
nothing of merchants' data, windows or retries; it raises `Retryable`, `Permanent`, `WindowClosed` or `OptedOut`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from recado.merchants.account import Account

TEXT_LIMITS: Mapping[str, int] = {"twilio": 1_600, "simulator": 4_096}
"""The longest free text of one message on each channel, in characters."""


def template_id(account: Account, name: str, language: str) -> str | None:
    """The provider's id of a template of this account, None where it has none. The simulator approves every one."""
    if account.channel == "simulator":
        return name
    entry = account.templates.get(name)
    return entry.get(language) if isinstance(entry, Mapping) else entry


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One thing that a provider delivered, as it will be stored: `payload` is what `Channel.parse` reads again."""

    channel: str
    address: str
    provider_event_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """What a person sent. `kind` is `text`, `button`, `reaction` or that of the first attachment."""

    provider_message_id: str
    channel_user_id: str
    phone: str | None
    name: str | None
    kind: str
    text: str
    quoted_provider_message_id: str | None = None
    attachments: tuple[dict[str, Any], ...] = ()
    button: str | None = None
    """The id of the button that was tapped."""


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """How far a delivery has come: `state` is sent, delivered, read or failed. `delivery_id` where we gave one."""

    provider_message_id: str
    state: str
    delivery_id: int | None = None
    code: str | None = None
    error: str | None = None
    window_closed: bool = False
    """It failed because the 24-hour window is closed, which a provider may find out after it took the message."""
    template_refused: bool = False
    """It failed because the template is not approved, which a provider may find out after it took the message."""


@dataclass(frozen=True, slots=True)
class Template:
    """An approved template and its variables, in the template's order. `text` is how it reads when filled in.

    `buttons` ({id, title}) are part of what was approved. `announces`: it only tells that a message is ready, which
    follows once the person opens the window.
    """

    name: str
    language: str
    variables: Mapping[str, str]
    text: str
    buttons: Sequence[Mapping[str, str]] = ()
    announces: bool = False


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """What to send to one person: either free text (perhaps with buttons, in `language`) or a template."""

    delivery_id: int
    to: str
    text: str | None = None
    template: Template | None = None
    buttons: tuple[dict[str, str], ...] = ()
    language: str | None = None


class Channel(Protocol):
    """One way to people."""

    kind: str

    def parse(self, payload: bytes) -> InboundMessage | StatusUpdate:
        """Read a stored `RawEvent.payload`. Raises MalformedEvent."""
        ...

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Mark as read and show that an answer is being typed. Raises SendError."""
        ...

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Send, and return the provider's message id. Raises SendError."""
        ...

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        """The provider's ids of messages like this one that it has taken since then, oldest first.

        For a send whose outcome is unknown. Raises SendError.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
