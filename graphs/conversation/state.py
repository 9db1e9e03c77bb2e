"""The state of one turn. Plain data only; a thread keeps the last turn's, so its size is bounded by the window."""

from typing import Any, Literal, TypedDict

from recado.notifications.schemas import Pending
from recado.turns.context import Incoming, Line


class ReplyDraft(TypedDict):
    """Something to say. `prompt`: the prompt that produced it."""

    text: str
    prompt: str | None
    other_data: dict[str, Any]


class GivenState(TypedDict, total=False):
    """What a run is given: a turn's ids, or, in Studio, what somebody writes from a phone."""

    run_key: str
    turn_id: int
    conversation_id: int
    merchant_id: int
    sub_domain: str
    phone: str
    text: str


class ConversationState(GivenState, total=False):
    """Given, then loaded, then what came of it."""

    merchant: str
    language: str
    role: Literal["customer", "staff"]
    person_name: str | None
    merchant_user_id: int | None
    summary: str
    history: list[Line]
    incoming: list[Incoming]
    documents: list[dict[str, str]]
    pending: list[Pending]
    target: dict[str, str] | None
    answerable: list[str] | None

    exchange: list[dict[str, Any]]
    """What the model and the tools said in this turn, as chat messages."""
    prompt: str | None
    failures: int
    """How often the model gave nothing usable in this turn."""
    acted: bool
    """A tool has done something: this draft cannot be dropped."""

    replies: list[ReplyDraft]
    new_language: str | None
    new_summary: str | None
    new_summarised_through: int | None
