"""Taking an answer back: the steps of the answer graph."""

from datetime import datetime
from typing import Any

import structlog
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from recado.agent.protocol import turn_of
from recado.campaigns import templates
from recado.campaigns.service import Send
from recado.channels.base import template_id
from recado.conversations import window
from recado.conversations.service import Reply, state_of
from recado.db.models import Contact, Conversation, Merchant, Notification
from recado.errors import (
    AlreadyAnswered,
    ConversationNotFound,
    DocumentNotFound,
    ForeignNotification,
    InvalidAnswer,
    NotificationNotFound,
)
from recado.notifications.asking import storable
from recado.notifications.base import RECIPIENTS, ToDo
from recado.notifications.joining import Joining
from recado.notifications.repository import ANSWERED, REQUESTED, merchant_of
from recado.notifications.schemas import AnswerContext
from recado.notifications.types import (
    NotificationType,
    add_prefix,
    answered,
    asked_of,
    check_fields,
    config_of,
    other_data_of,
)
from recado.telemetry import metrics
from recado.telemetry.tracing import current_trace_id
from recado.text import shorten

log = structlog.get_logger(__name__)

MAX_CHARACTERS = 4_000


class Answering(Joining):
    """Accepts one answer and takes it to everyone who waits for it.

    The steps take the `context` that `load_answer` gave, so that none reads again what another has read.
    """

    async def accept(
        self, notification_id: int, answer: dict[str, Any], answer_key: str, answered_by: int | None
    ) -> list[Notification]:
        """Accept an answer if it is valid and the first. The same key is accepted again, as the same answer.

        Returns the notification that the staff was shown, then those that had joined it: the caller nudges the answer
        job of each once this is committed. An answer to a joined one is an answer to that.
        Raises NotificationNotFound (ForeignNotification: another's), MissingField, InvalidAnswer or AlreadyAnswered.
        """
        root = await self._root(notification_id, answered_by)
        if root.answer_key == answer_key:
            return [root, *await self._notifications.joined(root.id)]
        if root.status == ANSWERED and not root.allow_multiple_answers:
            raise _too_late(root, notification_id)
        accepted = await self._notifications.close(
            root,
            answer_key,
            context=root.context | _checked(root, answer),
            answered_by=answered_by,
            answer_trace_id=current_trace_id(),
            updated_at=self._clock.now(),
        )
        if not accepted:
            raise _too_late(root, notification_id)
        metrics.ANSWERS.labels(root.merchant_id, "accepted").inc()
        waited = (self._clock.now() - root.created_at).total_seconds()
        metrics.ANSWER_SECONDS.labels(root.notification_type).observe(waited)
        return [root, *await self.close_joined(root)]

    async def load_answer(self, notification_id: int) -> AnswerContext:
        """An answered notification with all that taking the answer back needs, in one query.

        Raises NotificationNotFound, ConversationNotFound, or InvalidAnswer while there is none.
        """
        return _context(*await self._notifications.load(notification_id))

    async def answer_to_do(self, notification_id: int) -> ToDo | None:
        """The same, for the answer job; None while there is no answer, and once it is on its way to the customer."""
        loaded = await self._notifications.load(notification_id)
        notification = loaded[0]
        if notification.status == REQUESTED or notification.returned_at is not None:
            return None
        origin = turn_of(notification.answer_key or ""), notification.answer_trace_id
        given = {"context": _context(*loaded)}
        return ToDo(given, notification.conversation_id, *origin)

    async def history(self, context: AnswerContext, limit: int) -> list[dict[str, str]]:
        """What was said in the customer's conversation and is not in its summary, as chat messages."""
        messages = await self._conversations.repository.history(
            context["conversation_id"], context["summarised_through"], limit
        )
        return [
            {
                "role": "user" if message.role == "user" else "assistant",
                "content": shorten(message.text, MAX_CHARACTERS),
            }
            for message in messages
            if message.role in {"user", "response", "admin"} and message.text
        ]

    async def learn(self, context: AnswerContext) -> None:
        """Put the answer into the question's document. Raises DocumentNotFound.

        Support requests have none, and what joined another question is in that one's.
        """
        if context["notification_type"] != NotificationType.user_question_request or context["joined"]:
            return
        if context["document_id"] is None:
            raise DocumentNotFound(f"{add_prefix(context['notification_id'])} has no document")
        await self._documents.learn(
            context["document_id"],
            context["answer"],
            notification_id=context["notification_id"],
            answered_by=context["answered_by"],
        )

    async def answer_customer(self, context: AnswerContext, text: str, fragment: str | None, prompt: str | None) -> int:
        """Send the answer: `text` while the window is open, else the template; where there are none, as what a human
        wrote, and once that is too late, when the customer writes again. Returns the conversation to nudge.

        `fragment` continues the sentence of the support template; without one, that only announces the text, as does
        one into which the whole answer does not fit.
        """
        campaign = config_of(context["notification_type"]).answered_campaign
        conversation, contact, merchant, row = await self._notifications.to_tell(context["conversation_id"], campaign)
        variable = templates.ANSWER_VARIABLE[campaign]
        language = conversation.language or merchant.language
        name = contact.name or templates.CUSTOMER[templates.language_of(campaign, language)]
        in_template = text if campaign == templates.QUESTION_ANSWER else fragment
        values = {"lead_name": name, variable: in_template or ""}
        own_texts = merchant.template_texts
        send = Send(
            key=f"notification:{context['notification_id']}:answer:{context['answer_key']}",
            values=values,
            text=text,
            instruction=_instruction(context),
            other_data=other_data_of(context["notification_id"]),
            prompt=prompt,
            by_human=True,
            announcing=not in_template or not templates.fits(campaign, language, values, variable, own_texts),
        )
        before, now = state_of(conversation), answered(context["notification_type"])
        conversation.intent, conversation.step = now["intent"], now["step"]
        leads = await self._campaigns.send_campaign(campaign, row, merchant, [(contact, conversation)], send)
        is_new = bool(leads)
        if leads is None:
            # Without the campaign there is no template: free text while the window is open, else a failure that shows.
            key, other_data = f"{send.key}:{contact.id}", dict(send.other_data)
            reply = Reply(key, text, other_data=other_data, prompt=prompt, by_human=True)
            is_new = bool(await self._conversations.say_all([(conversation, contact, reply)]))
        if not is_new:  # it was sent before a crash, and the customer may be about something else by now
            conversation.intent, conversation.step = before["intent"], before["step"]
        return conversation.id

    async def notify_others(self, context: AnswerContext) -> list[int]:
        """Tell the other staff who were asked that it is closed. Returns the conversations to nudge."""
        if context["allow_multiple_answers"] or context["joined"] or not context["recipients"]:
            return []
        others = await self._conversations.repository.of_staff(context["recipients"], context["answered_by"])
        notification, now = add_prefix(context["notification_id"]), self._clock.now()
        key, other_data = f"notification:{context['notification_id']}", other_data_of(context["notification_id"])
        await self._conversations.instruct_all(
            [(conversation.id, f"{key}:closure:{contact.id}") for contact, conversation, _, _ in others],
            f"Notification {notification} has been answered and is now closed.",
            other_data,
        )
        said = []
        for contact, conversation, account, merchant in others:
            template = templates.fill(
                templates.NOTIFICATION_CLOSED,
                conversation.language or merchant.language,
                {"notification_id": notification},
                merchant.template_texts,
            )
            free = window.is_open(conversation.last_inbound_at, now)
            if contact.opt_out is not None:
                continue
            if not free and template_id(account, template.name, template.language) is None:
                continue  # the agent knows; the person need not be told at the price of a failed delivery
            reply = Reply(f"{key}:closed:{contact.id}", template.text, template, other_data=other_data)
            said.append((conversation, contact, reply))
        await self._conversations.say_all(said)
        return [conversation.id for conversation, _, _ in said]

    async def finish(self, context: AnswerContext) -> None:
        """This answer is on its way: nothing is left for the job, unless there is another answer by now."""
        await self._notifications.finish(context["notification_id"], context["answer_key"], self._clock.now())

    async def abandon(self, notification_id: int) -> None:
        """No job can go on with it, for instance because its conversation is gone: stop trying."""
        try:
            notification = await self._notifications.get(notification_id)
        except NotificationNotFound:
            return
        now = self._clock.now()
        self._change(notification, announced_at=notification.announced_at or now, returned_at=now)

    async def _root(self, notification_id: int, answered_by: int | None) -> Notification:
        try:
            return await self._notifications.root_of(notification_id)
        except NotificationNotFound as error:
            try:
                await merchant_of(self._session, notification_id)
            except NotificationNotFound:
                raise error from None
            log.warning(
                "security: answer for another merchant's notification",
                merchant_id=self._merchant_id,
                notification_id=notification_id,
                answered_by=answered_by,
            )
            raise ForeignNotification(str(error)) from None


