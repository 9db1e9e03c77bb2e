"""The jobs of notifications: thin, idempotent, resumed where they were left."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from recado.alerts.service import Alerts
from recado.clock import Clock
from recado.db.engine import Database
from recado.errors import AlreadyAnswered, InvalidInput, NotFound
from recado.jobs.nudges import Nudges
from recado.notifications.service import NotificationService

Load = Callable[[NotificationService], Awaitable[Mapping[str, Any] | None]]
"""Read what a graph is given; None when nothing is left for it to do."""
RunGraph = Callable[[str, str, dict[str, Any]], Awaitable[None]]
"""Run a graph on a thread, or go on with it: (thread id, run key, what it is given)."""

PERMANENT = (NotFound, InvalidInput, AlreadyAnswered)
"""Trying again cannot mend these. Whatever else goes wrong, SAQ retries and then the sweep."""


class NotificationJobs:
    """Runs the request and the answer graph for notifications that are on record."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        alerts: Alerts,
        nudges: Nudges,
        request_graph: RunGraph,
        answer_graph: RunGraph,
    ) -> None:
        self._database = database
        self._clock = clock
        self._alerts = alerts
        self._nudges = nudges
        self._request_graph = request_graph
        self._answer_graph = answer_graph

    async def request(self, notification_id: int, merchant_id: int) -> None:
        """Ask the staff, from where it was left."""

        async def load(service: NotificationService) -> Mapping[str, Any] | None:
            return await service.request_to_do(notification_id)

        await self._run(self._request_graph, f"request:{notification_id}", load, notification_id, merchant_id)

    async def answer(self, notification_id: int, merchant_id: int) -> None:
        """Take the accepted answer back, from where it was left."""

        async def load(service: NotificationService) -> Mapping[str, Any] | None:
            context = await service.answer_to_do(notification_id)
            return None if context is None else {"context": context}

        await self._run(self._answer_graph, f"answer:{notification_id}", load, notification_id, merchant_id)

    async def follow_up(self, notification_id: int, merchant_id: int) -> None:
        """Remind or escalate, if it is time."""
        async with self._database.transaction() as session:
            service = NotificationService(session, merchant_id, self._clock)
            conversations = await service.follow_up(notification_id)
        for conversation_id in conversations:
            await self._nudges.deliver(conversation_id, merchant_id)

    async def _run(self, graph: RunGraph, thread_id: str, load: Load, notification_id: int, merchant_id: int) -> None:
        given = {"notification_id": notification_id, "merchant_id": merchant_id}
        try:
            async with self._database.read() as session:
                loaded = await load(NotificationService(session, merchant_id, self._clock))
            if loaded is None:
                return  # a late nudge: its checkpoints are gone, and with them what kept the steps from being repeated
            await graph(thread_id, thread_id, {**given, **loaded})
        except PERMANENT as error:
            await self._alerts.send("notification cannot go on", f"{type(error).__name__}: {error}", **given)
            async with self._database.transaction() as session:
                await NotificationService(session, merchant_id, self._clock).abandon(notification_id)
