"""The agent's tools. What the model passes is input: checked here before it does anything."""

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from recado.agent.models import INVALID_ARGUMENTS, ToolCall
from recado.alerts.raising import Alarm, Alerts
from recado.clock import Clock
from recado.db.engine import Database
from recado.errors import AlreadyAnswered, ForeignNotification, InvalidInput, NotFound, RecadoError, WrongPerson
from recado.intents import Progress
from recado.jobs.nudges import Nudges
from recado.notifications.service import NotificationService
from recado.notifications.types import NotificationType, add_prefix, other_data_of, read_prefixed, waiting
from recado.telemetry import steps
from recado.text import clean_text


def _clean(said: Any) -> Any:
    return clean_text(said).strip() if isinstance(said, str) else said


Said = Annotated[str, BeforeValidator(_clean)]
"""A text of the model's; what is blank once it is cleaned counts as nothing."""


class _ForTheTeam(BaseModel):
    language: Literal["es", "en", "pt", "fr"] = Field(description="The customer's language, or the nearest of these")
    message_to_customer: Said = Field(
        min_length=1,
        max_length=1_000,
        description="Tells the customer, in their language, that the team was asked",
    )


class RequestNotification(_ForTheTeam):
    """Ask the merchant's team a question about the shop that the documents do not answer."""

    model_config = ConfigDict(title="request_notification", extra="forbid")

    question: Said = Field(min_length=1, max_length=4_000, description="Understandable without the chat")


class RequestSupport(_ForTheTeam):
    """Have the merchant's team take care of something of this customer's own: an order, a payment, a complaint."""

    model_config = ConfigDict(title="request_support", extra="forbid")

    reason: Said = Field(
        min_length=1, max_length=4_000, description="What happened and what they want, understandable without the chat"
    )


class AnswerNotification(BaseModel):
    """Take a team member's answer to the customer who asked."""

    model_config = ConfigDict(title="answer_notification", extra="forbid")

    notification_id: str = Field(max_length=40, description="Such as NOTIF_12")
    answer_json: str = Field(max_length=40_000, description="A JSON object that matches the notification's JSON schema")
    message_to_staff: Said = Field(
        min_length=1,
        max_length=1_000,
        description="Confirms, in the person's language, that the answer is on its way",
    )


class ListNotifications(BaseModel):
    """Show which notifications are open."""

    model_config = ConfigDict(title="list_notifications", extra="forbid")


CUSTOMER_TOOLS: tuple[type[BaseModel], ...] = (RequestNotification, RequestSupport)
STAFF_TOOLS: tuple[type[BaseModel], ...] = (AnswerNotification, ListNotifications)
TOOL_NAMES = frozenset(tool.model_config.get("title") for tool in (*CUSTOMER_TOOLS, *STAFF_TOOLS))
NO_TOOL = "no such tool"
"""How a call is recorded that names none: the name is the model's words."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call. `reply` ends the turn with that message; without one the model reads `content`.

    `progress`: where the customer stands by it.
    """

    content: str
    failed: bool = False
    reply: str | None = None
    acted: bool = False
    language: str | None = None
    progress: Progress | None = None
    other_data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who calls, from where: from the verified channel, never from the model. `key` names the call's turn and step."""

    merchant_id: int
    conversation_id: int
    merchant_user_id: int | None
    key: str
    answerable: list[str] | None
    """The staff member's message is about one of these; None when any open notification may be meant."""


