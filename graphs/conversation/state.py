"""The state of one turn. Plain data only; a thread keeps the last turn's, so its size is bounded by the window."""

from typing import Any, NotRequired

from typing_extensions import TypedDict  # Pydantic, and so Studio's schemas, need this one before Python 3.12

from recado.intents import Progress
from recado.turns.context import Loaded


class ReplyDraft(TypedDict):
    """Something to say. `prompt`: the prompt that produced it. `buttons`: {id, title, description?} of choices."""

    text: str
    prompt: str | None
    other_data: dict[str, Any]
    buttons: NotRequired[list[dict[str, str]]]


class GivenState(TypedDict, total=False):
    """What a run is given: a turn's ids, or, in Studio, what somebody writes from a phone."""

    run_key: str
    turn_id: int
    conversation_id: int
    merchant_id: int
    sub_domain: str
    phone: str
    text: str


class ConversationState(Loaded, total=False):
    """Given, then loaded, then what came of it."""

    run_key: str
    turn_id: int
    sub_domain: str
    phone: str
    text: str

    exchange: list[dict[str, Any]]
    """What the model and the tools said in this turn, as chat messages."""
    prompt: str | None
    failures: int
    """How often the model gave nothing usable in this turn."""
    progress: list[Progress]
    """Where the customer stood after each step of this turn that told: the last one is `current_intent` and
    `current_step`. Empty while none has."""
    acted: bool
    """A tool has done something: this draft cannot be dropped."""

    kept: list[ReplyDraft]
    """What tools that did work have to say, while others that were called with them are tried again."""
    replies: list[ReplyDraft]
    gave_up: bool
    """The model gave nothing usable, and the person was told so."""
    new_language: str | None
    new_summary: str | None
    new_summarised_through: int | None
