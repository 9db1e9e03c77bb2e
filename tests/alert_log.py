"""What the team would hear of: the occurrences that a database has committed, as the code under test raised them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from recado.alerts.counting import Counting
from recado.alerts.raising import Alarm, Alerts
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import Alert, AlertOccurrence, AlertPost

Heard = tuple[str, str, dict[str, Any]]
"""The condition, the description, the ids."""

_committed: dict[str, list[Heard]] = {}
"""By the address of the database: several engines may write to one."""


class AlertLog(Alerts):
    """Raises alerts, and remembers all that were committed to this database since it was made."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        super().__init__(database, clock or Clock(), _nothing, _cannot)
        self._heard = _committed.setdefault(str(database.engine.url), [])
        self.clear()

    @property
    def sent(self) -> list[Heard]:
        return self._heard[self._start :]

    def clear(self) -> None:
        """What was committed so far is forgotten."""
        self._start = len(self._heard)

    @property
    def conditions(self) -> list[str]:
        return [condition for condition, _, _ in self.sent]

    async def told(self, clock: Clock) -> list[str]:
        """What a channel that wants everything has been told by now, but for sums: the condition of each post."""
        await Counting(self._database, clock, lambda _condition, _severity: ["all"], timedelta(minutes=10)).run()
        async with self._database.read() as session:
            posts = select(Alert.condition).join(AlertPost, AlertPost.alert_id == Alert.id)
            return list(await session.scalars(posts.where(AlertPost.kind != "summary").order_by(AlertPost.id)))

    async def report(self, condition: str, description: str, **context: Any) -> None:
        """As the conversation sync tells it."""
        await self.send(Alarm(condition, description, context))


async def _nothing() -> None:
    """No job tells them."""


async def _cannot(reason: str) -> None:
    raise AssertionError(f"alerts could not be stored: {reason}")


@event.listens_for(Session, "after_flush")
def _flushed(session: Session, _context: object) -> None:
    if heard := list(_of(session)):
        session.info.setdefault("alerts", []).extend(heard)
        session.info["database"] = str(session.connection().engine.url)


@event.listens_for(Session, "after_commit")
def _kept(session: Session) -> None:
    heard = session.info.pop("alerts", [])
    if heard:
        _committed.setdefault(session.info["database"], []).extend(heard)


@event.listens_for(Session, "after_rollback")
def _undone(session: Session) -> None:
    session.info.pop("alerts", None)


def _of(session: Session) -> Iterator[Heard]:
    for row in session.new:
        if isinstance(row, AlertOccurrence):
            ids = {"merchant_id": row.merchant_id, "conversation_id": row.conversation_id}
            yield row.condition, row.description, {**{k: v for k, v in ids.items() if v is not None}, **row.context}
