"""Spans sent to a collector of OpenTelemetry, over HTTP. Imported only where one is configured.

Only the address is a setting of ours. All else is OpenTelemetry's own, read by its SDK from the environment (not from
`.env`): OTEL_EXPORTER_OTLP_HEADERS, _TIMEOUT and _COMPRESSION, OTEL_TRACES_SAMPLER, OTEL_BSP_MAX_QUEUE_SIZE, …
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version

import structlog
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource, get_aggregated_resources
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from recado.settings import Settings
from recado.telemetry import tracing
from recado.telemetry.flushing import flush

log = structlog.get_logger(__name__)

Stop = Callable[[], Awaitable[None]]


class TraceIds(RandomIdGenerator):
    """Random ids, but for the span with which a trace begins (see `recado.telemetry.tracing`)."""

    def generate_trace_id(self) -> int:
        """The trace that is to begin, else any."""
        given = tracing.next_root.get()
        return int(given, 16) if given else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """The one span that all others of the trace can name without having seen it, else any."""
        given = tracing.next_root.get()
        return int(tracing.root_id_of(given), 16) if given else super().generate_span_id()


class ByTrace(Sampler):
    """Asks another sampler about each part of a trace as if the trace began there.

    A part knows its trace by an id alone, not whether the webhook's span is kept, so what it says of that is made up.
    `traceidratio` gives all parts the same answer, and through this `parentbased_traceidratio` does as well.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: context.Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Whether this span is kept."""
        if trace.get_current_span(parent_context).get_span_context().is_remote:
            parent_context = context.Context()
        return self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """What it is."""
        return f"ByTrace({self._sampler.get_description()})"


def start(settings: Settings) -> Stop:
    """Send all spans from here on to the collector. Returns what ends that, within a few seconds.

    Spans wait in a bounded queue for a thread; when the collector does not take them, the oldest are dropped.
    """
    # It ends with `stop`, not at Python's exit: there it would wait for the collector as long as that likes.
    provider = TracerProvider(resource=_resource(settings), id_generator=TraceIds(), shutdown_on_exit=False)
    provider.sampler = ByTrace(provider.sampler)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=_endpoint(settings))))
    tracing.use(provider)

    async def stop() -> None:
        tracing.use(None)
        if not await flush(provider.shutdown):
            log.warning("the collector did not take the last spans in time")

    return stop


def _endpoint(settings: Settings) -> str | None:
    """Where spans go. None: the SDK reads it in the environment."""
    if os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return None
    return f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"


def _resource(settings: Settings) -> Resource:
    """Who sends. What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before."""
    ours = {
        "service.name": "recado",
        "service.version": version("recado"),
        # By its name of today, and by that of before 2024, which many collectors and dashboards still ask for.
        "deployment.environment.name": settings.environment,
        "deployment.environment": settings.environment,
    }
    return get_aggregated_resources([OTELResourceDetector()], initial_resource=Resource.create(ours))
