"""What the HTTP side needs of the services, handed in by whoever builds the app."""

from collections.abc import Mapping
from typing import Protocol

from recado.alerts.links import Links
from recado.alerts.raising import Alerts
from recado.channels.base import Channel
from recado.channels.simulator.channel import SimulatorNetwork
from recado.clock import Clock
from recado.db.engine import Database
from recado.jobs.nudges import Nudges
from recado.notifications.functions import Notifications
from recado.settings import Settings
from recado.sync.circuit import Circuit
from recado.turns.intake import Intake


class HttpServices(Protocol):
    """The services that routes use."""

    @property
    def settings(self) -> Settings: ...
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def alerts(self) -> Alerts: ...
    @property
    def nudges(self) -> Nudges: ...
    @property
    def network(self) -> SimulatorNetwork: ...
    @property
    def channels(self) -> Mapping[str, Channel]: ...
    @property
    def links(self) -> Links: ...
    @property
    def intake(self) -> Intake: ...
    @property
    def circuit(self) -> Circuit: ...
    @property
    def notifications(self) -> Notifications: ...
