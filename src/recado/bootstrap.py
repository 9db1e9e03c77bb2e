"""Settings → adapters → services → compiled graphs → jobs. The only place that knows how everything fits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from langgraph.graph.state import CompiledStateGraph
from saq import Worker

import graphs.answer_notification.graph as answer_graph
import graphs.conversation.graph as conversation_graph
import graphs.request_notification.graph as request_graph
from graphs.answer_notification.nodes import AnswerNodes
from graphs.conversation.nodes import ConversationNodes
from graphs.request_notification.nodes import RequestNodes
from recado.agent.checkpoints import SqliteCheckpoints, open_checkpoints
from recado.agent.embeddings import make_embedder
from recado.agent.graph import GraphAgent, run_or_resume
from recado.agent.models import Models
from recado.alerts.service import Alerts
from recado.channels.base import Channel
from recado.channels.simulator import SimulatorChannel, SimulatorNetwork
from recado.channels.twilio import TwilioChannel
from recado.clock import Clock
from recado.conversations.outbox import Outbox
from recado.db.engine import Database
from recado.documents.jobs import embed_missing, has_missing
from recado.documents.knowledge import Knowledge
from recado.documents.vectors import Embedder
from recado.errors import SyncUnavailable
from recado.jobs.nudges import Nudges
from recado.jobs.worker import Handler, make_queue, make_worker
from recado.merchants.tenants import TenantLookup
from recado.notifications.functions import Notifications
from recado.notifications.jobs import NotificationJobs, RunGraph
from recado.notifications.tools import Tools
from recado.settings import Settings
from recado.sync.circuit import Circuit
from recado.sync.client import ConversationStateService
from recado.sync.outbox import SyncOutbox, SyncSettings
from recado.sync.retrying import again
from recado.turns.ingest import Ingest
from recado.turns.intake import Intake
from recado.turns.routing import Routing
from recado.turns.service import TurnService, TurnSettings, nothing_to_restore
from recado.turns.sweep import sweep

EMBEDDED_QUEUE = "memory://"
GRACE_SECONDS = 5
"""How long running jobs may take to end when the process is asked to stop."""


@dataclass(frozen=True, slots=True)
class Services:
    """What every entry point shares."""

    settings: Settings
    database: Database
    clock: Clock
    alerts: Alerts
    nudges: Nudges
    models: Models
    embedder: Embedder | None
    knowledge: Knowledge
    network: SimulatorNetwork
    channels: dict[str, Channel]
    intake: Intake
    notifications: Notifications
    circuit: Circuit
    conversation_api: ConversationStateService | None
    """None: it is neither kept in step nor asked."""

    def conversation_nodes(self) -> ConversationNodes:
        """The steps of the conversation graph on these services."""
        tools = Tools(self.database, self.clock, self.nudges, self.alerts)
        window = self.settings.history_window
        return ConversationNodes(self.database, self.clock, self.models, self.knowledge, tools, window)

    def request_nodes(self) -> RequestNodes:
        """The steps of the graph that asks the staff."""
        return RequestNodes(self.database, self.clock, self.models, self.nudges, self.alerts)

    def answer_nodes(self) -> AnswerNodes:
        """The steps of the graph that takes an answer back."""
        return AnswerNodes(self.database, self.clock, self.models, self.nudges, self.settings.history_window)


def make_services(settings: Settings, *, in_place: bool = True) -> Services:
    """Everything that needs no running event loop and no connection. `in_place`: see `Database`."""
    database = Database(settings.database_url, in_place=in_place, syncs=settings.enable_conversation_sync)
    clock = Clock()
    alerts = Alerts()
    nudges = Nudges(make_queue(settings.queue_url))
    embedder = make_embedder(settings)

    async def on_withdrawn(reason: str) -> None:
        await alerts.send("model withdrawn", reason)

    network = SimulatorNetwork(database, clock)
    intake = Intake(database, clock, nudges)
    network.report = intake.accept
    circuit = Circuit(clock)
    asks = settings.enable_conversation_sync or settings.use_cartaai_api
    twilio = TwilioChannel(settings.public_base_url, settings.twilio_api_base_url, settings.provider_timeout_seconds)
    return Services(
        settings=settings,
        database=database,
        clock=clock,
        alerts=alerts,
        nudges=nudges,
        models=Models(settings, on_withdrawn),
        embedder=embedder,
        knowledge=Knowledge(database, embedder),
        network=network,
        channels={"simulator": SimulatorChannel(network), "twilio": twilio},
        intake=intake,
        notifications=Notifications(database, clock, nudges),
        circuit=circuit,
        conversation_api=ConversationStateService.from_settings(settings, retries=0, circuit=circuit) if asks else None,
    )


@asynccontextmanager
async def connect(services: Services) -> AsyncIterator[None]:
    """Connect the services; everything is closed again at the end."""
    try:
        await services.nudges.queue.connect()
        await services.network.load_clock()
        yield
    finally:
        for channel in services.channels.values():
            await channel.close()
        if services.conversation_api is not None:
            await services.conversation_api.aclose()
        await services.nudges.queue.disconnect()
        await services.database.close()


@asynccontextmanager
async def open_worker(services: Services) -> AsyncIterator[Worker[Any]]:
    """A worker on these services, with the compiled graphs. The caller starts it."""
    settings = services.settings
    async with open_checkpoints(settings.checkpoint_url) as checkpoints:
        yield make_worker(services.nudges, make_handlers(services, checkpoints), settings.worker_concurrency)


def make_handlers(services: Services, checkpoints: SqliteCheckpoints) -> dict[str, Handler]:
    """What each job does, by name."""
    process_id = uuid4().hex
    alone = services.settings.queue_url == EMBEDDED_QUEUE
    sync = _make_sync(services, process_id, alone=alone)
    agent = GraphAgent(conversation_graph.build(services.conversation_nodes()).compile(checkpointer=checkpoints))
    outbox = Outbox(services.database, services.clock, services.channels, services.alerts, process_id, alone=alone)
    turns = TurnService(
        services.database,
        services.clock,
        services.channels,
        agent,
        services.alerts,
        services.nudges,
        TurnSettings(process_id, services.settings.turn_quiet_seconds, alone),
        sync.restore if sync else nothing_to_restore,
    )
    ingest = Ingest(services.database, services.clock, services.channels, services.alerts, services.nudges)
    notifications = NotificationJobs(
        services.database,
        services.clock,
        services.alerts,
        services.nudges,
        _runner(request_graph.build(services.request_nodes()).compile(checkpointer=checkpoints), checkpoints),
        _runner(answer_graph.build(services.answer_nodes()).compile(checkpointer=checkpoints), checkpoints),
    )

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
        "sweep": _sweeper(services, sync),
    }


async def _nothing() -> None:
    """For a job of a time when it was switched on."""


def _deliverer(services: Services, outbox: Outbox, sync: SyncOutbox | None) -> Handler:
    async def deliver(conversation_id: int, merchant_id: int) -> None:
        await outbox.deliver(conversation_id, merchant_id)
        if sync is not None:
            await services.nudges.sync()  # all that is said is delivered, so this is where every new entry is noticed

    return deliver


def _sweeper(services: Services, sync: SyncOutbox | None) -> Handler:
    async def run_sweep(*, at_start: bool = False) -> None:
        await services.network.load_clock()
        await sweep(services.database, services.clock, services.nudges, at_start=at_start)
        if sync is not None and at_start:
            await sync.open_missing()
        if sync is not None and await sync.is_due():
            await services.nudges.sync()
        if services.embedder is not None and await has_missing(services.database, services.embedder):
            await services.nudges.embed()

    return run_sweep


def _make_sync(services: Services, process_id: str, *, alone: bool) -> SyncOutbox | None:
    """What keeps the conversation API in step; None where that is switched off."""
    if services.conversation_api is None or not services.settings.enable_conversation_sync:
        return None
    return SyncOutbox(
        services.database,
        services.clock,
        services.conversation_api,
        services.circuit,
        services.alerts.send,
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
        services.alerts,
        services.nudges,
        TenantLookup(ask, services.clock) if api is not None else None,
        services.settings.cartaai_subdomain,
    )


def _runner(graph: CompiledStateGraph[Any, Any, Any, Any], checkpoints: SqliteCheckpoints) -> RunGraph:
    async def run(thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        await run_or_resume(graph, thread_id, run_key, given)
        # It is done, and the rows say so: nothing will be resumed from these.
        await checkpoints.adelete_thread(thread_id)

    return run
