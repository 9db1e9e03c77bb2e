"""Traces: one for each turn, from the webhook that brought its first message to the call of the provider.

A trace is known by what was received, so nothing has to travel with jobs: the id is a hash of the provider's event,
messages and turns keep it in their rows, and the webhook's span has the one id that all others name as their parent.
Without an exporter (`recado.telemetry.export`) spans are OpenTelemetry's own that do nothing.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from recado.telemetry.context import about, known_ids

_tracer: trace.Tracer = trace.NoOpTracer()

next_root: ContextVar[str | None] = ContextVar("next_root", default=None)
"""The trace that the next span begins: its id generator reads it."""

NANOSECONDS = 1_000_000_000


def is_on() -> bool:
    """Whether anybody collects spans."""
    return not isinstance(_tracer, trace.NoOpTracer)


def use(provider: trace.TracerProvider | None) -> None:
    """Give spans to this provider from here on; None: to nobody.

    Not to OpenTelemetry's global one: libraries that trace by themselves put there what they like, texts included.
    """
    global _tracer
    _tracer = trace.NoOpTracer() if provider is None else provider.get_tracer("recado")


def trace_id_of(*received: str) -> str:
    """The trace of what was received, as 32 hex digits. The same parts always give the same one."""
    return hashlib.sha256("\0".join(received).encode()).hexdigest()[:32]


def root_id_of(trace_id: str) -> str:
    """The span with which a trace begins, as 16 hex digits."""
    return trace_id[:16]


def current_trace_id() -> str | None:
    """The trace that the work in hand belongs to."""
    trace_id: str | None = known_ids().get("trace_id")
    return trace_id


@contextmanager
def in_trace(trace_id: str | None) -> Iterator[None]:
    """What is done in this block belongs to this trace, whichever process began it. None: to none."""
    if trace_id is None:
        yield
        return
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(_root_of(trace_id))))
    try:
        with about(trace_id=trace_id):
            yield
    finally:
        context.detach(token)


@contextmanager
def span(name: str, links: Sequence[str] = (), *, kind: SpanKind = SpanKind.INTERNAL, **facts: Any) -> Iterator[Span]:
    """A span around this block, with facts about it: ids and numbers, never texts. `links`: other traces that it is
    about. An exception marks it as failed."""
    attributes = {f"recado.{fact}": value for fact, value in (known_ids() | facts).items() if value is not None}
    linked = [Link(_root_of(trace_id)) for trace_id in links]
    with _tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, links=linked, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            mark_failed(error)
            raise


def mark_failed(error: BaseException) -> None:
    """The work in hand failed, and somebody deals with it."""
    # The name only: what an exception says may be a person's words.
    trace.get_current_span().set_status(Status(StatusCode.ERROR, type(error).__name__))


def began(trace_id: str, name: str, started_at: float, facts: Mapping[str, Any]) -> None:
    """Write down the span with which a trace begins. `started_at`: epoch seconds; it ends now."""
    token = next_root.set(trace_id)
    try:
        attributes = {f"recado.{fact}": value for fact, value in facts.items()}
        _tracer.start_span(
            name,
            context=context.Context(),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=int(started_at * NANOSECONDS),
        ).end()
    finally:
        next_root.reset(token)


def past(name: str, started_at: float, seconds: float, facts: Mapping[str, Any], *, failed: bool) -> None:
    """Write down a span that is over, within the current one. `started_at`: epoch seconds."""
    if not trace.get_current_span().is_recording():
        return
    start = int(started_at * NANOSECONDS)
    attributes = {f"recado.{fact}": value for fact, value in facts.items() if value is not None}
    done = _tracer.start_span(name, attributes=attributes, start_time=start)
    if failed:
        done.set_status(StatusCode.ERROR)
    done.end(start + int(seconds * NANOSECONDS))


def _root_of(trace_id: str) -> SpanContext:
    ids = int(trace_id, 16), int(root_id_of(trace_id), 16)
    return SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
