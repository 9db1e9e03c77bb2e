"""Asking the staff: the steps of the request graph."""

from collections.abc import Mapping
from typing import Any

import structlog

from recado.campaigns import templates
from recado.conversations.service import Reply
from recado.db.models import Contact, Conversation, Document, MerchantUser, Notification
from recado.notifications.base import RECIPIENTS, NotificationBase
from recado.notifications.repository import REQUESTED
from recado.notifications.types import UserQuestionContext, add_prefix, check_fields, config_of
from recado.text import clean_text, shorten

log = structlog.get_logger(__name__)


class Asking(NotificationBase):
    """Puts a customer's question or support request to the staff."""

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

    async def _staff_conversation(
        self, person: MerchantUser, asking_conversation_id: int
    ) -> tuple[Contact, Conversation]:
        """The staff member's conversation, made when they never wrote, on the account that the customer uses."""
        asking, _, _ = await self._conversations.repository.get(asking_conversation_id)
        account = await self._merchants.account(asking.channel_account_id)
        return await self._conversations.open(account, person.phone, person.phone, person.name)


def storable(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context whose texts every database and every phone can take."""
    return {name: clean_text(value) if isinstance(value, str) else value for name, value in context.items()}


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
