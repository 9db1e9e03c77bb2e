"""Settings → adapters → services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from graphs.answer_notification.nodes import AnswerNodes
from graphs.conversation.nodes import ConversationNodes
from graphs.request_notification.nodes import RequestNodes
from recado.agent.embeddings import make_embedder
from recado.agent.models import Models
from recado.agent.transcription import make_transcriber
from recado.alerts.channels import discord_of, make_channels, wishes_of
from recado.alerts.counting import Counting
from recado.alerts.emergency import Emergency
from recado.alerts.jobs import AlertJobs
from recado.alerts.linear import Linear
from recado.alerts.links import Links
from recado.alerts.notice import AlertChannel
from recado.alerts.raising import Alarm, Alerts
from recado.alerts.routing import make_route
from recado.alerts.service import NotificationsService
from recado.alerts.telling import Telling
from recado.bootstrap.observing import Observers, observe
from recado.channels.base import Channel
from recado.channels.instagram.channel import InstagramChannel
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork
from recado.channels.twilio.channel import TwilioChannel
from recado.channels.whatsapp.channel import WhatsAppChannel
from recado.clock import Clock
from recado.db.engine import Database
from recado.documents.knowledge import Knowledge
from recado.documents.vectors import Embedder
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.media.pictures import Pictures
from recado.media.service import MediaService
from recado.media.storage import MediaStore
from recado.notifications.functions import Notifications
from recado.notifications.tools import Tools
from recado.settings import Settings
from recado.sync.circuit import Circuit
from recado.sync.client import ConversationStateService
from recado.turns.intake import Intake

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Services:
    """What every entry point shares."""

    settings: Settings
    database: Database
    clock: Clock
    alerts: Alerts
    alert_channels: dict[str, AlertChannel]
    links: Links
    observers: Observers
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
        pictures = Pictures(self.database, MediaStore(self.settings.media_dir))
        return ConversationNodes(self.database, self.clock, self.models, self.knowledge, tools, window, pictures)

    def media(self) -> MediaService:
        """What makes the files of a turn ready."""
        settings = self.settings
        return MediaService(
            self.database,
            self.clock,
            self.channels,
            self.alerts,
            make_transcriber(settings),
            MediaStore(settings.media_dir),
            int(settings.media_max_mb * MEGABYTE),
        )

    def alert_jobs(self) -> AlertJobs:
        """What counts errors and tells the team."""
        settings = self.settings
        route = make_route(wishes_of(settings, self.alert_channels))
        quiet = timedelta(minutes=settings.alert_quiet_minutes)
        key, team_id = settings.linear_api_key, settings.linear_team_id
        tracker = (settings.linear_api_url, key, team_id, self.database, self.clock, self.links)
        linear = Linear(*tracker) if key else None
        counting = Counting(self.database, self.clock, route, quiet)
        return AlertJobs(
            self.database,
            self.clock,
            counting,
            Telling(self.database, self.clock, self.alert_channels, self.links, linear),
        )

    def team(self) -> NotificationsService:
        """For telling the team's Discord something at once, past counting and retries."""
        return NotificationsService(discord_of(self.alert_channels), self.links)

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
    nudges = Nudges(make_queue(settings.queue_url))
    observers = observe(settings)
    links = Links(settings, observers.find_trace)
    alert_channels = make_channels(settings, clock)
    emergency = Emergency(clock, alert_channels, make_route(wishes_of(settings, alert_channels)), links)
    alerts = Alerts(database, clock, nudges.alerts, emergency.tell)
    embedder = make_embedder(settings)

    async def on_withdrawn(reason: str) -> None:
        await alerts.send(Alarm("model_withdrawn", reason))

    network = SimulatorNetwork(database, clock, settings.media_dir / "simulator")
    intake = Intake(database, clock, nudges)
    network.report = intake.accept
    circuit = Circuit(clock)
    asks = settings.enable_conversation_sync or settings.use_cartaai_api
    twilio = TwilioChannel(settings.public_base_url, settings.twilio_api_base_url, settings.provider_timeout_seconds)
    graph = (settings.meta_graph_base_url, settings.meta_api_version, settings.provider_timeout_seconds)
    whatsapp = WhatsAppChannel(*graph, settings.reconcile_seconds, clock)
    return Services(
        settings=settings,
        database=database,
        clock=clock,
        alerts=alerts,
        alert_channels=alert_channels,
        links=links,
        observers=observers,
        nudges=nudges,
        models=Models(settings, on_withdrawn),
        embedder=embedder,
        knowledge=Knowledge(database, embedder),
        network=network,
        channels={
            "simulator": SimulatorChannel(network),
            "twilio": twilio,
            "whatsapp": whatsapp,
            "instagram": InstagramChannel(*graph),
        },
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
        await services.media().clean()
        yield
    finally:
        await services.alerts.close()
        for alert_channel in services.alert_channels.values():
            await alert_channel.close()
        for channel in services.channels.values():
            await channel.close()
        if services.conversation_api is not None:
            await services.conversation_api.aclose()
        await services.observers.stop()
        services.nudges.close()
        await services.nudges.queue.disconnect()
        await services.database.close()
