"""The messages of a notification: the question to the staff, the answer to the customer, the closing notices."""

from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns import templates
from recado.channels.base import template_id
from recado.clock import Clock
from recado.conversations import window
from recado.conversations.service import ConversationService, Reply
from recado.db.models import Contact, Conversation, MerchantUser, Notification
from recado.documents.service import DocumentService
from recado.merchants.repository import MerchantRepository
from recado.notifications.repository import NotificationRepository
from recado.notifications.types import (
    add_prefix,
    config_of,
)

log = structlog.get_logger(__name__)

RECIPIENTS = "merchant_user_conversation_user_ids"
"""Where a notification's context keeps the contacts of the staff that was asked."""


class NotificationMessages:
    """What one merchant's notifications say, within one transaction that the caller commits."""

    def __init__(self, session: AsyncSession, merchant_id: int, clock: Clock) -> None:
        self._session = session
        self._merchant_id = merchant_id
        self._clock = clock
        self._notifications = NotificationRepository(session, merchant_id)
        self._merchants = MerchantRepository(session, merchant_id)
        self._conversations = ConversationService(session, merchant_id, clock)
        self._documents = DocumentService(session, merchant_id, clock)

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
        message_id, _ = await self._conversations.say(
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
        return conversation.id, message_id

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

    async def _staff_conversation(
        self, person: MerchantUser, asking_conversation_id: int
    ) -> tuple[Contact, Conversation]:
        """The staff member's conversation, made when they never wrote, on the account that the customer uses."""
        asking, _, _ = await self._conversations.repository.get(asking_conversation_id)
        account = await self._merchants.account(asking.channel_account_id)
        return await self._conversations.open(account, person.phone, person.phone, person.name)

    def _change(self, notification: Notification, **values: Any) -> None:
        for name, value in values.items():
            setattr(notification, name, value)
        notification.updated_at = self._clock.now()

    def _other_data(self, notification: Notification) -> dict[str, Any]:
        return {"notification_id": notification.id, "notification_id_prefixed": add_prefix(notification.id)}


def _in_window(text: str, notification: Notification) -> str:
    """The request as free text: the template's words, and the question whole where the template had to cut it."""
    question = str(notification.context.get("question", ""))
    return text if question in text else f"{text}\n\n{question}"


def _answer_context(notification: Notification) -> str:
    return (
        f"Notification context (ID: {add_prefix(notification.id)}): question={notification.context['question']}. "
        f"Admin answer: answer={notification.context['answer']}"
    )
