"""Services → compiled graphs → jobs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from langgraph.graph.state import StateGraph
from saq import Worker

import graphs.answer_notification.graph as answer_graph
import graphs.conversation.graph as conversation_graph
import graphs.request_notification.graph as request_graph
from recado.agent.checkpoints import SqliteCheckpoints, open_checkpoints
from recado.agent.graph import GraphAgent, run_or_resume
from recado.alerts.jobs import AlertJobs
from recado.alerts.raising import Alarm
from recado.bootstrap.services import Services
from recado.campaigns.jobs import ApprovalJobs
from recado.conversations.outbox import Outbox
from recado.documents.jobs import embed_missing, has_missing
from recado.errors import SyncUnavailable
from recado.jobs.worker import Handler, OnFailed, make_worker
from recado.merchants.tenants import TenantLookup
from recado.notifications.jobs import NotificationJobs, RunGraph
from recado.sync.outbox import SyncOutbox, SyncSettings
from recado.sync.retrying import again
from recado.telemetry.context import IDS
from recado.turns.catch_up import CatchUp
from recado.turns.ingest import Ingest
from recado.turns.routing import Routing
from recado.turns.service import TurnService, TurnSettings, nothing_to_restore
from recado.turns.sweep import sweep

EMBEDDED_QUEUE = "memory://"
GRACE_SECONDS = 5
"""How long running jobs may take to end when the process is asked to stop."""


@asynccontextmanager
async def open_worker(services: Services) -> AsyncIterator[Worker[Any]]:
    """A worker on these services, with the compiled graphs. The caller starts it."""
    settings = services.settings
    async with open_checkpoints(settings.checkpoint_url) as checkpoints:
        yield make_worker(
            services.nudges, make_handlers(services, checkpoints), settings.worker_concurrency, _teller(services)
        )


def make_handlers(services: Services, checkpoints: SqliteCheckpoints) -> dict[str, Handler]:
    """What each job does, by name."""
    process_id = uuid4().hex
    alone = services.settings.queue_url == EMBEDDED_QUEUE
    sync = _make_sync(services, process_id, alone=alone)
    callbacks = services.observers.callbacks
    conversation = conversation_graph.build(services.conversation_nodes()).compile(checkpointer=checkpoints)
    agent = GraphAgent(conversation, callbacks)
    outbox = Outbox(services.database, services.clock, services.channels, process_id, alone=alone)
    turns = TurnService(
        services.database,
        services.clock,
        services.channels,
        agent,
        services.nudges,
        TurnSettings(process_id, services.settings.turn_quiet_seconds, alone),
        sync.restore if sync else nothing_to_restore,
        services.media().prepare,
    )
    late_after = timedelta(hours=services.settings.late_message_hours)
    ingest = Ingest(services.database, services.clock, services.channels, services.nudges, late_after)
    notifications = NotificationJobs(
        services.database,
        services.clock,
        services.nudges,
        _runner(services, request_graph.build(services.request_nodes()), checkpoints),
        _runner(services, answer_graph.build(services.answer_nodes()), checkpoints),
    )
    approvals = ApprovalJobs(services.database, services.clock, services.settings)
    alerts = services.alert_jobs()

    every = timedelta(minutes=services.settings.catch_up_minutes)
    catch_up = CatchUp(services.database, services.clock, services.channels, services.intake, services.alerts, every)

    async def embed() -> None:
        if services.embedder is not None:
            await embed_missing(services.database, services.embedder)

    return {
        "ingest": ingest.run,
        "route": _make_routing(services).run,
        "turn": turns.run,
        "deliver": _deliverer(services, outbox, sync),
        "sync": sync.drain if sync else _nothing,
        "request_notification_job": notifications.request,
        "answer_notification_job": notifications.answer,
        "follow_up": notifications.follow_up,
        "embed": embed,
        "approvals": approvals.refresh,
        "catch_up": catch_up.run,
        "alerts": alerts.run,
        "sweep": _sweeper(services, sync, approvals, catch_up, alerts),
    }


async def _nothing() -> None:
    """For a job of a time when it was switched on."""


def _deliverer(services: Services, outbox: Outbox, sync: SyncOutbox | None) -> Handler:
    async def deliver(conversation_id: int, merchant_id: int) -> None:
        due_at = await outbox.deliver(conversation_id, merchant_id)
        if due_at is not None:
            wait = due_at - services.clock.now()
            services.nudges.deliver_in(wait.total_seconds(), conversation_id, merchant_id)
        if sync is not None:
            await services.nudges.sync()  # all that is said is delivered, so this is where every new entry is noticed

    return deliver


def _teller(services: Services) -> OnFailed:
    """Tells the team of a job that failed. What it had to do is in the rows, so the sweep starts it anew."""

    async def tell(name: str, error: str, arguments: Mapping[str, Any]) -> None:
        ids = {key: value for key, value in arguments.items() if key in IDS}
        # One error of a job is the same whichever row it was at.
        await services.alerts.send(Alarm("job_failed", f"{name}: {error}", ids))

    return tell


def _sweeper(
    services: Services, sync: SyncOutbox | None, approvals: ApprovalJobs, catch_up: CatchUp, alerts: AlertJobs
) -> Handler:
    async def run_sweep(*, at_start: bool = False) -> None:
        await services.network.load_clock()
        await sweep(services.database, services.clock, services.nudges, at_start=at_start)
        if catch_up.is_due():  # for the first time as the process starts
            await services.nudges.catch_up()
        if sync is not None and at_start:
            await sync.open_missing()
        if sync is not None and await sync.is_due():
            await services.nudges.sync()
        if services.embedder is not None and await has_missing(services.database, services.embedder):
            await services.nudges.embed()
        if approvals.is_due():
            await services.nudges.approvals()
        if await alerts.is_due():
            await services.nudges.alerts()

    return run_sweep


def _make_sync(services: Services, process_id: str, *, alone: bool) -> SyncOutbox | None:
    """What keeps the conversation API in step; None where that is switched off."""
    if services.conversation_api is None or not services.settings.enable_conversation_sync:
        return None

    async def report(condition: str, description: str, **context: Any) -> None:
        await services.alerts.send(Alarm(condition, description, context))

    return SyncOutbox(
        services.database,
        services.clock,
        services.conversation_api,
        services.circuit,
        report,
        SyncSettings(process_id, alone, services.settings.cartaai_local_id),
    )


def _make_routing(services: Services) -> Routing:
    """What finds the merchant of those who write to a shared address."""
    api = services.conversation_api

    def is_passing(error: Exception) -> bool:
        return isinstance(error, SyncUnavailable) and error.reason in ("refused", "cut", "http_5xx")

    async def ask(phone: str) -> str | None:
        if api is None:
            return None
        # Without an answer the person may go to another merchant, so a hiccup must not decide.
        tenant = await again(lambda: api.lookup_tenant_by_phone(phone), 1, is_passing)
        return (tenant.sub_domain or None) if tenant else None

    return Routing(
        services.database,
        services.clock,
        services.channels,
        services.nudges,
        TenantLookup(ask, services.clock) if api is not None else None,
        services.settings.cartaai_subdomain,
    )


def _runner(services: Services, graph: StateGraph[Any, Any, Any, Any], checkpoints: SqliteCheckpoints) -> RunGraph:
    compiled = graph.compile(checkpointer=checkpoints)

    async def run(thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        await run_or_resume(compiled, thread_id, run_key, given, services.observers.callbacks)
        # It is done, and the rows say so: nothing will be resumed from these.
        await checkpoints.adelete_thread(thread_id)

    return run
