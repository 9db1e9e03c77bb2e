"""What a run of a graph did: its nodes and its calls of models, as `recado.telemetry.steps` and as figures.

LangChain tells of both, with the tokens, also where the answer is read into a shape and the message is gone.
"""

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from recado.agent.prices import Prices
from recado.telemetry import metrics, steps
from recado.telemetry.context import known_ids
from recado.telemetry.steps import Step

NODE = "graph:step:"
"""How LangGraph tags the run of a node; what runs within one, such as a router, has other tags."""
UNKNOWN = "-"
"""A label for what is not known."""


class StepHandler(BaseCallbackHandler):
    """Records one run. `resumed`: it goes on after a crash, so its first steps are not here; the first that is says so.

    A plain handler that runs inline, not an `AsyncCallbackHandler`: that one costs a coroutine for each event, of which
    a turn has twenty. LangChain logs what a handler raises, and goes on.
    """

    run_inline = True

    def __init__(self, prices: Prices, *, resumed: bool = False) -> None:
        self._prices = prices
        self._resumed = resumed
        self._begun: dict[UUID, Step] = {}

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A node begins, or something within one that is no step."""
        if tags and tags[0].startswith(NODE):
            self._begun[run_id] = self._first(steps.begin("step", str(kwargs.get("name") or UNKNOWN)))

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        """It is over."""
        if begun := self._begun.pop(run_id, None):
            steps.end(begun)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It raised, or was cancelled."""
        if begun := self._begun.pop(run_id, None):
            steps.end(begun, failed=True)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A call of a model begins. Its task is what `recado.agent.models` wrote on it."""
        about = metadata or {}
        task, model = about.get("task", UNKNOWN), about.get("model", UNKNOWN)
        self._begun[run_id] = self._first(steps.begin("model", model, task=task, model=model))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """It answered; the tokens and what they cost are known where it said so."""
        if begun := self._begun.pop(run_id, None):
            used = _tokens(response)
            if used:
                used["cost"] = self._prices.cost(begun.name, **used)
            steps.end(begun, **used)
            _count(begun, "ok")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It gave nothing usable, could not be reached, or was cancelled."""
        if begun := self._begun.pop(run_id, None):
            steps.end(begun, failed=True)
            _count(begun, "failed")

    def _first(self, step: Step) -> Step:
        if self._resumed:
            step.facts["resumed"], self._resumed = True, False
        return step


def _tokens(response: LLMResult) -> dict[str, Any]:
    """{tokens_in, tokens_cached, tokens_out}, the cached ones among those that went in; empty where it did not say."""
    for generation in (found for several in response.generations for found in several):
        message = generation.message if isinstance(generation, ChatGeneration) else None
        if isinstance(message, AIMessage) and message.usage_metadata:
            usage = message.usage_metadata
            return {
                "tokens_in": usage["input_tokens"],
                "tokens_cached": usage.get("input_token_details", {}).get("cache_read") or 0,
                "tokens_out": usage["output_tokens"],
            }
    return {}


def _count(call: Step, result: str) -> None:
    facts = call.facts
    task, model, merchant = facts["task"], facts["model"], str(known_ids().get("merchant_id", UNKNOWN))
    metrics.MODEL_CALLS.labels(task, model, result).inc()
    metrics.MODEL_SECONDS.labels(task, model).observe(call.seconds)
    for kind in ("in", "cached", "out"):
        if tokens := facts.get(f"tokens_{kind}"):
            metrics.MODEL_TOKENS.labels(task, model, merchant, kind).inc(tokens)
    if cost := facts.get("cost"):
        metrics.MODEL_COST.labels(task, model, merchant).inc(cost)
