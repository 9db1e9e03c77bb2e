"""What a dead server left on disk, and what it therefore must not ask the model again."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from tests.crash.brain import QUESTION, Step, step_of, summary_step
from tests.crash.world import World
from tests.support import WEB

Draft = tuple[int, int]
"""(turn id, number of the draft)."""


def checkpointed(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each thread with its state: the last checkpoint, and the steps after it whose results are written already."""
    path = world.server.folder / "checkpoints.db"
    if not path.exists():
        return
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'checkpoints'").fetchone():
            return
        saver = SqliteSaver(connection)
        saver.is_setup = True  # it would write
        for (thread,) in connection.execute("SELECT DISTINCT thread_id FROM checkpoints").fetchall():
            saved = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
            assert saved is not None
            written = {channel: value for _, channel, value in saved.pending_writes or []}
            yield thread, saved.checkpoint["channel_values"] | written


@dataclass
class Kill:
    """What was under way when the server was killed."""

    requests: int
    open_calls: set[Step]
    found: dict[str, int]


@dataclass
class Ledger:
    """Model calls and kills. `said`: what is on disk, as the length of the exchange for each newest message."""

    world: World
    kills: list[Kill] = field(default_factory=list)
    said: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)
    summarised: dict[Step, Draft] = field(default_factory=dict)
    _checked: int = 0

    def steps(self) -> list[Step]:
        """The step of each request that the model's provider received, in order."""
        return [step_of(entry["body"]) for entry in self.world.openai.chats()]

    def note_kill(self) -> Kill:
        """Call it between a kill and the next start."""
        self._drain()
        self.check_requests()
        steps = self.steps()
        life = steps[self.kills[-1].requests if self.kills else 0 :]
        self._read_rows()
        self._read_checkpoints()
        unfinished = {step for step in life if not self.is_written(step)}
        kill = Kill(len(steps), unfinished, self._found(len(unfinished)))
        self.kills.append(kill)
        return kill

    def is_written(self, step: Step) -> bool:
        """Whether the result of a model call is on disk."""
        task, token, place = step
        if task == "reply":
            return token in self.answered
        if task == "summarise":
            return step in self.summarised
        if task == "same_question":
            return token in self.compared
        return token in self.ended or place < self.said.get(token, 0)

    def check_requests(self) -> None:
        """No request since the last kill repeats a step that was written before it, and none came twice."""
        since = self.kills[-1].requests if self.kills else 0
        life = self.steps()[since:]
        again = [step for step in life if self.is_written(step) and not self._is_a_later_draft(step)]
        assert not again, f"asked again although their checkpoints were written: {again}"
        doubled = [step for step, count in Counter(life).items() if count > 1 and step[0] != "summarise"]
        assert not doubled, f"asked twice with no kill between: {doubled}"

    def repeated(self) -> int:
        """How many requests were for a step that had been asked before."""
        return sum(count - 1 for count in Counter(self.steps()).values())

    def _is_a_later_draft(self, step: Step) -> bool:
        """A draft that is dropped for newer messages summarises the same history as the next one."""
        if step not in self.summarised:
            return False
        turn, draft = self.summarised[step]
        (row,) = self.world.rows("SELECT draft FROM turns WHERE id = ?", turn)
        return bool(row["draft"] > draft)

    def _drain(self) -> None:
        """What the dead server had sent is in the fake's socket: let it be read before anything else happens."""
        for _ in range(3):
            WEB.get(f"{self.world.openai.base_url}/models", headers={"Authorization": "Bearer x"})

    def _read_rows(self) -> None:
        done = self.world.rows(
            "SELECT text FROM messages JOIN turns ON turns.id = messages.turn_id"
            " WHERE role = 'user' AND turns.state = 'done'"
        )
        self.ended |= {row["text"].rpartition("#")[2] for row in done}
        replied = self.world.rows("SELECT text FROM messages WHERE key LIKE 'notification:%:answer:%'")
        self.answered |= {row["text"].partition("[[")[2].partition("]]")[0] for row in replied if "[[" in row["text"]}
        asked = self.world.rows(
            "SELECT context ->> 'question' AS text FROM notifications WHERE announced_at IS NOT NULL"
        )
        self.compared |= {token for row in asked for token in QUESTION.findall(row["text"])}

    def _read_checkpoints(self) -> None:
        for thread, state in checkpointed(self.world):
            kind, _, _ = thread.partition(":")
            if kind == "conversation" and state.get("incoming"):
                newest = state["incoming"][-1]["text"].rpartition("#")[2]
                self.said[newest] = max(self.said.get(newest, 0), len(state.get("exchange") or []))
                self._read_summary(state)
            elif kind == "request" and "same_as" in state:
                self.compared |= set(QUESTION.findall(state["context"]["question"]))
            elif kind == "answer" and "[[" in (state.get("text") or ""):
                self.answered.add(state["text"].partition("[[")[2].partition("]]")[0])

    def _read_summary(self, state: dict[str, Any]) -> None:
        through = state.get("new_summarised_through")
        if through is not None:
            older = " ".join(line["text"] for line in state["history"] if line["id"] <= through)
            _, turn, draft = state["run_key"].split(":")
            self.summarised[summary_step(state["person_name"], older)] = (int(turn), int(draft))

    def _found(self, model: int) -> dict[str, int]:
        (row,) = self.world.rows(
            "SELECT (SELECT count(*) FROM inbox_events WHERE state = 'received') AS inbox,"
            " (SELECT count(*) FROM messages WHERE role = 'user' AND turn_id IS NULL) AS quiet,"
            " (SELECT count(*) FROM turns WHERE state = 'running') AS turn,"
            " (SELECT count(*) FROM deliveries WHERE state = 'pending') AS pending,"
            " (SELECT count(*) FROM deliveries WHERE state = 'sending') AS sending,"
            " (SELECT count(*) FROM notifications WHERE announced_at IS NULL) AS request,"
            " (SELECT count(*) FROM notifications WHERE status = 'answered' AND returned_at IS NULL) AS answer"
        )
        return {**dict(row), "model": model}
