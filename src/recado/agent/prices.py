"""What calls of models cost, by the prices in MODEL_PRICES."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from recado.errors import ConfigurationError

MILLION = 1_000_000
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")
"""How OpenAI marks a dated model: `gpt-4.1-2025-04-14` is `gpt-4.1` as it was that day, at the same price."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens: read, read from the provider's cache, written."""

    tokens_in: float
    tokens_cached: float
    tokens_out: float


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of all models that have one."""

    by_model: Mapping[str, Price] = field(default_factory=dict)

    def cost(self, model: str, tokens_in: int, tokens_cached: int, tokens_out: int) -> float | None:
        """USD for one call. `tokens_cached` are among `tokens_in`. None: nobody has named this model's price."""
        price = self.by_model.get(model) or self.by_model.get(_SNAPSHOT.sub("", model))
        if price is None:
            return None
        fresh = max(0, tokens_in - tokens_cached)
        spent = fresh * price.tokens_in + tokens_cached * price.tokens_cached + tokens_out * price.tokens_out
        return round(spent / MILLION, 8)


def read_prices(written: str) -> Prices:
    """The prices in `name=in/cached/out,…`. Raises ConfigurationError, which names the entry and its remedy."""
    found: dict[str, Price] = {}
    for entry in filter(None, (entry.strip() for entry in written.split(","))):
        name, equals, amounts = (part.strip() for part in entry.rpartition("="))
        if not equals or not name:
            raise _wrong(entry, "it has no name and =")
        if name in found:
            raise _wrong(entry, f"{name} has a price already")
        found[name] = _read_price(entry, amounts)
    return Prices(found)


def problems(written: str) -> list[str]:
    """What is wrong with these prices, with its remedy. Empty when nothing is."""
    try:
        read_prices(written)
    except ConfigurationError as error:
        return [str(error)]
    return []


def _read_price(entry: str, written: str) -> Price:
    parts = written.split("/")
    if len(parts) != 3:
        raise _wrong(entry, f"{len(parts)} instead of 3 prices")
    try:
        amounts = [float(part) for part in parts]
    except ValueError:
        raise _wrong(entry, "a price is no number") from None
    if not all(math.isfinite(amount) and amount >= 0 for amount in amounts):
        raise _wrong(entry, "a price is less than nothing, or not finite")
    return Price(*amounts)


def _wrong(entry: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"MODEL_PRICES: {entry!r}: {why}; write NAME=IN/CACHED/OUT in USD per million tokens, such as gpt-4.1=2/0.5/8"
    )
