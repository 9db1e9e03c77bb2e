"""What looks on while graphs run: only what is configured, and only then is it loaded."""

import json
import subprocess
import sys
from uuid import uuid4

import pytest

from recado.agent.langfuse import RunHandler
from recado.agent.recording import StepHandler
from recado.bootstrap.observing import observe
from recado.errors import ConfigurationError
from recado.settings import Settings
from recado.telemetry import tracing
from recado.telemetry.context import about
from tests.fakes.langfuse_api import LangfuseFake
from tests.fakes.otlp_collector import OtlpCollector
from tests.fakes.server import running
from tests.support import ROOT

LOADED = """
import json, sys
from recado.bootstrap import make_services
from recado.settings import Settings
make_services(Settings(_env_file=None))
print(json.dumps(sorted(sys.modules)))
"""


def settings(**values: str) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


def test_what_is_not_configured_is_not_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True, env={})
    loaded = set(json.loads(done.stdout))
    assert "recado.bootstrap.observing" in loaded
    assert not loaded & {
        "langfuse",
        "recado.agent.langfuse",
        "recado.telemetry.export",
        "opentelemetry.sdk.trace.export",
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    }


async def test_without_any_the_steps_are_recorded_and_no_trace_is_found() -> None:
    observers = observe(settings(langfuse_public_key="pk-without-its-other-key"))
    assert [type(handler) for handler in observers.callbacks(False)] == [StepHandler]
    assert await observers.find_trace(tracing.trace_id_of("x")) is None
    assert not tracing.is_on()
    await observers.stop()


async def test_with_both_each_run_is_told_to_both_and_stopping_ends_it() -> None:
    with running(OtlpCollector()) as collector, running(LangfuseFake(f"pk-{uuid4()}", "sk")) as langfuse:
        observers = observe(
            settings(
                otel_exporter_otlp_endpoint=collector.url,
                langfuse_public_key=langfuse.public_key,
                langfuse_secret_key=langfuse.secret_key,
                langfuse_base_url=langfuse.url,
            )
        )
        trace_id = tracing.trace_id_of("x")
        assert tracing.is_on()
        tracing.began(trace_id, "webhook", 0, {})
        with about(trace_id=trace_id, conversation_id=3, merchant_id=2):
            steps, run = observers.callbacks(True)
        assert isinstance(steps, StepHandler)
        assert isinstance(run, RunHandler)
        run.on_chain_start(None, {}, run_id=uuid4(), name="conversation")
        assert str(await observers.find_trace(trace_id)).endswith(trace_id)
        await observers.stop()
        assert not tracing.is_on()
        assert [span["trace_id"] for span in collector.spans()] == [trace_id]


def test_prices_that_cannot_be_read_stop_the_start() -> None:
    with pytest.raises(ConfigurationError, match="MODEL_PRICES"):
        observe(settings(model_prices="gpt-4.1"))
