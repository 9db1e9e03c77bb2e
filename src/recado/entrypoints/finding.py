"""What `recado doctor` says of one thing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `text` says what is there, or what is wrong and how to mend it."""

    part: str
    ok: bool
    text: str
