"""Questions and support requests: asking the staff, and answering, over HTTP."""

from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Body, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from recado.conversations.repository import ConversationRepository
from recado.db.models import Notification
from recado.errors import InvalidInput, NotificationNotFound
from recado.http.api.common import Body as RequestBody
from recado.http.api.common import Page, RowId, Text, WantedPage, problems
from recado.http.auth import API_PREFIX, MAX_ID, MerchantId
from recado.http.services import HttpServices
from recado.notifications.repository import NotificationRepository
from recado.notifications.schemas import NotificationSchema, described
from recado.notifications.service import NotificationService
from recado.notifications.types import PREFIX, NotificationStatus, NotificationType, config_of

NotificationId = Annotated[
    str, Path(pattern=rf"^(?:{PREFIX})?[0-9]{{1,10}}$", examples=["12"], description="12 or NOTIF_12")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="Your name for this request: sent again, for instance after a timeout, it creates nothing new",
    ),
]
Answer = Annotated[
    dict[str, Any],
    Body(
        description="What the notification's `answered_fields` name, and matching its JSON schema",
        openapi_examples={
            "question": {
                "summary": "Of a user_question_request",
                "value": {"answer": "We are open Monday to Friday, 9 to 5"},
            },
            "support request": {
                "summary": "Of a user_support_request; the notes stay internal",
                "value": {
                    "agent_response_to_customer": "Please send your order number for the refund",
                    "resolution_notes": "Arrived damaged, full refund",
                },
            },
        },
    ),
]


class NotificationRequestSchema(RequestBody):
    """What the staff is to be asked. `context` has the type's `requested_fields`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "notification_type": "user_question_request",
                    "conversation_id": 123,
                    "context": {"question": "What are your return hours?"},
                },
                {
                    "notification_type": "user_support_request",
                    "conversation_id": 123,
                    "context": {"support_request_reason": "The item arrived damaged"},
                },
            ]
        }
    )

    notification_type: NotificationType
    conversation_id: RowId
    context: Annotated[dict[str, Text], Field(max_length=20)]


class CanAnswer(BaseModel):
    """Whether an answer would be accepted now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"can_answer": True}]})

    can_answer: bool


def router(services: HttpServices) -> APIRouter:
    """The routes, on these services."""
    api = NotificationsApi(services)
    routes = APIRouter(prefix="/notification/notifications", tags=["notifications"])
    routes.add_api_route("", api.list_notifications, methods=["GET"], summary="Notifications, newest first")
    routes.add_api_route("", api.request_notification, methods=["POST"], status_code=201, summary="Ask the staff")
    one = "/{notification_id}"
    routes.add_api_route(one, api.get_notification, methods=["GET"], summary="One notification")
    routes.add_api_route(
        f"{one}/answer",
        api.answer_notification,
        methods=["POST"],
        summary="Answer, as a member of the staff would over WhatsApp",
        responses=problems(409),
    )
    routes.add_api_route(
        f"{one}/can-answer", api.can_answer, methods=["GET"], summary="Whether an answer would be accepted now"
    )
    return routes


class NotificationsApi:
    """The handlers."""

    def __init__(self, services: HttpServices) -> None:
        self._database = services.database
        self._clock = services.clock
        self._nudges = services.nudges
        self._notifications = services.notifications

    async def list_notifications(
        self,
        merchant_id: MerchantId,
        paging: WantedPage,
        status: NotificationStatus | None = None,
        notification_types: Annotated[list[NotificationType] | None, Query(description="May be repeated")] = None,
    ) -> Page[NotificationSchema]:
        """The merchant's notifications, filtered by status and types where given."""
        async with self._database.read() as session:
            repository = NotificationRepository(session, merchant_id)
            rows, total = await repository.page(status, notification_types or (), paging.page_size, paging.offset)
        return paging.of(map(described, rows), total)

    async def request_notification(
        self,
        merchant_id: MerchantId,
        body: NotificationRequestSchema,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> NotificationSchema:
        """Ask the staff in the name of a customer. The answer goes to that customer's conversation."""
        unknown = sorted(set(body.context) - set(config_of(body.notification_type).requested_fields))
        if unknown:
            raise InvalidInput(f"{body.notification_type} has no field {unknown[0]!r}", f"context.{unknown[0]}")

        async with self._database.transaction() as session:
            # Another merchant's conversation does not exist.
            await ConversationRepository(session, merchant_id).get(body.conversation_id)
            row = await self._notifications.request_notification(
                body.notification_type,
                body.conversation_id,
                dict(body.context),
                session,
                request_key=f"api:{idempotency_key}" if idempotency_key else None,
            )
        _check_same(row, body)
        response.headers["Location"] = f"{API_PREFIX}/notification/notifications/{row.id}"
        return described(row)

    async def get_notification(self, merchant_id: MerchantId, notification_id: NotificationId) -> NotificationSchema:
        """One notification, by its number or as people see it: NOTIF_12."""
        async with self._database.read() as session:
            return described(await NotificationRepository(session, merchant_id).get(_number(notification_id)))

    async def answer_notification(
        self, merchant_id: MerchantId, notification_id: NotificationId, answer: Answer
    ) -> NotificationSchema:
        """Accept an answer, if it is valid and the first. It is then on its way to the customer, in their language."""
        number = _number(notification_id)
        async with self._database.transaction() as session:
            _check_known(await NotificationRepository(session, merchant_id).answer_schema(number), answer)
            # Not by its id alone, as the public function has it: another merchant's is refused, and reported.
            service = NotificationService(session, merchant_id, self._clock)
            closed = await service.accept(number, answer, f"api:{uuid4().hex}", None)
            row = await service.get(number)
        for each in closed:
            await self._nudges.answer_notification(each.id, merchant_id)
        return described(row)

    async def can_answer(self, merchant_id: MerchantId, notification_id: NotificationId) -> CanAnswer:
        """False when somebody has answered already."""
        number = _number(notification_id)
        async with self._database.read() as session:
            service = NotificationService(session, merchant_id, self._clock)
            can = await service.can_answer(number)
            if not can:
                await service.get(number)  # is it closed, or not there?
        return CanAnswer(can_answer=can)


def _number(notification_id: str) -> int:
    number = int(notification_id.removeprefix(PREFIX))
    if not 1 <= number <= MAX_ID:
        raise NotificationNotFound(f"Notification {number} not found")
    return number


def _check_same(row: Notification, body: NotificationRequestSchema) -> None:
    """A request key stands for one request. Raises InvalidInput."""
    asked = (row.notification_type, row.conversation_id, {name: row.context.get(name) for name in body.context})
    if asked != (body.notification_type, body.conversation_id, body.context):
        raise InvalidInput("this Idempotency-Key was used for another request", "Idempotency-Key")


def _check_known(schema: dict[str, Any] | None, answer: dict[str, Any]) -> None:
    unknown = sorted(set(answer) - set(schema.get("properties", answer))) if schema else []
    if unknown:
        raise InvalidInput(f"this notification takes no {unknown[0]!r} in its answer", unknown[0])
