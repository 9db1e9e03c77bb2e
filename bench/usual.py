"""The yardstick of a turn: the thread that LangGraph's own guides begin with, all messages in one growing state."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from bench.model import ANSWER, InstantModel

Turn = Callable[[int], Awaitable[None]]
"""Takes the turn of this number."""


@asynccontextmanager
async def one_thread(database: Path, question: str) -> AsyncIterator[Turn]:
    """The thread on a fresh database, and a function that takes the next turn."""
    model = InstantModel()

    async def agent(state: MessagesState) -> dict[str, list[AIMessage]]:
        answer = await model.ainvoke(state["messages"])
        assert answer.text == ANSWER
        return {"messages": [answer]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", END)
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    async with aiosqlite.connect(database) as connection:
        compiled = graph.compile(checkpointer=AsyncSqliteSaver(connection))

        async def turn(_number: int) -> None:
            await compiled.ainvoke({"messages": [HumanMessage(question)]}, config)

        yield turn
