"""What `recado doctor` says of one thing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `text` says what is there, or what is wrong and how to mend it."""

    part: str
    ok: bool
    text: str
    warning: bool = False
    """It works, and somebody should look at it all the same."""

    @property
    def line(self) -> str:
        """As `recado doctor` prints it."""
        return f"{'FAIL' if not self.ok else 'warn' if self.warning else 'ok  '}  {self.part}: {self.text}"
