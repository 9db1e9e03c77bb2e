"""The circuit breaker, on a clock that the test moves."""

import pytest

from recado.errors import SyncUnavailable
from recado.sync.circuit import FIRST_PAUSE, LONGEST_PAUSE, THRESHOLD, Circuit
from tests.builders import SetClock


def fail(circuit: Circuit, times: int) -> list[bool]:
    opened = []
    for _ in range(times):
        circuit.enter()
        opened.append(circuit.failed())
    return opened


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    circuit = Circuit(SetClock())
    assert fail(circuit, THRESHOLD - 1) == [False] * (THRESHOLD - 1)
    circuit.enter()
    circuit.succeeded()
    assert fail(circuit, THRESHOLD) == [False] * (THRESHOLD - 1) + [True]
    assert circuit.state == "open"
    with pytest.raises(SyncUnavailable) as refused:
        circuit.enter()
    assert refused.value.reason == "circuit_open"


def test_after_its_pause_one_call_is_let_through_and_closes_it() -> None:
    clock = SetClock()
    circuit = Circuit(clock)
    fail(circuit, THRESHOLD)
    clock.time += FIRST_PAUSE
    assert circuit.state == "half_open"
    circuit.enter()
    with pytest.raises(SyncUnavailable):
        circuit.enter()
    circuit.succeeded()
    assert circuit.state == "closed"
    assert not circuit.blocks()


def test_each_pause_is_twice_as_long_up_to_the_longest() -> None:
    clock = SetClock()
    circuit = Circuit(clock)
    fail(circuit, THRESHOLD)
    pauses = []
    for _ in range(6):
        since = clock.time
        while circuit.blocks():
            clock.forward(seconds=1)
        pauses.append(clock.time - since)
        fail(circuit, 1)
    assert pauses == [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(6)]


def test_a_call_that_never_comes_back_does_not_block_for_ever() -> None:
    clock = SetClock()
    circuit = Circuit(clock)
    fail(circuit, THRESHOLD)
    clock.time += FIRST_PAUSE
    circuit.enter()  # its task is cancelled: neither succeeded nor failed
    assert circuit.blocks()
    clock.time += LONGEST_PAUSE
    assert not circuit.blocks()
    circuit.enter()


def test_what_fails_late_does_not_open_it_again() -> None:
    clock = SetClock()
    circuit = Circuit(clock)
    for _ in range(THRESHOLD + 3):
        circuit.enter()  # all of them are under way at once
    assert [circuit.failed() for _ in range(THRESHOLD + 3)].count(True) == 1
    clock.time += FIRST_PAUSE
    assert circuit.state == "half_open"
