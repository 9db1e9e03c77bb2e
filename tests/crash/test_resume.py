"""What a run on a thread does after a crash at each of the instants between two commits."""

from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from recado.agent.checkpoints import SqliteCheckpoints, open_checkpoints
from recado.agent.graph import run_or_resume
from recado.db.engine import Database
from recado.jobs.nudges import Nudges
from recado.jobs.worker import make_queue
from recado.notifications.jobs import NotificationJobs
from recado.notifications.service import NotificationService
from tests.builders import LUIS, ROSA, Shop, make_shop

COMMITS_OF_A_RUN = range(1, 10)
"""A run of three steps writes the given state, then what each step gave and its checkpoint, START being a step too."""


class Crash(Exception):
    """Stands for the death of the process at a commit."""


class State(TypedDict, total=False):
    run_key: str
    name: str
    draft: str
    replies: list[str]


class ThreeSteps:
    """A graph like a turn: load what is new, ask the model, say it."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        graph = StateGraph(State)
        for step in (self.load, self.ask, self.finish):
            graph.add_node(step.__name__, step)
        graph.add_edge(START, "load")
        graph.add_edge("load", "ask")
        graph.add_edge("ask", "finish")
        graph.add_edge("finish", END)
        self.graph = graph

    async def load(self, state: State) -> State:
        self.ran.append("load")
        return {"draft": "", "replies": []}

    async def ask(self, state: State) -> State:
        self.ran.append("ask")
        return {"draft": f"hello {state['name']}"}

    async def finish(self, state: State) -> State:
        self.ran.append("finish")
        return {"replies": [state["draft"]]}


class CrashingCheckpoints(SqliteCheckpoints):
    """Dies at the n-th commit, and at every one after it."""

    left = -1
    written: list[str]

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        self._commit("checkpoint")
        return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        self._commit("result")
        await super().aput_writes(config, writes, task_id, task_path)

    def _commit(self, what: str) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1
        self.written.append(what)


@pytest.mark.parametrize("commits", COMMITS_OF_A_RUN)
async def test_a_run_goes_on_after_any_commit(tmp_path: Path, commits: int) -> None:
    steps = ThreeSteps()
    async with open_checkpoints(f"sqlite:///{tmp_path}/checkpoints.db") as plain:
        await run_or_resume(steps.graph.compile(checkpointer=plain), "thread", "run 1", {"name": "Ana"})
        crashing = CrashingCheckpoints(plain.conn)
        crashing.left, crashing.written = commits, []
        steps.ran.clear()
        try:
            await run_or_resume(steps.graph.compile(checkpointer=crashing), "thread", "run 2", {"name": "Beto"})
        except Crash:
            pass
        else:
            assert len(crashing.written) <= commits
        asked = steps.ran.count("ask")
        written = crashing.written[:]
        steps.ran.clear()
        state = await run_or_resume(steps.graph.compile(checkpointer=plain), "thread", "run 2", {"name": "Beto"})
    assert state["replies"] == ["hello Beto"]
    # given, START's result, checkpoint, load's, checkpoint, then what the model said
    if written[:6] == ["checkpoint", "result", "checkpoint", "result", "checkpoint", "result"]:
        assert (asked, steps.ran.count("ask")) == (1, 0)


@pytest.fixture
async def shop(database: Database) -> Shop:
    return await make_shop(database)


async def ask(shop: Shop) -> int:
    """A question of Ana's for which the staff was sent a message, and nothing after that."""
    conversation_id = await shop.open()
    await shop.hear("hola", ROSA)
    await shop.hear("hola", LUIS)
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        asked = {"question": "¿Abren el lunes?"}
        notification = await service.request("user_question_request", conversation_id, asked, "key")
        document = await service.create_document("document", "¿Abren el lunes?")
        await service.complete_context(notification.id, document.id)
        await service.announce(notification.id, "instruction")
    return notification.id


async def test_an_answer_that_comes_before_the_recipients_are_kept_closes_it_for_the_others(shop: Shop) -> None:
    notification_id = await ask(shop)
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        await service.accept(notification_id, {"answer": "Sí"}, "key of Rosa", None)
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        told = await service.notify_others(await service.load_answer(notification_id))
    assert len(told) == 2


async def test_a_late_nudge_does_not_run_again_what_is_done(shop: Shop) -> None:
    """The checkpoints of a finished notification are deleted: run again, its steps would all be repeated."""
    notification_id = await ask(shop)
    runs: list[str] = []

    async def run(thread_id: str, run_key: str, given: dict[str, Any]) -> None:
        runs.append(thread_id)
        async with shop.database.transaction() as session:
            service = NotificationService(session, shop.merchant_id, shop.clock)
            if thread_id.startswith("request:"):
                await service.remember_recipients(notification_id, [])
            else:
                await service.finish(given["context"])

    jobs = NotificationJobs(shop.database, shop.clock, Nudges(make_queue("memory://")), run, run)
    for _ in range(2):
        await jobs.request(notification_id, shop.merchant_id)
    await jobs.answer(notification_id, shop.merchant_id)
    async with shop.database.transaction() as session:
        service = NotificationService(session, shop.merchant_id, shop.clock)
        await service.accept(notification_id, {"answer": "Sí"}, "key of Rosa", None)
    for _ in range(2):
        await jobs.answer(notification_id, shop.merchant_id)
    assert runs == [f"request:{notification_id}", f"answer:{notification_id}"]
