"""The state of taking an answer back. Plain data only."""

from typing import Any

from typing_extensions import TypedDict  # Pydantic, and so Studio's schemas, need this one before Python 3.12

from recado.notifications.schemas import AnswerContext


class AnswerGiven(TypedDict, total=False):
    """What a run is given: a notification whose answer was accepted, or, in Studio, the answer as well."""

    run_key: str
    notification_id: int
    merchant_id: int
    answer: dict[str, Any]
    context: AnswerContext | None
    """What `load` reads, where whoever starts the run has read it already."""


class AnswerState(AnswerGiven, total=False):
    """Given, then what the steps found and made."""

    window_open: bool
    text: str
    fragment: str | None
    """Continues the sentence of the support template; None where the template can only announce the text."""
    prompt: str | None
    """The prompt that produced `text`; None where it is the team's own words."""
    closed_conversation_ids: list[int]