class Tools:
    """Carries out the model's calls."""

    def __init__(self, database: Database, clock: Clock, nudges: Nudges, alerts: Alerts) -> None:
        self._database = database
        self._clock = clock
        self._nudges = nudges
        self._alerts = alerts

    async def run(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """Carry out one call. What is wrong with it is said in the result, for the model to mend."""
        with steps.step("tool", call["name"] if call["name"] in TOOL_NAMES else NO_TOOL) as step:
            result = await self._run(call, context)
            step.failed = result.failed
        return result

    async def _run(self, call: ToolCall, context: ToolContext) -> ToolResult:
        try:
            if INVALID_ARGUMENTS in call["args"]:
                raise InvalidInput("the arguments are no JSON object")
            if context.merchant_user_id is None:
                return await self._customer(call, context)
            return await self._staff(call, context)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return ToolResult(f"Wrong arguments: {problems}", failed=True)
        except AlreadyAnswered as error:
            # Not the model's mistake: it has something true to tell.
            return ToolResult(f"{error}. Tell the person that it is closed.", acted=True)
        except RecadoError as error:
            if isinstance(error, ForeignNotification):
                reason = "it was refused; whoever sent it may be guessing numbers"
                who = {"conversation_id": context.conversation_id, "merchant_user_id": context.merchant_user_id}
                alarm = Alarm("security_foreign_notification", reason, {"merchant_id": context.merchant_id, **who})
                await self._alerts.send(alarm)
            return ToolResult(f"Not done: {error}", failed=True)

    async def _customer(self, call: ToolCall, context: ToolContext) -> ToolResult:
        arguments: RequestNotification | RequestSupport
        if call["name"] == "request_notification":
            arguments = RequestNotification.model_validate(call["args"])
            notification_type, asked = NotificationType.user_question_request, {"question": arguments.question}
        elif call["name"] == "request_support":
            arguments = RequestSupport.model_validate(call["args"])
            notification_type = NotificationType.user_support_request
            asked = {"support_request_reason": arguments.reason}
        else:
            raise WrongPerson(f"there is no tool {call['name']!r} here")
        async with self._database.transaction() as session:
            service = NotificationService(session, context.merchant_id, self._clock)
            notification = await service.request(
                notification_type, context.conversation_id, asked, request_key=context.key
            )
        await self._nudges.request_notification(notification.id, context.merchant_id)
        return ToolResult(
            f"{add_prefix(notification.id)}: the team is being asked.",
            reply=arguments.message_to_customer,
            acted=True,
            language=arguments.language,
            progress=waiting(notification_type),
        )

    async def _staff(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if call["name"] == "list_notifications":
            async with self._database.read() as session:
                pending = await NotificationService(session, context.merchant_id, self._clock).pending()
            return ToolResult(json.dumps(pending, ensure_ascii=False) if pending else "Nothing is open.")
        if call["name"] != "answer_notification":
            raise WrongPerson(f"there is no tool {call['name']!r} here")
        arguments = AnswerNotification.model_validate(call["args"])
        notification_id = _one_id(arguments.notification_id)
        if context.answerable is not None and add_prefix(notification_id) not in context.answerable:
            meant = ", ".join(context.answerable) or "none of the open ones: ask which"
            raise InvalidInput(f"this message is about {meant}, not {add_prefix(notification_id)}")
        answer = _json_object(arguments.answer_json)
        async with self._database.transaction() as session:
            service = NotificationService(session, context.merchant_id, self._clock)
            closed = await service.accept(notification_id, answer, context.key, context.merchant_user_id)
        for notification in closed:
            await self._nudges.answer_notification(notification.id, context.merchant_id)
        return ToolResult(
            f"{add_prefix(notification_id)}: the answer is on its way to the customer.",
            reply=arguments.message_to_staff,
            acted=True,
            other_data=other_data_of(notification_id),
        )


def _one_id(written: str) -> int:
    found = read_prefixed(written) or ([int(written)] if re.fullmatch("[0-9]{1,9}", written) else [])
    if len(found) != 1:
        raise NotFound(f"{written!r} names no notification; write it like NOTIF_12")
    return found[0]


def _json_object(written: str) -> dict[str, Any]:
    try:
        answer = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"answer_json is no valid JSON: {error}") from None
    if not isinstance(answer, dict):
        raise InvalidInput("answer_json must be a JSON object")
    return answer
