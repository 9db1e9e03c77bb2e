"""What can be seen of a turn: its span, its steps, its figures."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from recado.db.models import Turn
from recado.telemetry import metrics
from recado.telemetry.context import about
from recado.telemetry.steps import Step, as_spans, recording
from recado.telemetry.tracing import in_trace, span
from recado.turns.repository import Attached


@dataclass(slots=True)
class Observed:
    """A turn that is under way."""

    steps: list[Step]
    started: float = field(default_factory=time.perf_counter)

    def ended(self, state: str) -> None:
        """It is over; what it cost is counted."""
        took = time.perf_counter() - self.started
        model = sum(step.seconds for step in self.steps if step.kind == "model")
        metrics.TURNS.labels(state).inc()
        metrics.TURN_SECONDS.labels("model").observe(model)
        metrics.TURN_SECONDS.labels("own").observe(max(0.0, took - model))


def trace_of(attached: Sequence[Attached]) -> str | None:
    """The trace of the first of the messages that a turn answers, in which the whole turn is told."""
    return next((one.trace_id for one in attached if one.trace_id), None)


@contextmanager
def observed(turn: Turn, attached: Sequence[Attached], now: datetime) -> Iterator[Observed]:
    """All that is done in this block is told of this turn."""
    if attached:
        metrics.TURN_SECONDS.labels("waiting").observe(max(0.0, (now - attached[0].received_at).total_seconds()))
    others = sorted({one.trace_id for one in attached if one.trace_id} - {turn.trace_id})
    ids = {"turn_id": turn.id, "conversation_id": turn.conversation_id, "merchant_id": turn.merchant_id}
    with in_trace(turn.trace_id), about(**ids), span("turn", others), recording() as steps:
        try:
            yield Observed(steps)
        finally:
            as_spans(steps)
