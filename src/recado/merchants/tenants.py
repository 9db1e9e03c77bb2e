"""Which merchant a phone number belongs to at the conversation API, remembered for a while."""

import asyncio
from collections.abc import Awaitable, Callable

from cachetools import TTLCache

from recado.clock import Clock

PHONES = 1_000
"""How many are remembered, of those that the API knows and of those that it does not."""
KNOWN_SECONDS = 3_600
UNKNOWN_SECONDS = 60

Ask = Callable[[str], Awaitable[str | None]]
"""Asks the API for the sub_domain of a phone number. None: it does not know the number. Raises SyncError."""


class TenantLookup:
    """Asks once for what many want to know, and not again for an hour; for a minute where nobody was found.

    A failure is not remembered.
    """

    def __init__(self, ask: Ask, clock: Clock) -> None:
        def seconds() -> float:
            return clock.now().timestamp()

        self._ask = ask
        self._known: TTLCache[str, str] = TTLCache(PHONES, KNOWN_SECONDS, seconds)
        self._unknown: TTLCache[str, bool] = TTLCache(PHONES, UNKNOWN_SECONDS, seconds)
        self._asking: dict[str, asyncio.Task[str | None]] = {}

    async def sub_domain_of(self, phone: str) -> str | None:
        """The sub_domain of the merchant to whom `phone` (E.164) belongs, None where the API knows none.

        Raises SyncError.
        """
        known = self._known.get(phone)
        if known is not None or phone in self._unknown:
            return known
        asking = self._asking.get(phone)
        if asking is None:
            asking = self._asking[phone] = asyncio.create_task(self._find(phone))
            asking.add_done_callback(lambda _asked: self._asking.pop(phone))
        # Shielded: the others that wait for the answer still want it when this one no longer does.
        return await asyncio.shield(asking)

    async def _find(self, phone: str) -> str | None:
        found = await self._ask(phone)
        if found is None:
            self._unknown[phone] = True
        else:
            self._known[phone] = found
        return found
