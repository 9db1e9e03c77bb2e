"""Steps as moments: what they say, and when they were."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recado.stories.steps import moments_of
from recado.telemetry.steps import Step

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def row(name: str, at: float = 0.0, kind: Any = "step", **facts: Any) -> dict[str, Any]:
    return Step(kind, name, NOON.timestamp() + at, 0.002, facts=facts).as_row()


def test_a_model_call_says_what_it_cost() -> None:
    def what(**facts: Any) -> str:
        return moments_of([row("m", kind="model", **facts)], "x", {}, since=NOON, until=None)[0].what

    assert what(task="localise", model="m", tokens_in=1_200, tokens_cached=1_000, tokens_out=7, cost=0.00012) == (
        "localise: m, 1,200 tokens in, 1,000 of them cached, 7 out, $0.000120"
    )
    assert what(task="localise", model="m") == "localise: m"
    assert what() == "m"
    assert what(task="t", model="m", resumed=True).endswith("(goes on after a crash, before which steps are not known)")


@pytest.mark.parametrize("hours", [0, 25, -5_000])
def test_the_simulators_clock_does_not_take_steps_out_of_their_row(hours: int) -> None:
    moved = timedelta(hours=hours)
    steps = [row("load", 0.1), row("finish", 0.5)]
    told = moments_of(steps, "x", {}, since=NOON + moved, until=NOON + moved + timedelta(seconds=0.502))
    assert [(one.at - NOON - moved).total_seconds() for one in told] == pytest.approx([0.1, 0.5], abs=0.001)
    unfinished = moments_of(steps, "x", {}, since=NOON + moved, until=None)
    assert unfinished[1].at - unfinished[0].at == timedelta(seconds=0.4)
    assert unfinished[0].at >= NOON + moved


def test_nothing_begins_before_its_row() -> None:
    (told,) = moments_of([row("load", -0.0006)], "x", {}, since=NOON, until=NOON + timedelta(seconds=1))
    assert told.at == NOON
