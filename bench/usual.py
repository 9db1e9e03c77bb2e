"""The yardstick of a turn: the thread that LangGraph's own guides begin with, all messages in one growing state."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import aiosqlite
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from bench.disk import checkpointed_bytes
from bench.model import ANSWER, InstantModel

WINDOW = 20


async def measure(folder: Path, marks: Sequence[int], question: str) -> tuple[dict[int, float], float]:
    """(milliseconds of a turn around each mark, bytes on disk per turn between the second mark and the last)."""
    model = InstantModel()

    async def agent(state: MessagesState) -> dict[str, list[AIMessage]]:
        answer = await model.ainvoke(state["messages"])
        assert answer.text == ANSWER
        return {"messages": [answer]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", END)
    database = folder / "usual.db"
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    taken: list[float] = []
    sizes: dict[int, int] = {}
    async with aiosqlite.connect(database) as connection:
        compiled = graph.compile(checkpointer=AsyncSqliteSaver(connection))
        for turn in range(1, marks[-1] + 1):
            start = time.perf_counter()
            await compiled.ainvoke({"messages": [HumanMessage(question)]}, config)
            taken.append((time.perf_counter() - start) * 1_000)
            if turn in marks:
                sizes[turn] = checkpointed_bytes(database)
    return around(taken, marks), (sizes[marks[-1]] - sizes[marks[1]]) / (marks[-1] - marks[1])


def around(taken: Sequence[float], marks: Sequence[int]) -> dict[int, float]:
    """The median of the turns around each mark; `taken` is that of the first turn, and so on."""
    return {mark: statistics.median(taken[max(0, mark - WINDOW // 2) : mark + WINDOW // 2]) for mark in marks}
