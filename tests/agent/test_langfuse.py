"""Runs in Langfuse: what it is told of them, what it is not, and what it costs when it does not answer."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from recado.agent.graph import run_or_resume
from recado.agent.langfuse import LangfuseTraces
from recado.agent.models import Models
from recado.errors import ModelError
from recado.notifications.schemas import SameQuestionOutput
from recado.settings import Settings
from recado.telemetry import tracing
from recado.telemetry.export import start
from recado.telemetry.flushing import LONGEST_FLUSH_SECONDS
from tests.agent.test_models import models
from tests.agent.test_recording import STRUCTURED, State
from tests.fakes.langfuse_api import PROJECT_ID, LangfuseFake
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.otlp_collector import OtlpCollector
from tests.fakes.recorder import JsonObject
from tests.fakes.server import running

TRACE = tracing.trace_id_of("simulator", "+15550100", "in-1")
PHONE, MASKED = "+51911111111", "+51…11"
PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 20
ASKED = [
    {"role": "system", "content": "You help."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": f"¿Esto? Llámame: {PHONE}"},
            {"type": "image_url", "image_url": {"url": PICTURE}},
        ],
    },
]


@pytest.fixture
def langfuse() -> Iterator[LangfuseFake]:
    # Its client keeps one set of threads for each key as long as the process lives.
    with running(LangfuseFake(f"pk-lf-{uuid4()}", "sk-lf-right")) as fake:
        yield fake


@pytest.fixture
def openai() -> Iterator[OpenAIFake]:
    with running(OpenAIFake([STRUCTURED, {"reply": {"content": f"Sí. Te llamo: {PHONE}"}}])) as fake:
        yield fake


@asynccontextmanager
async def traces(langfuse: LangfuseFake, **changed: Any) -> AsyncIterator[LangfuseTraces]:
    """The client; all is handed over at the end of the block."""
    given = {
        "langfuse_public_key": langfuse.public_key,
        "langfuse_secret_key": langfuse.secret_key,
        "langfuse_base_url": f"{langfuse.url}/",
    }
    client = LangfuseTraces(Settings(_env_file=None, **given | changed))
    try:
        yield client
    finally:
        await client.stop()


async def run(asked: Models, client: LangfuseTraces, inside: str = "ask") -> None:
    """A run of a graph that asks a model twice, once for a shape, within a span of ours."""

    async def ask(state: State) -> State:
        with tracing.span(inside):
            return await ask_twice()

    async def ask_twice() -> State:
        said = (await asked.chat("customer", ASKED))["content"]
        await asked.structured("same_question", ASKED[:1], SameQuestionOutput)
        return {"said": said}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    handler = client.callbacks(TRACE, "12", "merchant-3", ["new"])
    await run_or_resume(
        graph.compile(checkpointer=InMemorySaver()), "conversation:12", "run 1", {}, lambda _: [handler]
    )


def named(spans: list[JsonObject], name: str) -> JsonObject:
    return next(span for span in spans if span["name"] == name)


async def test_a_run_is_our_trace_of_its_conversation(langfuse: LangfuseFake, openai: OpenAIFake) -> None:
    async with traces(langfuse) as client:
        await run(models(openai), client)
    spans = langfuse.spans()
    assert {span["trace_id"] for span in spans} == {TRACE}
    assert {span["attributes"].get("session.id") for span in spans} == {"12"}
    assert {span["attributes"].get("user.id") for span in spans} == {"merchant-3"}
    conversation, ask = named(spans, "conversation"), named(spans, "ask")
    assert conversation["attributes"]["langfuse.trace.tags"] == ["new"]
    assert conversation["attributes"]["langfuse.environment"] == "development"
    assert ask["parent_id"] == conversation["span_id"]
    call = named(spans, "ChatOpenAI")
    assert call["attributes"]["langfuse.observation.type"] == "generation"
    assert call["attributes"]["langfuse.observation.model.name"].startswith("gpt-4.1")
    assert json.loads(call["attributes"]["langfuse.observation.usage_details"])["input"] > 0
    assert json.loads(call["attributes"]["langfuse.observation.metadata.task"]) == "customer"


async def test_phone_numbers_are_masked_and_pictures_stay_here(langfuse: LangfuseFake, openai: OpenAIFake) -> None:
    async with traces(langfuse) as client:
        await run(models(openai), client)
    call = named(langfuse.spans(), "ChatOpenAI")["attributes"]
    _, asked, *_ = json.loads(call["langfuse.observation.input"])
    assert asked["content"] == [
        {"type": "text", "text": f"¿Esto? Llámame: {MASKED}"},
        {"type": "text", "text": "[image_url]"},
    ]
    assert json.loads(call["langfuse.observation.output"])["content"] == f"Sí. Te llamo: {MASKED}"
    told = str(langfuse.spans())
    assert PHONE not in told
    assert PICTURE[:60] not in told
    assert {entry["path"] for entry in langfuse.requests.entries()} == {langfuse.path}  # nothing else was uploaded
    assert PICTURE in str(openai.chats()[0]["body"])  # the model did see it


async def test_a_failed_run_is_told_without_the_phone_numbers_in_its_error(
    langfuse: LangfuseFake, openai: OpenAIFake
) -> None:
    openai.apply_script([{"reply": {"error": {"status": 400, "message": f"Invalid 'messages': {PHONE}"}}}])
    async with traces(langfuse) as client:
        with pytest.raises(ModelError):
            await run(models(openai), client)
    spans = langfuse.spans()
    assert {span["attributes"].get("langfuse.observation.level") for span in spans} == {"ERROR"}
    assert PHONE not in str(spans)
    assert MASKED in str(spans)


@pytest.mark.parametrize("fails", [False, True])
async def test_its_spans_are_nobody_elses(langfuse: LangfuseFake, openai: OpenAIFake, fails: bool) -> None:
    if fails:
        openai.apply_script([{"reply": {"error": "server_error"}}])
    with running(OtlpCollector()) as collector:
        stop = start(Settings(_env_file=None, otel_exporter_otlp_endpoint=collector.url))
        async with traces(langfuse) as client:
            with tracing.in_trace(TRACE), tracing.span("turn"):
                with suppress(ModelError):
                    await run(models(openai), client, inside="a tool")
                tracing.past("ask", 1.0, 0.1, {}, failed=False)
        await stop()
    assert {span["scope"] for span in langfuse.spans()} == {"langfuse-sdk"}
    ask, turn, inside = collector.spans()
    assert [span["name"] for span in (ask, turn, inside)] == ["ask", "turn", "a tool"]
    assert ask["parent_id"] == inside["parent_id"] == turn["span_id"]
    assert turn["attributes"] == inside["attributes"] == {"recado.trace_id": TRACE}


@pytest.mark.parametrize("fault", [{"hang": True}, {"cut": True}, {"status": 500}, "keys"])
async def test_a_langfuse_that_does_not_take_them_slows_no_run_and_the_end_is_bounded(
    langfuse: LangfuseFake, openai: OpenAIFake, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGFUSE_FLUSH_INTERVAL", "0.01")
    changed = {"langfuse_secret_key": "sk-lf-wrong"} if fault == "keys" else {}
    langfuse.apply_script(fault if isinstance(fault, dict) else {})
    async with traces(langfuse, **changed) as client:
        await run(models(openai), client)
        await langfuse.requests.until(1)  # its client is in the middle of it
        for _ in range(3):
            await run(models(openai), client)  # would not come back if it waited
        assert openai.calls() == 8
        begun = monotonic()
    assert monotonic() - begun < LONGEST_FLUSH_SECONDS + 1
    assert langfuse.spans() == []


async def test_an_alert_leads_to_the_trace_and_the_project_is_asked_for_once(langfuse: LangfuseFake) -> None:
    async with traces(langfuse) as client:
        for _ in range(2):
            found = await client.find_trace(TRACE)
            assert found == f"{langfuse.url}/project/{PROJECT_ID}/traces/{TRACE}"
    assert len(langfuse.requests.entries("projects")) == 1


@pytest.mark.parametrize(
    "fault",
    [{"status": 401}, {"status": 500}, {"cut": True}, {"raw": "<html>"}, {"raw": "[]"}, {"raw": '{"data": []}'}],
    ids=str,
)
async def test_without_its_project_there_is_no_link_and_it_is_not_asked_again_for_a_while(
    langfuse: LangfuseFake, fault: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    langfuse.apply_script({"projects": fault})
    async with traces(langfuse) as client:
        assert [await client.find_trace(TRACE) for _ in range(3)] == [None] * 3
        assert len(langfuse.requests.entries("projects")) == 1
        langfuse.apply_script({})
        monkeypatch.setattr("recado.agent.langfuse.FAILURE_SECONDS", 0.0)
        assert await client.find_trace(TRACE) is not None


async def test_one_that_hangs_is_not_waited_for(langfuse: LangfuseFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recado.agent.langfuse.TIMEOUT_SECONDS", 0.2)
    langfuse.apply_script({"projects": {"hang": True}})
    async with traces(langfuse) as client:
        assert await client.find_trace(TRACE) is None
