"""Writing down what the conversation API has to be told, in the transaction in which it happened."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from recado.db.engine import SYNCS
from recado.db.models import SyncEntry, SyncSession
from recado.errors import SyncOff
from recado.intents import Progress

_INSERT = insert(SyncEntry.__table__)  # type: ignore[arg-type]
_OPEN = insert(SyncSession.__table__)  # type: ignore[arg-type]


class SyncEntries:
    """The sync outbox of one merchant, for writing. Writes nothing where syncing is switched off."""

    def __init__(self, session: AsyncSession, merchant_id: int) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._on: bool = session.info.get(SYNCS, False)

    async def opened(self, conversation_ids: Sequence[int], now: datetime) -> None:
        """Conversations came into being."""
        rows = [
            {
                "conversation_id": conversation_id,
                "merchant_id": self._merchant_id,
                "active": True,
                "messages": [],
                "due_at": now,
                "attempts": 0,
                "uncertain": False,
            }
            for conversation_id in conversation_ids
        ]
        if self._on and rows:
            await self._session.execute(_OPEN, rows)

    async def said(
        self, messages: Sequence[tuple[int, int]], states: Sequence[tuple[int, Progress]], now: datetime
    ) -> None:
        """Messages, (conversation id, message id) each, and after them states, (conversation id, state) each."""
        rows = [self._row(conversation_id, "message", now, message_id=id_) for conversation_id, id_ in messages]
        rows += [self._row(conversation_id, "state", now, payload=dict(state)) for conversation_id, state in states]
        await self._add(rows)

    async def ordered(self, conversation_id: int, order_id: str, now: datetime) -> None:
        """An order belongs to a conversation. Raises SyncOff: nobody else would know."""
        if not self._on:
            raise SyncOff("orders are linked in the conversation API: set ENABLE_CONVERSATION_SYNC=true")
        await self._add([self._row(conversation_id, "order", now, payload={"order_id": order_id})])

    def _row(
        self,
        conversation_id: int,
        kind: str,
        now: datetime,
        *,
        message_id: int | None = None,
        payload: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return {
            "merchant_id": self._merchant_id,
            "conversation_id": conversation_id,
            "kind": kind,
            "message_id": message_id,
            "payload": payload,
            "created_at": now,
        }

    async def _add(self, rows: list[dict[str, Any]]) -> None:
        if self._on and rows:
            await self._session.execute(_INSERT, rows)
