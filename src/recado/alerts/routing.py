"""Which channel is told what: each has a setting with a severity, conditions, or both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from recado.alerts.conditions import CONDITIONS, SeverityLevel
from recado.errors import ConfigurationError

HELP = (
    "a severity (info, warning, error: it and what is worse), names of conditions (`security_*`), and with a minus "
    "before them those that are left out, separated by commas"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a channel wants to hear of. `least` None: no severity by itself."""

    least: SeverityLevel | None
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]

    @classmethod
    def of(cls, setting: str, name: str) -> "Wish":
        """Read `warning,security_*,-delivery_held`. Raises ConfigurationError, which names the setting."""
        least: SeverityLevel | None = None
        wanted: list[str] = []
        unwanted: list[str] = []
        for term in filter(None, (part.strip() for part in setting.lower().split(","))):
            pattern = term.removeprefix("-")
            if term in set(SeverityLevel):
                least = SeverityLevel(term)
            elif any(fnmatchcase(condition, pattern) for condition in CONDITIONS):
                (unwanted if term.startswith("-") else wanted).append(pattern)
            else:
                raise ConfigurationError(f"{name}: {term!r} is no severity and no condition; give {HELP}")
        return cls(least, tuple(wanted), tuple(unwanted))

    def __str__(self) -> str:
        least = [f"{self.least} and worse"] if self.least else []
        return ", ".join([*least, *self.wanted, *(f"not {pattern}" for pattern in self.unwanted)]) or "nothing"

    def takes(self, condition: str, severity: SeverityLevel) -> bool:
        """Whether this is to be told."""
        if any(fnmatchcase(condition, pattern) for pattern in self.unwanted):
            return False
        if self.least is not None and severity.rank >= self.least.rank:
            return True
        return any(fnmatchcase(condition, pattern) for pattern in self.wanted)


def make_route(wishes: Mapping[str, Wish]) -> Callable[[str, SeverityLevel], Sequence[str]]:
    """Which of these channels are told of a condition of this severity."""

    def route(condition: str, severity: SeverityLevel) -> Sequence[str]:
        return [name for name, wish in wishes.items() if wish.takes(condition, severity)]

    return route
