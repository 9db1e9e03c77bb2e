"""What the steps of a notification hand to each other, and what the model is asked for."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
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

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 12,
                    "notification_type": "user_question_request",
                    "status": "requested",
                    "created_at": "2026-05-01T12:00:00Z",
                    "updated_at": "2026-05-01T12:00:02Z",
                    "conversation_id": 3,
                    "context": {
                        "question": "¿Venden hielo?",
                        "document_id": 9,
                        "lead_phone": "+51911111111",
                        "lead_name": "Ana",
                    },
                    "requested_fields": ["question"],
                    "answered_fields": ["answer"],
                }
            ]
        }
    )

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


class SameQuestionOutput(BaseModel):
    """Whether one of the open questions asks the same."""

    notification_id: str | None = Field(description="The open question that asks the same, such as NOTIF_12, or null")


class Classification(TypedDict):
    """Who deals with a support request. `target_merchant_users`: types of staff, none for all of it."""

    support_request_type: str
    target_merchant_users: list[str]


class Request(TypedDict):
    """A notification for which the staff has to be asked."""

    notification_id: int
    merchant_id: int
    notification_type: str
    conversation_id: int
    context: dict[str, Any]
    answer_schema: dict[str, Any]
    lead_phone: str
    lead_name: str | None


class OpenQuestion(TypedDict):
    """An earlier question that waits for its answer."""

    notification_id: int
    question: str


class Pending(TypedDict):
    """An open notification as the staff's agent sees it."""

    notification_id: str
    question: str
    customer: str
    answer_schema: dict[str, Any]


class AnswerContext(TypedDict):
    """Everything that taking an answer back needs to know.

    `asked` and `answer`: the first of the type's requested and answered fields; what else the staff noted is internal
    and not in here. `joined`: another one was answered for it. `returned`: the answer is on its way already.
    """

    merchant_id: int
    merchant: str
    notification_id: int
    notification_type: str
    joined: bool
    returned: bool
    allow_multiple_answers: bool
    answer_key: str
    answered_by: int | None
    asked: str
    answer: str
    document_id: int | None
    recipients: list[int]
    conversation_id: int
    person_name: str
    language: str
    last_inbound_at: str | None
    summary: str
    summarised_through: int
