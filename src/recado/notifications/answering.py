"""Taking an answer back: the steps of the answer graph."""

from typing import Any

from jsonschema import Draft202012Validator
from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns import templates
from recado.channels.base import template_id
from recado.conversations import window
from recado.conversations.repository import ConversationRepository
from recado.conversations.service import Reply
from recado.db.models import Notification
from recado.errors import AlreadyAnswered, InvalidAnswer, NotificationNotFound
from recado.notifications.asking import storable
from recado.notifications.base import RECIPIENTS, NotificationBase
from recado.notifications.repository import NotificationRepository
from recado.notifications.schemas import AnswerContext
from recado.notifications.types import NotificationType, add_prefix, check_fields, config_of
from recado.text import shorten

MAX_CHARACTERS = 4_000


class Answering(NotificationBase):
    """Accepts one answer and takes it to the customer."""

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


async def load_answer(session: AsyncSession, merchant_id: int, notification_id: int, window: int) -> AnswerContext:
    """The answered notification with its conversation. Raises NotificationNotFound or ConversationNotFound."""
    notification = await NotificationRepository(session, merchant_id).get(notification_id)
    conversations = ConversationRepository(session, merchant_id)
    conversation, contact, merchant = await conversations.get(notification.conversation_id)
    history = await conversations.history(conversation.id, conversation.summarised_through, window)
    return AnswerContext(
        merchant_id=merchant.id,
        merchant=merchant.name,
        conversation_id=conversation.id,
        notification_type=notification.notification_type,
        question=str(notification.context["question"]),
        answer=str(notification.context["answer"]),
        person_name=contact.name or "",
        language=conversation.language or merchant.language,
        summary=conversation.summary,
        history=[
            {
                "role": "user" if message.role == "user" else "assistant",
                "text": shorten(message.text, MAX_CHARACTERS),
            }
            for message in history
            if message.role in {"user", "response", "admin"} and message.text
        ],
    )


def check_answer(schema: dict[str, Any], answer: dict[str, Any]) -> None:
    """The answer must match the notification's JSON schema. Raises InvalidAnswer, which says how it does not."""
    problems = [
        f"{'.'.join(map(str, error.path)) or 'answer'}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(answer)
    ]
    if problems:
        raise InvalidAnswer("the answer does not match the JSON schema: " + "; ".join(problems)[:500])


def _answer_context(notification: Notification) -> str:
    return (
        f"Notification context (ID: {add_prefix(notification.id)}): question={notification.context['question']}. "
        f"Admin answer: answer={notification.context['answer']}"
    )
