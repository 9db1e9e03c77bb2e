"""What the steps of a notification hand to each other, and what the model is asked for."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # Pydantic, and so Studio's schemas, need this one before Python 3.12

from recado.db.models import Notification
from recado.notifications.types import config_of


class LocalizedResponse(BaseModel):
    """An answer in the customer's language."""

    continuation_fragment: str = Field(description="Continues a sentence: lower-case start, no full stop")
    full_sentence: str = Field(description="Clear and complete by itself")


class SupportClassificationOutput(BaseModel):
    """Whose business a support request is."""

    target_user_type: str | None = Field(description="One of the user types listed, or null when none fits")
    support_request_type: str | None = Field(description="The kind of request in two or three words, for people")


class NotificationSchema(BaseModel):
    """A notification as the API gives it."""

    id: int
    notification_type: str
    status: str
    created_at: datetime
    updated_at: datetime
    conversation_id: int
    context: dict[str, Any]
    requested_fields: list[str]
    answered_fields: list[str]


def described(notification: Notification) -> NotificationSchema:
    """The row with what its type's configuration says of it."""
    config = config_of(notification.notification_type)
    return NotificationSchema(
        id=notification.id,
        notification_type=notification.notification_type,
        status=notification.status,
        created_at=notification.created_at,
        updated_at=notification.updated_at,
        conversation_id=notification.conversation_id,
        context=notification.context,
        requested_fields=list(config.requested_fields),
        answered_fields=list(config.answered_fields),
    )


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
