"""Running a compiled graph so that a crash costs nothing: from its last checkpoint, never twice."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from recado.agent.prices import Prices
from recado.agent.protocol import AgentReply, AgentResult
from recado.agent.recording import StepHandler

MakeCallbacks = Callable[[bool], Sequence[BaseCallbackHandler]]
"""What is told of a run: made for each, and told whether it goes on after a crash."""


def record_steps(resumed: bool) -> Sequence[BaseCallbackHandler]:
    """Steps without prices, and nothing else."""
    return [StepHandler(Prices(), resumed=resumed)]


async def run_or_resume(
    graph: CompiledStateGraph[Any, Any, Any, Any],
    thread_id: str,
    run_key: str,
    given: dict[str, Any],
    callbacks: MakeCallbacks = record_steps,
) -> dict[str, Any]:
    """The final state of run `run_key` on a thread.

    A run that was interrupted goes on after its last finished step; one that had ended is not run again.
    """
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
    # Not with the callbacks: reading the state is no run.
    state = await graph.aget_state(config)
    if state.values.get("run_key") == run_key:
        # Not `next`: a step that was written down, but whose checkpoint was not when the process died, is no longer in
        # it, although what follows that step has not run yet.
        if not state.tasks:
            return dict(state.values)
        given_or_resume: dict[str, Any] | None = None
    else:
        given_or_resume = {"run_key": run_key, **given}
    config |= {"run_name": thread_id.partition(":")[0], "callbacks": [*callbacks(given_or_resume is None)]}
    # "sync": a step's checkpoint is written before the next step starts, so at most the step under way is done again.
    return dict(await graph.ainvoke(given_or_resume, config, durability="sync"))


class GraphAgent:
    """The compiled conversation graph as `recado.agent.protocol.Agent`."""

    def __init__(self, graph: CompiledStateGraph[Any, Any, Any, Any], callbacks: MakeCallbacks = record_steps) -> None:
        self._graph = graph
        self._callbacks = callbacks

    async def run(self, conversation_id: int, run_key: str, given: dict[str, Any]) -> AgentResult:
        """Run a turn, or go on with it where its last checkpoint is."""
        state = await run_or_resume(self._graph, thread_of(conversation_id), run_key, given, self._callbacks)
        return AgentResult(
            replies=[
                AgentReply(reply["text"], reply["prompt"], reply["other_data"], reply.get("buttons", []))
                for reply in state.get("replies", [])
            ],
            acted=state.get("acted", False),
            language=state.get("new_language"),
            summary=state.get("new_summary"),
            summarised_through=state.get("new_summarised_through"),
            gave_up=state.get("gave_up", False),
            progress=state.get("progress", []),
        )

    async def prune(self, conversation_id: int) -> None:
        """Forget all checkpoints of the conversation but the last."""
        saver = self._graph.checkpointer
        if saver is not None and not isinstance(saver, bool):
            await saver.aprune([thread_of(conversation_id)], strategy="keep_latest")


def thread_of(conversation_id: int) -> str:
    """The LangGraph thread of a conversation."""
    return f"conversation:{conversation_id}"
