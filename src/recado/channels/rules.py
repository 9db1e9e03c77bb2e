"""What each channel allows: how long a text may be, how fast one may send, and what may be sent when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Pair:
    """How often one person may be written to: once in `every`, after a burst of `burst`."""

    every: timedelta
    burst: int


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """A channel's rules. `text` is the longest free text of one message, in UTF-8 bytes where `in_bytes`, else in
    characters. `per_second`: messages that one address may send; an account may say otherwise.
    """

    text: int
    in_bytes: bool = False
    caption: int | None = None
    """How much of a text a file may carry. None: as much as goes alone; 0: they are two messages."""
    per_second: float | None = None
    pair: Pair | None = None
    by_phone: bool = True
    """People are reached there by their phone number, so staff can be asked without having written first."""
    templates: bool = True
    """Approved templates may be sent while the window is closed."""
    human: timedelta | None = None
    """How long after their last message a person may still be written to with what a human wrote."""
    daily: int | None = None
    """New recipients outside windows within 24 hours, for a portfolio that says nothing else. None: no such cap."""

    def size(self, text: str) -> int:
        """How much of `text`'s limit a text takes."""
        return len(text.encode()) if self.in_bytes else len(text)


RULES: Mapping[str, ChannelRules] = {
    "simulator": ChannelRules(text=4_096),
    # https://www.twilio.com/docs/whatsapp/best-practices-and-faqs: 80 messages a second for a sender
    "twilio": ChannelRules(text=1_600, per_second=80, daily=250),
    # Meta: captions, throughput, pair rate and messaging limits of the WhatsApp Cloud API
    "whatsapp": ChannelRules(text=4_096, caption=1_024, per_second=80, pair=Pair(timedelta(seconds=6), 45), daily=250),
    # Instagram's Send API: 1,000 bytes; the tag HUMAN_AGENT for seven days
    "instagram": ChannelRules(
        text=1_000, in_bytes=True, caption=0, per_second=100, by_phone=False, templates=False, human=timedelta(days=7)
    ),
}
"""By kind of channel."""
