"""Asking the staff: the steps of the request graph."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from recado.campaigns.service import Send
from recado.campaigns.templates import ANSWER_BUTTON
from recado.conversations.service import Reply
from recado.db.models import Contact, Conversation, Document, Merchant, Notification
from recado.notifications.base import RECIPIENTS
from recado.notifications.classification import Classifying
from recado.notifications.joining import Joining
from recado.notifications.repository import REQUESTED
from recado.notifications.schemas import Classification, Request
from recado.notifications.types import NotificationType, add_prefix, asked_of, check_fields, config_of, other_data_of
from recado.telemetry import metrics
from recado.telemetry.steps import so_far
from recado.telemetry.tracing import current_trace_id
from recado.text import clean_text, shorten

log = structlog.get_logger(__name__)

TARGETS = "target_merchant_users"
"""Where a notification's context keeps the types of staff that are asked."""

MAX_IN_INSTRUCTION = 1_000

NO_CAMPAIGN = "its campaign is missing or disabled: run `recado apply`, or enable it"

NOBODY_TO_ASK = {
    "es": "Ahora mismo no puedo comunicarme con nadie del equipo. Tu mensaje queda anotado y sigue pendiente.",
    "en": "I cannot reach anybody of the team right now. Your message is noted and still open.",
    "pt": "No momento não consigo falar com ninguém da equipe. A sua mensagem fica anotada e continua pendente.",
    "fr": "Je n’arrive à joindre personne de l’équipe pour l’instant. Votre message est noté et reste en attente.",
}


@dataclass(frozen=True, slots=True)
class Announced:
    """Who was asked, and where. `problem` says why nobody could be."""

    contact_ids: list[int]
    conversation_ids: list[int]
    problem: str | None = None


