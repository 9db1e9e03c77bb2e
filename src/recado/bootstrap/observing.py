"""What looks on while graphs run: steps for their rows, spans for a collector, runs for Langfuse."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from langchain_core.callbacks import BaseCallbackHandler

from recado.agent.graph import MakeCallbacks
from recado.agent.prices import read_prices
from recado.agent.recording import StepHandler
from recado.alerts.links import FindTrace, no_trace
from recado.settings import Settings
from recado.telemetry.context import known_ids

Stop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Observers:
    """`callbacks`: what a run of a graph is given. `find_trace`: where a person looks at a trace."""

    callbacks: MakeCallbacks
    find_trace: FindTrace
    stops: Sequence[Stop]

    async def stop(self) -> None:
        """Hand over what is left, all at once, within a few seconds."""
        await asyncio.gather(*(stop() for stop in self.stops))


def observe(settings: Settings) -> Observers:
    """Start what is configured. Raises ConfigurationError when MODEL_PRICES cannot be read."""
    prices = read_prices(settings.model_prices)
    stops: list[Stop] = []
    find_trace: FindTrace = no_trace
    langfuse = None
    # Imported by name, and only where they are wanted: both bring libraries that take a process time to load.
    if settings.otel_exporter_otlp_endpoint:
        stops.append(import_module("recado.telemetry.export").start(settings))
    if settings.langfuse_public_key and settings.langfuse_secret_key:
        langfuse = import_module("recado.agent.langfuse").LangfuseTraces(settings)
        stops.append(langfuse.stop)
        find_trace = langfuse.find_trace

    def callbacks(resumed: bool) -> Sequence[BaseCallbackHandler]:
        steps = StepHandler(prices, resumed=resumed)
        if langfuse is None:
            return [steps]
        ids = {name: str(value) for name, value in known_ids().items()}
        merchant = f"merchant-{ids['merchant_id']}" if "merchant_id" in ids else None
        return [steps, langfuse.callbacks(ids.get("trace_id"), ids.get("conversation_id"), merchant)]

    return Observers(callbacks, find_trace, stops)
