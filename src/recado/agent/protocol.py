"""What the turn sees of the compiled conversation graph."""

import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from recado.intents import Progress

_RUN_KEY = re.compile(r"turn:(\d+):")


@dataclass(frozen=True, slots=True)
class AgentReply:
    """What the graph wants said. `buttons`: {id, title, description?} of choices."""

    text: str
    prompt: str | None
    other_data: dict[str, Any] = field(default_factory=dict)
    buttons: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What came of a run. `acted`: a tool has done something, so the run cannot be dropped. `gave_up`: the model gave
    nothing usable, and the replies say so. `progress`: where the customer stood after each step that changed it, and at
    the end; empty when that is not known."""

    replies: list[AgentReply]
    acted: bool
    language: str | None
    summary: str | None
    summarised_through: int | None
    gave_up: bool = False
    progress: list[Progress] = field(default_factory=list)


def run_key_of(turn_id: int, draft: int) -> str:
    """The name of a draft of a turn. What its tools write down has keys that begin with it."""
    return f"turn:{turn_id}:{draft}"


def turn_of(key: str) -> int | None:
    """The turn whose tool wrote something down under this key. None: it was no turn's."""
    named = _RUN_KEY.match(key)
    return int(named[1]) if named else None


class Agent(Protocol):
    """The conversation graph, with its checkpoints."""

    async def run(self, conversation_id: int, run_key: str, given: dict[str, Any]) -> AgentResult:
        """Run a turn, or go on with it where its last checkpoint is. `run_key` names this draft of this turn.

        Raises ModelError when the model cannot be reached.
        """
        ...

    async def prune(self, conversation_id: int) -> None:
        """Forget all checkpoints of the conversation but the last."""
        ...
