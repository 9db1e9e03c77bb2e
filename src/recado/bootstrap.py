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
from recado.jobs.nudges import Nudges
from recado.jobs.worker import Handler, make_queue, make_worker
from recado.notifications.functions import Notifications
from recado.notifications.jobs import NotificationJobs, RunGraph
from recado.notifications.tools import Tools
from recado.settings import Settings
from recado.turns.ingest import Ingest
from recado.turns.intake import Intake
from recado.turns.service import TurnService, TurnSettings
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

    async def run_sweep(*, at_start: bool = False) -> None:
        await services.network.load_clock()
        await sweep(services.database, services.clock, services.nudges, at_start=at_start)
        if services.embedder is not None and await has_missing(services.database, services.embedder):
            await services.nudges.embed()

    async def embed() -> None:
        if services.embedder is not None:
            await embed_missing(services.database, services.embedder)

    return {
        "ingest": ingest.run,
        "turn": turns.run,
        "deliver": outbox.deliver,
        "request_notification_job": notifications.request,
        "answer_notification_job": notifications.answer,
        "follow_up": notifications.follow_up,
        "embed": embed,
        "sweep": run_sweep,
    }


def _runner(graph: CompiledStateGraph[Any, Any, Any, Any], checkpoints: SqliteCheckpoints) -> RunGraph:
    async def run(thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        await run_or_resume(graph, thread_id, run_key, given)
        # It is done, and the rows say so: nothing will be resumed from these.
        await checkpoints.adelete_thread(thread_id)

    return run