def check_answer(schema: dict[str, Any], answer: dict[str, Any]) -> None:
    """The answer must match the notification's JSON schema. Raises InvalidAnswer, which says how it does not."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidAnswer(f"the notification's own JSON schema is invalid: {error.message}"[:500]) from None
    problems = [
        f"{'.'.join(map(str, error.path)) or 'answer'}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(answer)
    ]
    if problems:
        raise InvalidAnswer("the answer does not match the JSON schema: " + "; ".join(problems)[:500])


def _too_late(root: Notification, notification_id: int) -> AlreadyAnswered:
    metrics.ANSWERS.labels(root.merchant_id, "too_late").inc()
    return AlreadyAnswered(f"{add_prefix(notification_id)} has been answered already")


def _checked(notification: Notification, answer: dict[str, Any]) -> dict[str, Any]:
    """The fields of a valid answer, as they may be stored."""
    schema, fields = notification.answer_model_json_schema, config_of(notification.notification_type).answered_fields
    check_answer(schema, answer)
    # What the schema does not know must not change the rest of the context: which document it is, for instance.
    known = {*schema.get("properties", {}), *fields}
    answer = storable({name: value for name, value in answer.items() if name in known})
    check_fields(fields, answer)
    for name in fields:
        if not isinstance(answer[name], str):
            raise InvalidAnswer(f"{name} must be a text")
    return answer


def _context(
    notification: Notification, conversation: Conversation | None, contact: Contact | None, merchant: Merchant
) -> AnswerContext:
    if notification.status == REQUESTED:
        raise InvalidAnswer(f"{add_prefix(notification.id)} has no answer yet")
    if conversation is None or contact is None:
        raise ConversationNotFound(f"Conversation {notification.conversation_id} not found")
    kind, context = notification.notification_type, notification.context
    written: datetime | None = conversation.last_inbound_at
    return AnswerContext(
        merchant_id=merchant.id,
        merchant=merchant.name,
        notification_id=notification.id,
        notification_type=kind,
        joined=notification.joined_to_id is not None,
        returned=notification.returned_at is not None,
        allow_multiple_answers=notification.allow_multiple_answers,
        answer_key=notification.answer_key or "",
        answered_by=notification.answered_by,
        asked=asked_of(kind, context),
        answer=str(context[config_of(kind).answered_fields[0]]),
        document_id=context.get("document_id"),
        recipients=list(context.get(RECIPIENTS, [])),
        conversation_id=conversation.id,
        person_name=contact.name or "",
        language=conversation.language or merchant.language,
        last_inbound_at=written.isoformat() if written else None,
        summary=conversation.summary,
        summarised_through=conversation.summarised_through,
    )


def _instruction(context: AnswerContext) -> str:
    """What the customer's agent must know: what was asked and answered, and nothing that is internal."""
    config = config_of(context["notification_type"])
    return (
        f"Notification context (ID: {add_prefix(context['notification_id'])}): "
        f"{config.requested_fields[0]}={context['asked']}. "
        f"Admin answer: {config.answered_fields[0]}={context['answer']}"
    )
