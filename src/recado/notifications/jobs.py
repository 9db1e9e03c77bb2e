"""The jobs of notifications: thin, idempotent, resumed where they were left."""

from collections.abc import Awaitable, Callable
from typing import Any

from recado.alerts.raising import Alarm, raise_within
from recado.clock import Clock
from recado.db.engine import Database
from recado.errors import AlreadyAnswered, InvalidInput, NotFound, RecadoError
from recado.jobs.nudges import Nudges
from recado.notifications.base import ToDo
from recado.notifications.service import NotificationService
from recado.telemetry.context import about, ids_of
from recado.telemetry.steps import as_spans, recording
from recado.telemetry.tracing import in_trace, span

Load = Callable[[NotificationService], Awaitable[ToDo | None]]
"""Read what there is to do; None when nothing is left."""
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
        nudges: Nudges,
        request_graph: RunGraph,
        answer_graph: RunGraph,
    ) -> None:
        self._database = database
        self._clock = clock
        self._nudges = nudges
        self._request_graph = request_graph
        self._answer_graph = answer_graph

    async def request(self, notification_id: int, merchant_id: int) -> None:
        """Ask the staff, from where it was left."""

        async def load(service: NotificationService) -> ToDo | None:
            return await service.request_to_do(notification_id)

        await self._run("request", self._request_graph, load, notification_id, merchant_id)

    async def answer(self, notification_id: int, merchant_id: int) -> None:
        """Take the accepted answer back, from where it was left."""

        async def load(service: NotificationService) -> ToDo | None:
            return await service.answer_to_do(notification_id)

        await self._run("answer", self._answer_graph, load, notification_id, merchant_id)

    async def follow_up(self, notification_id: int, merchant_id: int) -> None:
        """Remind or escalate, if it is time."""
        async with self._database.transaction() as session:
            service = NotificationService(session, merchant_id, self._clock)
            conversations = await service.follow_up(notification_id)
        for conversation_id in conversations:
            await self._nudges.deliver(conversation_id, merchant_id)

    async def _run(self, what: str, graph: RunGraph, load: Load, notification_id: int, merchant_id: int) -> None:
        with about(notification_id=notification_id, merchant_id=merchant_id):
            try:
                async with self._database.read() as session:
                    to_do = await load(NotificationService(session, merchant_id, self._clock))
                if to_do is None:
                    return  # a late nudge: gone are its checkpoints, which keep the steps from being repeated
                await self._do(what, graph, to_do, notification_id, merchant_id)
            except PERMANENT as error:
                await self._give_up(notification_id, merchant_id, error)

    async def _do(self, what: str, graph: RunGraph, to_do: ToDo, notification_id: int, merchant_id: int) -> None:
        thread_id = f"{what}:{notification_id}"
        given = {"notification_id": notification_id, "merchant_id": merchant_id, **to_do.given}
        ids = {"conversation_id": to_do.conversation_id, "turn_id": to_do.turn_id}
        with in_trace(to_do.trace_id), about(**ids), span(f"{what}_notification"), recording() as steps:
            try:
                await graph(thread_id, thread_id, given)
            finally:
                as_spans(steps)

    async def _give_up(self, notification_id: int, merchant_id: int, error: RecadoError) -> None:
        async with self._database.transaction() as session:
            alarm = Alarm("notification_stuck", f"{type(error).__name__}: {error}", ids_of(error))
            raise_within(session, [alarm], self._clock.now())
            await NotificationService(session, merchant_id, self._clock).abandon(notification_id)
