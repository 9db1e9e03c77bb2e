"""Every kind of account that an operator can look at and have templates for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from recado.channels.instagram.management import InstagramManagement
from recado.channels.management import Management
from recado.channels.twilio.management import TwilioManagement
from recado.channels.whatsapp.management import WhatsAppManagement
from recado.clock import Clock
from recado.settings import Settings


@asynccontextmanager
async def open_managements(settings: Settings, clock: Clock) -> AsyncIterator[dict[str, Management]]:
    """By kind of channel. Nothing is connected before it is used; at the end everything is closed."""
    timeout = settings.provider_timeout_seconds
    graph, version = settings.meta_graph_base_url, settings.meta_api_version
    managements: dict[str, Management] = {
        "twilio": TwilioManagement(settings.twilio_api_base_url, timeout),
        "whatsapp": WhatsAppManagement(graph, version, timeout, clock),
        "instagram": InstagramManagement(graph, version, timeout, clock),
    }
    try:
        yield managements
    finally:
        for management in managements.values():
            await management.close()
