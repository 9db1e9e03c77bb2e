"""What a provider's error codes mean to us, and to an operator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recado.errors import Permanent, Retryable, SendError


@dataclass(frozen=True, slots=True)
class Meaning:
    """What to do about a code (`error`), why it came in an operator's words, and what they can do about it."""

    error: type[SendError]
    why: str
    remedy: str = ""

    def to_error(self, provider: str, code: int | str, said: str = "", **more: Any) -> SendError:
        """The error to raise. `said` are the provider's own words."""
        return self.error(self.text(provider, code, said), str(code), remedy=self.remedy, **more)

    def text(self, provider: str, code: int | str, said: str = "") -> str:
        """Why, with the provider's name, code and own words."""
        return f"{provider} {code}: {self.why}" + (f" ({said})" if said and said != self.why else "")


def meaning_of(codes: Mapping[int, Meaning], code: int | None, status: int | None = None) -> Meaning:
    """What a code means; one that is not in the table by its HTTP `status`: 429 and 5xx may pass."""
    if code is not None and code in codes:
        return codes[code]
    if status is not None and (status == 429 or status >= 500):
        return Meaning(Retryable, "the provider is busy or has an error of its own")
    return Meaning(Permanent, "the provider refused it with a code that we do not know", "look the code up there")
