"""A merchant's keys for the REST API. A key is shown once, when it is made; only its hash is kept."""

import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from recado.clock import Clock
from recado.db.models import ApiKey, Merchant
from recado.db.paging import page_of
from recado.errors import ApiKeyNotFound

PREFIX = "rcd_"
KEY_BYTES = 32
HINT_CHARACTERS = len(PREFIX) + 6


class ApiKeys:
    """One merchant's keys, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock

    async def create(self, name: str) -> tuple[ApiKey, str]:
        """A new key: its row, and the key itself, which nobody can look up later."""
        key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
        row = ApiKey(
            merchant_id=self._merchant_id,
            name=name,
            hint=key[:HINT_CHARACTERS],
            key_hash=_hash(key),
            created_at=self._clock.now(),
        )
        self._session.add(row)
        await self._session.flush()
        return row, key

    async def page(self, limit: int, offset: int) -> tuple[Sequence[ApiKey], int]:
        """A page of the merchant's keys, newest first and the revoked ones too, and how many there are."""
        query = select(ApiKey).where(ApiKey.merchant_id == self._merchant_id).order_by(ApiKey.id.desc())
        rows, total = await page_of(self._session, query, limit, offset)
        return [row[0] for row in rows], total

    async def revoke(self, key_id: int) -> ApiKey:
        """From now on the key is refused. Revoking again changes nothing. Raises ApiKeyNotFound."""
        query = select(ApiKey).where(ApiKey.merchant_id == self._merchant_id, ApiKey.id == key_id)
        row = await self._session.scalar(query)
        if row is None:
            raise ApiKeyNotFound(f"API key {key_id} not found")
        row.revoked_at = row.revoked_at or self._clock.now()
        await self._session.flush()
        return row


async def merchant_of_key(session: AsyncSession, key: str) -> tuple[int, str] | None:
    """The id and sub_domain of the merchant whose key this is; None for one that is unknown or revoked.

    This is how a merchant is found, so it cannot be scoped by one. That the database looks for a hash by comparing
    tells nobody anything: who does not know the key cannot choose its hash.
    """
    if not key.startswith(PREFIX):
        return None
    query = (
        select(ApiKey.merchant_id, Merchant.sub_domain)
        .join(Merchant, Merchant.id == ApiKey.merchant_id)
        .where(ApiKey.key_hash == _hash(key), ApiKey.revoked_at.is_(None))
    )
    row = (await session.execute(query)).one_or_none()
    return (row[0], row[1]) if row else None


def same_key(presented: str, expected: str) -> bool:
    """Whether these are the same, in a time that tells nothing of where they differ or how long they are."""
    return secrets.compare_digest(_hash(presented), _hash(expected))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
