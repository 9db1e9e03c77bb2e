"""Spans on their way to a collector, over real HTTP."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from time import monotonic, time

import pytest
from opentelemetry.trace import SpanKind

from recado.settings import Settings
from recado.telemetry import tracing
from recado.telemetry.context import about
from recado.telemetry.export import start
from recado.telemetry.flushing import LONGEST_FLUSH_SECONDS, flush
from tests.fakes.otlp_collector import OtlpCollector
from tests.fakes.server import running
from tests.support import free_port

TRACE = tracing.trace_id_of("simulator", "+15550100", "in-1")
EXPORT_SECONDS = 10
"""How long the exporter itself waits for a collector: OTEL_EXPORTER_OTLP_TIMEOUT's default."""
AT_ONCE = 0.5
"""Far below any timeout of an exporter: for what must not wait for the collector."""


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with running(OtlpCollector()) as fake:
        yield fake


def settings(url: str) -> Settings:
    return Settings(_env_file=None, otel_exporter_otlp_endpoint=url)


@asynccontextmanager
async def exporting(url: str) -> AsyncIterator[None]:
    """Spans go there within this block; all are handed over at its end."""
    stop = start(settings(url))
    try:
        yield
    finally:
        await stop()


async def test_a_trace_is_put_together_by_those_who_only_know_its_id(collector: OtlpCollector) -> None:
    received = time() - 2
    async with exporting(collector.url):
        tracing.began(TRACE, "webhook", received, {"channel": "simulator"})
        with tracing.in_trace(TRACE), about(turn_id=7), tracing.span("turn", turns=1):
            tracing.past("customer_agent", received + 1, 0.25, {"task": "customer", "cost": None}, failed=False)
            tracing.past("customer_tools", received + 1.5, 0.1, {}, failed=True)
    webhook, agent, tools, turn = collector.spans()
    assert {span["trace_id"] for span in (webhook, agent, tools, turn)} == {TRACE}
    assert (webhook["name"], webhook["kind"], webhook["parent_id"]) == ("webhook", "server", None)
    assert webhook["span_id"] == tracing.root_id_of(TRACE) == turn["parent_id"]
    assert webhook["attributes"] == {"recado.channel": "simulator"}
    assert turn["attributes"] == {"recado.turn_id": 7, "recado.trace_id": TRACE, "recado.turns": 1}
    assert agent["parent_id"] == tools["parent_id"] == turn["span_id"]
    assert agent["attributes"] == {"recado.task": "customer"}
    assert (agent["failed"], tools["failed"]) == (False, True)
    assert agent["end"] - agent["start"] == pytest.approx(0.25, abs=0.001)
    assert webhook["start"] == pytest.approx(received, abs=0.001)


async def test_other_spans_have_ids_of_their_own_and_may_be_about_several_traces(collector: OtlpCollector) -> None:
    other = tracing.trace_id_of("another")
    async with exporting(collector.url):
        for _ in range(2):
            with tracing.span("sweep", [TRACE, other], kind=SpanKind.CONSUMER):
                pass
    first, second = collector.spans()
    assert first["links"] == [TRACE, other]
    assert first["kind"] == "consumer"
    assert len({first["trace_id"], second["trace_id"], TRACE, other}) == 4


async def test_of_an_exception_only_its_name_is_told(collector: OtlpCollector) -> None:
    async with exporting(collector.url):
        with pytest.raises(ValueError, match="Ana"), tracing.span("turn"):
            raise ValueError("Ana said: call +51911111111")
    [span] = collector.spans()
    assert (span["failed"], span["status"]) == (True, "ValueError")
    assert "Ana" not in str(span)


async def test_it_says_who_it_is_and_the_environment_may_say_otherwise(
    collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        async with exporting(collector.url):
            tracing.began(TRACE, "webhook", number, {})
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging,team=chat")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "recado-lima")
    ours, theirs = (span["resource"] for span in collector.spans())
    assert (ours["service.name"], ours["service.version"]) == ("recado", version("recado"))
    assert ours["deployment.environment"] == ours["deployment.environment.name"] == "development"
    assert (theirs["service.name"], theirs["deployment.environment"], theirs["team"]) == (
        "recado-lima",
        "staging",
        "chat",
    )


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
async def test_a_trace_is_kept_whole_or_not_at_all(
    collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    async with exporting(collector.url):
        for number in range(100):
            trace_id = tracing.trace_id_of("sampled", str(number))
            tracing.began(trace_id, "webhook", time(), {})
            with tracing.in_trace(trace_id), tracing.span("turn"), tracing.span("send"):
                pass
    kept = [span["trace_id"] for span in collector.spans()]
    assert {kept.count(trace_id) for trace_id in kept} == {3}
    assert 25 <= len(set(kept)) <= 75


async def test_it_ends_with_its_stop_and_may_begin_again(collector: OtlpCollector) -> None:
    assert not tracing.is_on()
    for number in range(2):
        async with exporting(collector.url):
            assert tracing.is_on()
            tracing.began(TRACE, f"webhook {number}", number, {})
        assert not tracing.is_on()
        tracing.began(TRACE, "nobody looks", time(), {})
    assert [span["name"] for span in collector.spans()] == ["webhook 0", "webhook 1"]


@pytest.mark.parametrize("fault", [{"hang": True}, {"status": 401}])
async def test_a_collector_that_does_not_take_them_costs_nothing_and_the_end_is_bounded(
    collector: OtlpCollector, fault: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    collector.apply_script(fault)
    begun = monotonic()
    stop = start(settings(collector.url))
    tracing.began(TRACE, "webhook", time(), {})
    await collector.requests.until(1)  # the exporter is in the middle of it
    asked = monotonic()
    for _ in range(5_000):  # more than the queue holds
        with tracing.in_trace(TRACE), tracing.span("turn"):
            pass
    assert monotonic() - asked < EXPORT_SECONDS - 2, "nobody waited for it"
    stopping = monotonic()
    await stop()
    assert monotonic() - stopping < LONGEST_FLUSH_SECONDS + AT_ONCE
    assert monotonic() - begun < EXPORT_SECONDS


async def test_a_collector_that_is_not_there_costs_nothing() -> None:
    async with exporting(f"http://127.0.0.1:{free_port()}"):
        started = monotonic()
        tracing.began(TRACE, "webhook", time(), {})
        assert monotonic() - started < AT_ONCE


async def test_a_flush_that_hangs_is_left_behind_and_keeps_no_process() -> None:
    let_go = threading.Event()
    before = threading.enumerate()
    assert not await flush(let_go.wait, 0.05)
    [left] = [thread for thread in threading.enumerate() if thread.name == "flush" and thread not in before]
    assert left.daemon
    let_go.set()
    assert await flush(let_go.wait)
    await asyncio.to_thread(left.join)
