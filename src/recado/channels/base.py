"""The contract of a channel: what every adapter takes and gives.

An adapter turns a provider's payloads into one of the `Event`s, and sends `OutboundMessage`. It knows nothing of
merchants' data, windows or retries; it raises the `SendError`s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Literal, Protocol

from recado.errors import SendError
from recado.merchants.account import Account


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
    """The account's; `waba:<id>` where Meta names only the WhatsApp Business Account; empty where nothing tells."""
    provider_event_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a person sent. `source` is where the provider has it: a URL, or its id for `Channel.download`."""

    kind: str
    """image, audio, video, document or sticker."""
    source: str
    content_type: str | None = None
    filename: str | None = None
    voice: bool = False
    """A voice note: recorded, not chosen."""


def kind_of(content_type: str | None) -> str:
    """The kind of a file of this type."""
    kind = (content_type or "").partition("/")[0].lower()
    return kind if kind in {"image", "audio", "video"} else "document"


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """What a person sent. `kind` is `text`, `button`, `location`, `contacts`, `order`, `reaction`, `edit`, `deletion`,
    `unsupported`, the provider's own name of what we do not know, or that of the first attachment.

    `data`, by kind: location {latitude, longitude, name?, address?, url?} · contacts {contacts: [{name, phones}]} ·
    order {items: [{id, quantity, price?, currency?}], text?} · reaction {emoji; none: taken back} · unsupported {code?,
    title?}. Any kind may have `referral` {source_url?, headline?, body?} and `forwarded`.
    """

    provider_message_id: str
    channel_user_id: str
    phone: str | None
    name: str | None
    kind: str
    text: str
    quoted_provider_message_id: str | None = None
    attachments: tuple[Attachment, ...] = ()
    button: str | None = None
    """The id of the button, or of the list's row, that was tapped."""
    about_provider_message_id: str | None = None
    """Which message a reaction, an edit or a deletion is about."""
    data: Mapping[str, Any] = field(default_factory=dict)
    sent_at: datetime | None = None
    """When the person sent it, by the provider's clock."""
    opt_out: Literal["stop", "start"] | None = None
    """The provider itself has taken it as such, and has answered it."""


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """How far a delivery has come: `state` is sent, delivered, read or failed. `delivery_id` where we gave one."""

    provider_message_id: str
    state: str
    delivery_id: int | None = None
    code: str | None = None
    error: str | None = None
    """Why it failed, in words for an operator."""
    failure: type[SendError] | None = None
    """What kind of failure that is, which a provider may find out after it took the message."""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class IdentityChanged:
    """A person has another id on the channel, as with another phone number. The provider vouches for it."""

    channel_user_id: str
    new_channel_user_id: str
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class PreferenceChanged:
    """A person has told the provider that they want no marketing from this account (`stop`), or want it again."""

    channel_user_id: str
    phone: str | None
    marketing: Literal["stop", "resume"]


@dataclass(frozen=True, slots=True)
class TemplateChanged:
    """The provider has decided about a template. Status: approved, pending, rejected, paused, disabled, deleted."""

    name: str
    language: str
    status: str
    provider_id: str | None = None
    reason: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is understood and needs nothing: an echo of our own message, a read mark. `what` says which."""

    what: str


Event = InboundMessage | StatusUpdate | IdentityChanged | PreferenceChanged | TemplateChanged | Ignored


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
class OutboundMedia:
    """A file to send. `url` is public: the provider fetches it. `kind` is image, audio, video or document."""

    kind: str
    url: str
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """What to send to one person: free text in `language` (perhaps with buttons or a file), or a template.

    `buttons` are {id, title, description?}: up to three are buttons, more are the rows of a list. `by_human`: a person
    wrote it, and the window is closed; only channels whose rules have `human` are given such.
    """

    delivery_id: int
    to: str
    """The channel's user id."""
    text: str | None = None
    template: Template | None = None
    buttons: tuple[dict[str, str], ...] = ()
    language: str | None = None
    phone: str | None = None
    """Their number, where it is known."""
    media: OutboundMedia | None = None
    by_human: bool = False


class Channel(Protocol):
    """One way to people."""

    kind: str

    def parse(self, payload: bytes) -> Event:
        """Read a stored `RawEvent.payload`. Raises MalformedEvent, and nothing else whatever the payload is."""
        ...

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Mark as read and show that an answer is being typed. Raises SendError."""
        ...

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Send, and return the provider's message id. Raises SendError."""
        ...

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        """The provider's ids of messages like this one that it has taken since then, oldest first.

        For a send whose outcome is unknown. Raises SendError; Retryable with `retry_after` where only time will tell.
        """
        ...

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        """Write a file that a person sent, of at most `limit` bytes, into `file`. Returns its content type, where told.

        Raises MediaRefused for what must not be fetched or is too large, and SendError.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
