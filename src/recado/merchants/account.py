"""A channel account as the rest of the code sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Account:
    """One address of a merchant on one channel. `credentials` is never logged."""

    id: int
    merchant_id: int
    channel: str
    address: str
    credentials: Mapping[str, Any] = field(repr=False)
    templates: Mapping[str, Any]
