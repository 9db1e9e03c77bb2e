"""What is recorded of a run: nodes and calls of models, from the demo model and over OpenAI's wire."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypedDict
from uuid import uuid4

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from prometheus_client import REGISTRY

from recado.agent.graph import MakeCallbacks, run_or_resume
from recado.agent.models import Models
from recado.agent.prices import read_prices
from recado.agent.recording import StepHandler
from recado.errors import ModelError
from recado.notifications.schemas import SameQuestionOutput
from recado.settings import Settings
from recado.telemetry import steps
from recado.telemetry.context import about
from recado.telemetry.steps import Step
from tests.agent.test_models import ASK, Withdrawn, models
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running

PRICES = read_prices("gpt-4.1=2/0.5/8")
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050}
CACHED = {**USAGE, "prompt_tokens_details": {"cached_tokens": 600}}
STRUCTURED = {"when": {"schema": "SameQuestionOutput"}, "reply": {"content": {"notification_id": None}}}


class State(TypedDict, total=False):
    run_key: str
    said: str


class Crashed(Exception):
    """The process died here."""


class SmallGraph:
    """`ask` calls the model for an answer, `compare` for one in a shape; a router stands between them."""

    def __init__(self, asked: Models) -> None:
        self._models = asked
        self.crash_in: str | None = None
        self._saver = InMemorySaver()

    async def ask(self, state: State) -> State:
        """Plain text."""
        return {"said": (await self._models.chat("customer", ASK))["content"]}

    async def compare(self, state: State) -> State:
        """A shape: the message with the tokens is gone when the node sees it."""
        if self.crash_in == "compare":
            raise Crashed
        await self._models.structured("same_question", ASK, SameQuestionOutput)
        return {}

    async def run(self, *, run_key: str = "run 1", callbacks: MakeCallbacks | None = None) -> list[Step]:
        """The steps of a run, also when it fails."""
        graph = StateGraph(State)
        graph.add_node("ask", self.ask)
        graph.add_node("compare", self.compare)
        graph.add_edge(START, "ask")
        graph.add_conditional_edges("ask", lambda _: "compare", {"compare": "compare"})
        graph.add_edge("compare", END)
        compiled = graph.compile(checkpointer=self._saver)
        with steps.recording() as recorded, suppress(ModelError, Crashed):
            await run_or_resume(compiled, "conversation:1", run_key, {}, callbacks or recorder)
        return recorded


def recorder(resumed: bool) -> list[StepHandler]:
    return [StepHandler(PRICES, resumed=resumed)]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"recado_model_{name}", labels) or 0.0


def shape(recorded: list[Step]) -> list[tuple[str, str, bool]]:
    return [(step.kind, step.name, step.failed) for step in recorded]


@pytest.fixture
def openai() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


async def test_nodes_and_calls_stand_in_the_order_in_which_they_began(openai: OpenAIFake) -> None:
    openai.apply_script([STRUCTURED, {"reply": {"content": "Sí.", "usage": CACHED}}])
    recorded = await SmallGraph(models(openai)).run()
    assert shape(recorded) == [
        ("step", "ask", False),
        ("model", "gpt-4.1", False),
        ("step", "compare", False),
        ("model", "gpt-4.1", False),
    ]
    ask, call, _, compared = recorded
    assert call.facts == {
        "task": "customer",
        "model": "gpt-4.1",
        "tokens_in": 1_000,
        "tokens_cached": 600,
        "tokens_out": 50,
        "cost": pytest.approx(0.0004 * 2 + 0.0006 * 0.5 + 0.00005 * 8),
    }
    assert compared.facts["task"] == "same_question"
    assert compared.facts["tokens_out"] > 0
    assert 0 < call.seconds <= ask.seconds
    assert ask.facts == {}


async def test_calls_are_counted_for_their_merchant(openai: OpenAIFake) -> None:
    openai.apply_script([STRUCTURED, {"reply": {"content": "Sí.", "usage": CACHED}}])
    merchant = uuid4().hex
    with about(merchant_id=merchant):
        await SmallGraph(models(openai)).run()
    labels = {"task": "customer", "model": "gpt-4.1", "merchant": merchant}
    assert counted("tokens_total", **labels, kind="in") == 1_000
    assert counted("tokens_total", **labels, kind="cached") == 600
    assert counted("tokens_total", **labels, kind="out") == 50
    assert counted("cost_usd_total", **labels) == pytest.approx(0.0015)


async def test_a_failed_call_is_marked_and_so_is_its_node(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"error": "server_error"}}])
    labels = {"task": "customer", "model": "gpt-4.1"}
    before, took = counted("calls_total", **labels, result="failed"), counted("seconds_count", **labels)
    recorded = await SmallGraph(models(openai)).run()
    assert shape(recorded) == [("step", "ask", True), ("model", "gpt-4.1", True)]
    assert recorded[1].facts == {"task": "customer", "model": "gpt-4.1"}
    assert counted("calls_total", **labels, result="failed") == before + 1
    assert counted("seconds_count", **labels) == took + 1


async def test_a_call_that_is_given_up_is_marked(openai: OpenAIFake) -> None:
    openai.apply_script([{"reply": {"hang": True}}])
    recorded = await SmallGraph(models(openai, model_timeout_seconds=0.3)).run()
    assert shape(recorded) == [("step", "ask", True), ("model", "gpt-4.1", True)]


async def test_an_answer_in_the_wrong_shape_is_a_failed_call(openai: OpenAIFake) -> None:
    openai.apply_script([{"when": {"schema": "SameQuestionOutput"}, "reply": {"content": "no JSON"}}])
    recorded = await SmallGraph(models(openai)).run()
    assert [step.failed for step in recorded] == [False, False, True, True]


async def test_a_model_without_a_price_has_no_cost_and_a_withdrawn_one_fails(openai: OpenAIFake) -> None:
    openai.apply_script({"withdrawn": ["gpt-4.1"], "rules": [STRUCTURED, {"reply": {"content": "Sí."}}]})
    asked = models(openai, chat_model="gpt-4.1, gpt-6-luna", classifier_model="gpt-6-luna")
    recorded = await SmallGraph(asked).run()
    assert shape([step for step in recorded if step.kind == "model"]) == [
        ("model", "gpt-4.1", True),
        ("model", "gpt-6-luna", False),
        ("model", "gpt-6-luna", False),
    ]
    assert "cost" not in recorded[2].facts
    assert recorded[2].facts["tokens_in"] > 0


async def test_the_demo_model_has_a_task_and_no_tokens() -> None:
    asked = Models(Settings(_env_file=None, model_provider="demo"), Withdrawn())
    recorded = await SmallGraph(asked).run()
    assert [(step.kind, step.name) for step in recorded][:2] == [("step", "ask"), ("model", "demo")]
    assert recorded[1].facts == {"task": "customer", "model": "demo"}


async def test_a_run_that_goes_on_says_so_in_its_first_step(openai: OpenAIFake) -> None:
    openai.apply_script([STRUCTURED, {"reply": {"content": "Sí."}}])
    graph = SmallGraph(models(openai))
    graph.crash_in = "compare"
    assert shape(await graph.run())[-1] == ("step", "compare", True)
    graph.crash_in = None
    rest = await graph.run()
    assert [(step.name, step.facts.get("resumed", False)) for step in rest] == [("compare", True), ("gpt-4.1", False)]
    assert await graph.run() == []  # it had ended


async def test_a_run_goes_on_when_what_looks_on_fails(openai: OpenAIFake) -> None:
    openai.apply_script([STRUCTURED, {"reply": {"content": "Sí.", "usage": USAGE}}])

    class Broken(StepHandler):
        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError

        def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError

    recorded = await SmallGraph(models(openai)).run(callbacks=lambda _: [Broken(PRICES)])
    assert [step.kind for step in recorded] == ["model", "model"]
    assert openai.calls() == 2


async def test_runs_at_the_same_time_record_each_its_own(openai: OpenAIFake) -> None:
    openai.apply_script([STRUCTURED, {"reply": {"content": "Sí."}}])
    asked = models(openai)
    together = await asyncio.gather(*(SmallGraph(asked).run() for _ in range(5)))
    assert [len(recorded) for recorded in together] == [4] * 5
