"""Notifications: asking the staff, accepting one answer, taking it to the customer.

`NotificationService` holds the steps; each belongs to one transaction that its caller commits. The graphs in
`graphs/request_notification` and `graphs/answer_notification` put them in order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator

from recado.db.models import Document, Notification
from recado.errors import AlreadyAnswered, InvalidAnswer, NotificationNotFound
from recado.notifications.messages import RECIPIENTS, NotificationMessages
from recado.notifications.repository import ANSWERED, REQUESTED
from recado.notifications.schemas import Pending
from recado.notifications.types import (
    NotificationType,
    UserQuestionContext,
    add_prefix,
    check_fields,
    config_of,
)
from recado.text import clean_text, mask_phone, shorten


class NotificationService(NotificationMessages):
    """One merchant's notifications, within one transaction that the caller commits."""

    # Asking

    async def request(
        self, notification_type: str, conversation_id: int, context: dict[str, Any], request_key: str
    ) -> Notification:
        """Write down that the staff must be asked; the request job does the rest. The same key asks once.

        Raises UnknownNotificationType, MissingField or ConversationNotFound.
        """
        config = config_of(notification_type)
        context = storable(context)
        check_fields(config.requested_fields, context)
        await self._conversations.repository.get(conversation_id)
        existing = await self._notifications.by_request_key(request_key)
        if existing is not None:
            return existing
        now = self._clock.now()
        notification = Notification(
            conversation_id=conversation_id,
            notification_type=notification_type,
            status=REQUESTED,
            context=context,
            answer_model_json_schema=config.answer_schema.model_json_schema(),
            allow_multiple_answers=config.allow_multiple_answers,
            request_key=request_key,
            created_at=now,
            updated_at=now,
        )
        self._notifications.add(notification)
        await self._session.flush()
        return notification

    async def create_document(self, key: str, question: str) -> Document:
        """The document that will hold the answer."""
        return await self._documents.ask(key, question)

    async def complete_context(self, notification_id: int, document_id: int) -> dict[str, Any]:
        """Add to the context what the templates and the answer need. Returns the context."""
        notification = await self._notifications.get(notification_id, to_change=True)
        _, contact, _ = await self._conversations.repository.get(notification.conversation_id)
        context = UserQuestionContext(
            **notification.context
            | {
                "document_id": document_id,
                "lead_phone": contact.phone or contact.channel_user_id,
                "lead_name": contact.name,
            }
        ).model_dump()
        self._change(notification, context=context)
        return context

    async def remember_recipients(self, notification_id: int, contact_ids: list[int]) -> None:
        """Keep who was asked, for the closing notices; the request is complete."""
        notification = await self._notifications.get(notification_id, to_change=True)
        context = notification.context | {RECIPIENTS: contact_ids}
        self._change(notification, context=context, announced_at=self._clock.now())

    # Answering

    async def accept(
        self, notification_id: int, answer: dict[str, Any], answer_key: str, answered_by: int | None
    ) -> Notification:
        """Accept an answer if it is valid and the first. The same key is accepted again, as the same answer.

        Raises NotificationNotFound, MissingField, InvalidAnswer or AlreadyAnswered.
        """
        notification = await self._notifications.get(notification_id, to_change=True)
        if notification.answer_key == answer_key:
            return notification
        config = config_of(notification.notification_type)
        schema = notification.answer_model_json_schema
        check_answer(schema, answer)
        # What the schema does not know must not change the rest of the context: which document it is, for instance.
        answer = storable({name: value for name, value in answer.items() if name in schema["properties"]})
        check_fields(config.answered_fields, answer)
        accepted = await self._notifications.close(
            notification_id,
            answer_key,
            context=notification.context | answer,
            answered_by=answered_by,
            updated_at=self._clock.now(),
        )
        if not accepted:
            raise AlreadyAnswered(f"{add_prefix(notification_id)} has been answered already")
        await self._session.refresh(notification)
        return notification

    async def learn(self, notification_id: int) -> None:
        """Put the answer into the question's document. Raises DocumentNotFound."""
        notification = await self._notifications.get(notification_id)
        if notification.notification_type == NotificationType.user_question_request:
            answer = str(notification.context["answer"])
            await self._documents.learn(int(notification.context["document_id"]), answer)

    async def finish(self, notification_id: int) -> None:
        """The answer is on its way: nothing is left for the job."""
        notification = await self._notifications.get(notification_id)
        self._change(notification, returned_at=self._clock.now())

    async def abandon(self, notification_id: int) -> None:
        """No job can go on with it, for instance because its conversation is gone: stop trying."""
        try:
            notification = await self._notifications.get(notification_id)
        except NotificationNotFound:
            return
        now = self._clock.now()
        self._change(notification, announced_at=notification.announced_at or now, returned_at=now)

    # Reading

    async def get(self, notification_id: int) -> Notification:
        """One notification. Raises NotificationNotFound."""
        return await self._notifications.get(notification_id)

    async def find(self, status: str | None = None, types: Sequence[str] = ()) -> list[Notification]:
        """The merchant's notifications, oldest first."""
        return await self._notifications.find(status, types)

    async def can_answer(self, notification_id: int) -> bool:
        """Whether an answer would be accepted now."""
        try:
            notification = await self._notifications.get(notification_id)
        except NotificationNotFound:
            return False
        return notification.status == REQUESTED or (
            notification.status == ANSWERED and notification.allow_multiple_answers
        )

    async def by_document(self, document_id: int) -> list[Notification]:
        """Questions whose answer goes into this document."""
        return await self._notifications.by_document(document_id)

    async def pending(self) -> list[Pending]:
        """What is open, as the staff's agent sees it."""
        return [
            Pending(
                notification_id=add_prefix(found.id),
                question=shorten(str(found.context.get("question", "")), 500),
                customer=str(found.context.get("lead_name") or mask_phone(found.context.get("lead_phone"))),
                answer_schema=found.answer_model_json_schema,
            )
            for found in await self._notifications.find(REQUESTED, ())
        ]


def storable(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context whose texts every database and every phone can take."""
    return {name: clean_text(value) if isinstance(value, str) else value for name, value in context.items()}


def check_answer(schema: dict[str, Any], answer: dict[str, Any]) -> None:
    """The answer must match the notification's JSON schema. Raises InvalidAnswer, which says how it does not."""
    problems = [
        f"{'.'.join(map(str, error.path)) or 'answer'}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(answer)
    ]
    if problems:
        raise InvalidAnswer("the answer does not match the JSON schema: " + "; ".join(problems)[:500])


def instruction_for(notification_id: int, context: dict[str, Any], schema: dict[str, Any]) -> str:
    """What the staff's agent must know to answer: the context, the id, the schema, how to use the tool."""
    return (
        f"Notification {add_prefix(notification_id)} waits for this person's answer. "
        f"Question: {shorten(str(context.get('question', '')), 1_000)!r}. "
        f"When they answer it, call `answer_notification` with notification_id {add_prefix(notification_id)} and an "
        f"answer_json that matches this JSON schema: {schema}"
    )
