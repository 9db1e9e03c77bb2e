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


class AnswerState(AnswerGiven, total=False):
    """Given, then what the steps found and made."""

    context: AnswerContext
    window_open: bool
    text: str | None
    template_answer: str
    prompt: str | None
    conversation_id: int
    closed_conversation_ids: list[int]
