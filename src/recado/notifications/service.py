"""Notifications: asking the staff, accepting one answer, taking it to the customer.

`NotificationService` holds the steps; each belongs to one transaction that its caller commits. The graphs in
`graphs/request_notification` and `graphs/answer_notification` put them in order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from jsonschema import Draft202012Validator
from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns import templates
from recado.channels.base import template_id
from recado.clock import Clock
from recado.conversations import window
from recado.conversations.service import ConversationService, Reply
from recado.db.models import Contact, Conversation, Document, MerchantUser, Notification
from recado.documents.service import DocumentService
from recado.errors import AlreadyAnswered, InvalidAnswer, NotificationNotFound
from recado.merchants.repository import MerchantRepository
from recado.notifications.repository import ANSWERED, REQUESTED, NotificationRepository
from recado.notifications.schemas import Pending
from recado.notifications.types import (
    NotificationType,
    UserQuestionContext,
    add_prefix,
    check_fields,
    config_of,
)
from recado.text import clean_text, mask_phone, shorten

log = structlog.get_logger(__name__)

RECIPIENTS = "merchant_user_conversation_user_ids"
"""Where a notification's context keeps the contacts of the staff that was asked."""


class NotificationService:
    """One merchant's notifications, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock
        self._notifications = NotificationRepository(session, merchant_id)
        self._merchants = MerchantRepository(session, merchant_id)
        self._conversations = ConversationService(session, merchant_id, clock)
        self._documents = DocumentService(session, merchant_id, clock)

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

    async def announce(self, notification_id: int, instruction: str) -> tuple[list[int], list[int]]:
        """Ask the staff: an instruction for the agent and a message to the person, in each one's conversation.

        Returns the contacts that were asked, and their conversations, whose deliveries the caller nudges. Empty, with
        a warning in the log, when there is nobody to ask.
        """
        notification = await self._notifications.get(notification_id, to_change=True)
        config = config_of(notification.notification_type)
        merchant = await self._merchants.get()
        other_data = self._other_data(notification)
        template_values = {key: str(value) for key, value in notification.context.items() if isinstance(value, str)} | {
            "notification_id": add_prefix(notification.id)
        }
        contacts, conversations = [], []
        for person in await self._merchants.staff():
            contact, conversation = await self._staff_conversation(person, notification.conversation_id)
            await self._conversations.instruct(
                conversation.id,
                f"notification:{notification.id}:instruction:{contact.id}",
                instruction,
                other_data,
            )
            language = conversation.language or merchant.language
            template = templates.fill(config.requested_campaign, language, template_values)
            await self._conversations.say(
                conversation,
                contact,
                Reply(
                    key=f"notification:{notification.id}:request:{contact.id}",
                    text=_in_window(template.text, notification),
                    template=template,
                    other_data=other_data,
                ),
            )
            contacts.append(contact.id)
            conversations.append(conversation.id)
        # With the messages: an answer may come before the next step, and the closing notices need to know.
        self._change(notification, context=notification.context | {RECIPIENTS: contacts})
        if not contacts:
            log.warning("no merchant users to ask", merchant_id=self._merchant_id, notification_id=notification.id)
        return contacts, conversations

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

    async def answer_customer(
        self, notification_id: int, text: str | None, template_answer: str, prompt: str | None
    ) -> tuple[int, int]:
        """Say the answer in the customer's conversation: `text` while the window is open, else the template.

        Returns the conversation's and the message's ids.
        """
        notification = await self._notifications.get(notification_id)
        conversation, contact, merchant = await self._conversations.repository.get(notification.conversation_id)
        language = conversation.language or merchant.language
        name = templates.language_of(templates.QUESTION_ANSWER, language)
        template = templates.fill(
            config_of(notification.notification_type).answered_campaign,
            language,
            {"lead_name": contact.name or templates.CUSTOMER[name], "answer": template_answer},
        )
        other_data = self._other_data(notification)
        await self._conversations.instruct(
            conversation.id,
            f"notification:{notification.id}:context",
            _answer_context(notification),
            other_data,
        )
        message = await self._conversations.say(
            conversation,
            contact,
            Reply(
                key=f"notification:{notification.id}:answer",
                text=text,
                template=template,
                other_data=other_data,
                prompt=prompt,
            ),
        )
        return conversation.id, message.id

    async def finish(self, notification_id: int) -> None:
        """The answer is on its way: nothing is left for the job."""
        notification = await self._notifications.get(notification_id)
        self._change(notification, returned_at=self._clock.now())

    async def notify_others(self, notification_id: int) -> list[int]:
        """Tell the other staff who were asked that it is closed. Returns the conversations to nudge."""
        notification = await self._notifications.get(notification_id)
        if notification.allow_multiple_answers:
            return []
        merchant = await self._merchants.get()
        answered_by = next((p for p in await self._merchants.staff() if p.id == notification.answered_by), None)
        told = []
        for contact_id in notification.context.get(RECIPIENTS, []):
            found = await self._conversations.repository.by_contact(contact_id)
            if found is None or (answered_by is not None and found[0].phone == answered_by.phone):
                continue
            contact, conversation = found
            account = await self._merchants.account(conversation.channel_account_id)
            template = templates.fill(
                templates.NOTIFICATION_CLOSED,
                conversation.language or merchant.language,
                {"notification_id": add_prefix(notification.id)},
            )
            await self._conversations.instruct(
                conversation.id,
                f"notification:{notification.id}:closure:{contact.id}",
                f"Notification {add_prefix(notification.id)} has been answered and is now closed.",
                self._other_data(notification),
            )
            free = window.is_open(conversation.last_inbound_at, self._clock.now())
            if not free and template_id(account, template.name, template.language) is None:
                continue  # the agent knows; the person need not be told at the price of a failed delivery
            await self._conversations.say(
                conversation,
                contact,
                Reply(
                    key=f"notification:{notification.id}:closed:{contact.id}",
                    text=template.text,
                    template=template,
                    other_data=self._other_data(notification),
                ),
            )
            told.append(conversation.id)
        return told

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

    # Parts

    async def _staff_conversation(
        self, person: MerchantUser, asking_conversation_id: int
    ) -> tuple[Contact, Conversation]:
        """The staff member's conversation, made when they never wrote, on the account that the customer uses."""
        asking, _, _ = await self._conversations.repository.get(asking_conversation_id)
        account = await self._merchants.account(asking.channel_account_id)
        return await self._conversations.open(account, person.phone, person.phone, person.name)

    def _other_data(self, notification: Notification) -> dict[str, Any]:
        return {"notification_id": notification.id, "notification_id_prefixed": add_prefix(notification.id)}

    def _change(self, notification: Notification, **values: Any) -> None:
        for name, value in values.items():
            setattr(notification, name, value)
        notification.updated_at = self._clock.now()


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


def _in_window(text: str, notification: Notification) -> str:
    """The request as free text: the template's words, and the question whole where the template had to cut it."""
    question = str(notification.context.get("question", ""))
    return text if question in text else f"{text}\n\n{question}"


def _answer_context(notification: Notification) -> str:
    return (
        f"Notification context (ID: {add_prefix(notification.id)}): question={notification.context['question']}. "
        f"Admin answer: answer={notification.context['answer']}"
    )
