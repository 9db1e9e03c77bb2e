"""Steps: what a run of a graph did, one after the other, with times. Its row keeps them, and traces and figures are
made of them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from recado.telemetry.tracing import past

Kind = Literal["step", "tool", "model"]

MOST_STEPS = 100
"""What a run may keep. A turn has four to twenty."""


@dataclass(slots=True)
class Step:
    """One step of a graph, one call of a tool or of a model. `started_at`: epoch seconds.

    `facts`: ids and numbers; of a model `task`, `model`, `tokens_in`, `tokens_cached`, `tokens_out` and `cost` (USD),
    as far as they are known.
    """

    kind: Kind
    name: str
    started_at: float
    seconds: float = 0.0
    failed: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """As a row keeps it: {kind, name, at (epoch seconds), ms, failed?, …facts}."""
        row = {
            "kind": self.kind,
            "name": self.name,
            "at": round(self.started_at, 3),
            "ms": round(self.seconds * 1e3, 1),
        }
        return {**row, **({"failed": True} if self.failed else {}), **self.facts}


_recording: ContextVar[list[Step] | None] = ContextVar("recording", default=None)


@contextmanager
def recording() -> Iterator[list[Step]]:
    """All steps that end within this block, in the order in which they began."""
    steps: list[Step] = []
    token = _recording.set(steps)
    try:
        yield steps
    finally:
        _recording.reset(token)


def so_far() -> list[dict[str, Any]]:
    """What is recorded here, as rows; a step that is under way until now."""
    now = time.time()
    rows = []
    for step in _recording.get() or []:
        under_way = step.seconds == 0.0 and not step.failed
        rows.append((replace(step, seconds=now - step.started_at) if under_way else step).as_row())
    return rows


def begin(kind: Kind, name: str, **facts: Any) -> Step:
    """A step begins now. It is recorded where somebody records."""
    step = Step(kind, name, time.time(), facts={fact: value for fact, value in facts.items() if value is not None})
    steps = _recording.get()
    if steps is not None and len(steps) < MOST_STEPS:
        steps.append(step)
    return step


def end(step: Step, *, failed: bool = False, **facts: Any) -> None:
    """It is over."""
    step.seconds, step.failed = time.time() - step.started_at, failed
    step.facts.update({fact: value for fact, value in facts.items() if value is not None})


@contextmanager
def step(kind: Kind, name: str, **facts: Any) -> Iterator[Step]:
    """This block is a step. It failed if it raises."""
    begun = begin(kind, name, **facts)
    try:
        yield begun
    except BaseException:
        end(begun, failed=True)
        raise
    end(begun, failed=begun.failed)


def as_spans(steps: Sequence[Step]) -> None:
    """Show them in the trace of the work in hand."""
    for done in steps:
        past(done.name, done.started_at, done.seconds, {"kind": done.kind, **done.facts}, failed=done.failed)
