"""What the turn sees of the compiled conversation graph."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from recado.intents import Progress


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
