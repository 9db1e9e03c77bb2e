"""What the steps of a notification hand to each other, and what the model is asked for."""

from typing import Any

from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # Pydantic, and so Studio's schemas, need this one before Python 3.12


class LocalizedResponse(BaseModel):
    """An answer in the customer's language."""

    continuation_fragment: str = Field(description="Continues a sentence: lower-case start, no full stop")
    full_sentence: str = Field(description="Clear and complete by itself")


class SupportClassificationOutput(BaseModel):
    """Whose business a support request is."""

    target_user_type: str | None = Field(description="One of the user types listed, or null when none fits")
    support_request_type: str | None = Field(description="The kind of request in two or three words, for people")


class Pending(TypedDict):
    """An open notification as the staff's agent sees it."""

    notification_id: str
    question: str
    customer: str
    answer_schema: dict[str, Any]


class AnswerContext(TypedDict):
    """Everything that taking an answer back needs to know."""

    merchant_id: int
    merchant: str
    conversation_id: int
    notification_type: str
    question: str
    answer: str
    person_name: str
    language: str
    summary: str
    history: list[dict[str, str]]
