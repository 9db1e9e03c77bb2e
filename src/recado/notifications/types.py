"""The kinds of notification, and what each requires."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from recado.campaigns import templates
from recado.errors import MissingField, UnknownNotificationType
from recado.intents import ANSWERED, WAITING_FOR_TEAM, Intent, Progress
from recado.text import is_blank

PREFIX = "NOTIF_"
_PREFIXED = re.compile(r"\bNOTIF[_\s-]?(\d{1,9})\b", re.IGNORECASE)


class NotificationType(StrEnum):
    """What a notification asks of the staff."""

    user_question_request = "user_question_request"
    user_support_request = "user_support_request"


class NotificationStatus(StrEnum):
    """How far a notification is."""

    requested = "requested"
    answered = "answered"


class UserQuestionContext(BaseModel):
    """The context of a `user_question_request` while it waits."""

    model_config = ConfigDict(extra="allow")

    question: str = Field(min_length=1)
    document_id: int
    lead_phone: str
    lead_name: str | None


class UserSupportRequestContext(BaseModel):
    """The context of a `user_support_request` while it waits."""

    model_config = ConfigDict(extra="allow")

    support_request_reason: str = Field(min_length=1)
    support_request_type: str = Field(min_length=1)
    """What kind of request it is, for people."""
    target_merchant_users: list[str]
    """The types of staff that are asked. Empty: all of them."""
    lead_phone: str
    lead_name: str | None


class UserQuestionAnswerSchema(BaseModel):
    """What a member of the staff answers to a customer's question. Kept as JSON schema with each notification."""

    answer: str = Field(min_length=1, max_length=20_000)


class UserSupportRequestAnswerSchema(BaseModel):
    """What a member of the staff answers to a support request. Kept as JSON schema with each notification."""

    agent_response_to_customer: str = Field(min_length=1, max_length=20_000)
    resolution_notes: str | None = Field(None, max_length=20_000)
    """Internal: kept with the notification, never sent to the customer."""


class Recipient(StrEnum):
    """Whom a notification's messages go to."""

    merchant_user = "merchant_user"
    conversation_user = "conversation_user"


@dataclass(frozen=True, slots=True)
class NotificationConfig:
    """What one type requires and how it travels.

    The first of `requested_fields` is what is asked, the first of `answered_fields` is what the customer hears.
    `intent`: what a customer is about who waits for it.
    """

    requested_fields: tuple[str, ...]
    answered_fields: tuple[str, ...]
    context_schema: type[BaseModel]
    answer_schema: type[BaseModel]
    requested_campaign: str
    answered_campaign: str
    intent: Intent
    requested_to: Recipient = Recipient.merchant_user
    answered_to: Recipient = Recipient.conversation_user
    allow_multiple_answers: bool = False


NOTIFICATION_CONFIG: Mapping[NotificationType, NotificationConfig] = {
    NotificationType.user_question_request: NotificationConfig(
        requested_fields=("question",),
        answered_fields=("answer",),
        context_schema=UserQuestionContext,
        answer_schema=UserQuestionAnswerSchema,
        requested_campaign=templates.QUESTION_REQUEST,
        answered_campaign=templates.QUESTION_ANSWER,
        intent="info",
    ),
    NotificationType.user_support_request: NotificationConfig(
        requested_fields=("support_request_reason",),
        answered_fields=("agent_response_to_customer",),
        context_schema=UserSupportRequestContext,
        answer_schema=UserSupportRequestAnswerSchema,
        requested_campaign=templates.SUPPORT_REQUEST,
        answered_campaign=templates.SUPPORT_RESPONSE,
        intent="support",
    ),
}


def config_of(notification_type: str) -> NotificationConfig:
    """A type's configuration. Raises UnknownNotificationType."""
    try:
        return NOTIFICATION_CONFIG[NotificationType(notification_type)]
    except ValueError:
        known = ", ".join(NotificationType)
        raise UnknownNotificationType(f"{notification_type!r} is no notification type; known: {known}") from None


def waiting(notification_type: str) -> Progress:
    """Where a customer stands once the team is asked. Raises UnknownNotificationType."""
    return Progress(intent=config_of(notification_type).intent, step=WAITING_FOR_TEAM)


def answered(notification_type: str) -> Progress:
    """Where a customer stands with the team's answer. Raises UnknownNotificationType."""
    return Progress(intent=config_of(notification_type).intent, step=ANSWERED)


def asked_of(notification_type: str, context: Mapping[str, object]) -> str:
    """What is asked: the first of the requested fields. Raises UnknownNotificationType."""
    return str(context.get(config_of(notification_type).requested_fields[0], ""))


def check_fields(fields: tuple[str, ...], context: Mapping[str, object]) -> None:
    """Every field must be there, with something in it. Raises MissingField."""
    for field in fields:
        value = context.get(field)
        if value is None or is_blank(str(value)):
            raise MissingField(field)


def add_prefix(notification_id: int) -> str:
    """The id as people see it: NOTIF_123."""
    return f"{PREFIX}{notification_id}"


def other_data_of(notification_id: int) -> dict[str, Any]:
    """What the messages about a notification carry in their `other_data`."""
    return {"notification_id": notification_id, "notification_id_prefixed": add_prefix(notification_id)}


def read_prefixed(text: str) -> list[int]:
    """The notifications that a text names, in order, each once: `NOTIF_12`, also written `notif 12` or `NOTIF-12`."""
    return list(dict.fromkeys(int(number) for number in _PREFIXED.findall(text)))