class Asking(Classifying, Joining):
    """Puts a customer's question or support request to the staff.

    The steps take the `request` as `load_request` gave it before; without one they read it again.
    """

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
        now = self._clock.now()
        metrics.NOTIFICATIONS.labels(self._merchant_id, str(notification_type)).inc()
        return await self._requests.add(
            conversation_id=conversation_id,
            notification_type=str(notification_type),
            status=REQUESTED,
            context=context,
            answer_model_json_schema=config.answer_schema.model_json_schema(),
            allow_multiple_answers=config.allow_multiple_answers,
            request_key=request_key,
            trace_id=current_trace_id(),
            created_at=now,
            updated_at=now,
        )

    async def create_document(self, key: str, question: str) -> Document:
        """The document that will hold the answer."""
        return await self._documents.ask(key, question)

    async def complete_context(
        self,
        notification_id: int,
        document_id: int | None = None,
        classification: Classification | None = None,
        request: Request | None = None,
    ) -> dict[str, Any]:
        """Add to the context what the templates and the answer need: a document or a classification, and who asks.

        Returns what is in the context now, but for an answer that came meanwhile.
        """
        request = request or await self.load_request(notification_id)
        added: dict[str, Any] = {"lead_phone": request["lead_phone"], "lead_name": request["lead_name"]}
        if document_id is not None:
            added["document_id"] = document_id
        added |= classification or {}
        schema = config_of(request["notification_type"]).context_schema
        context = schema(**request["context"] | added).model_dump()
        await self._requests.add_to_context(notification_id, added, request["context"], updated_at=self._clock.now())
        return context

    async def announce(self, notification_id: int, instruction: str, request: Request | None = None) -> Announced:
        """Ask the staff: an instruction for the agent and a message to the person, in each one's conversation.

        Nobody is asked for what has its answer already.
        """
        request = request or await self.load_request(notification_id)
        context = request["context"]
        merchant, people = await self._recipients.find(request["conversation_id"], _targets(context))
        contact_ids = [contact.id for contact, _ in people]
        # With the messages: an answer may come before the next step, and the closing notices need to know.
        asked = {**context, RECIPIENTS: contact_ids}
        if not await self._requests.change_waiting(notification_id, context=asked, updated_at=self._clock.now()):
            answered = await self._notifications.get(notification_id)
            return Announced(list(answered.context.get(RECIPIENTS, [])), [])
        if not people:
            return self._nobody(notification_id, await self._recipients.why_nobody(request["conversation_id"]))
        if not await self._send(request, merchant, people, instruction):
            await self._requests.change_waiting(notification_id, context={**context, RECIPIENTS: []})
            return self._nobody(notification_id, NO_CAMPAIGN)
        return Announced(contact_ids, [conversation.id for _, conversation in people])

    async def remember_recipients(
        self, notification_id: int, contact_ids: list[int], request: Request | None = None
    ) -> None:
        """Keep who was asked, for the closing notices; the request is complete."""
        request = request or await self.load_request(notification_id)
        now = self._clock.now()
        added = {RECIPIENTS: contact_ids}
        # The last step, so that the steps need no statement of their own.
        done = {"announced_at": now, "updated_at": now, "request_steps": so_far()}
        await self._requests.add_to_context(notification_id, added, request["context"], **done)

    async def tell_nobody_was_asked(self, notification_id: int, conversation_id: int) -> int:
        """Tell the customer honestly that nobody of the team can be asked now. Returns the conversation to nudge."""
        conversation, contact, merchant = await self._conversations.repository.get(conversation_id)
        language = conversation.language or merchant.language
        text = NOBODY_TO_ASK.get(language, NOBODY_TO_ASK["en"])
        reply = Reply(
            key=f"notification:{notification_id}:nobody", text=text, other_data=other_data_of(notification_id)
        )
        await self._conversations.say(conversation, contact, reply)
        return conversation.id

    async def _send(
        self,
        request: Request,
        merchant: Merchant,
        people: list[tuple[Contact, Conversation]],
        instruction: str,
    ) -> bool:
        notification_id = request["notification_id"]
        send = Send(
            key=f"notification:{notification_id}:request",
            values=template_values(request),
            whole=asked_of(request["notification_type"], request["context"]),
            buttons=ANSWER_BUTTON,
            instruction=instruction,
            other_data=other_data_of(notification_id),
        )
        campaign = config_of(request["notification_type"]).requested_campaign
        leads = await self._campaigns.send_service_campaign_messages(campaign, merchant, people, send)
        return leads is not None

    def _nobody(self, notification_id: int, problem: str) -> Announced:
        log.warning("nobody to ask", merchant_id=self._merchant_id, notification_id=notification_id, problem=problem)
        return Announced([], [], problem)


def storable(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context whose texts every database and every phone can take."""
    return {name: clean_text(value) if isinstance(value, str) else value for name, value in context.items()}


def template_values(request: Request) -> dict[str, str]:
    """What a notification's context has for the variables of its templates."""
    values = {name: value for name, value in request["context"].items() if isinstance(value, str)}
    return values | {"notification_id": add_prefix(request["notification_id"])}


def instruction_for(request: Request) -> str:
    """What the staff's agent must know to answer: the id, the context, the schema, how to use the tool."""
    name, context = add_prefix(request["notification_id"]), request["context"]
    asked = json.dumps(shorten(asked_of(request["notification_type"], context), MAX_IN_INSTRUCTION), ensure_ascii=False)
    if request["notification_type"] == NotificationType.user_support_request:
        kind = json.dumps(context.get("support_request_type", ""), ensure_ascii=False)
        about = f"A customer needs help. Type: {kind}. Reason: {asked}. "
    else:
        about = f"A customer's question: {asked}. "
    schema = json.dumps(request["answer_schema"], ensure_ascii=False)
    return (
        f"Notification {name} waits for this person's answer. {about}"
        f"When they answer it, call `answer_notification` with notification_id {name} and an answer_json that matches "
        f"this JSON schema: {schema}"
    )


def _targets(context: Mapping[str, Any]) -> list[str]:
    targets = context.get(TARGETS)
    return [str(name) for name in targets] if isinstance(targets, list) else []
