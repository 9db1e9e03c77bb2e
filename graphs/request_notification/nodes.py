"""The steps of asking the staff. Each reads the state, makes one service call and returns what it changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast
from uuid import uuid4

import structlog

from graphs.request_notification.state import RequestState
from recado.agent.models import Models
from recado.alerts.raising import Alarm, Alerts
from recado.clock import Clock
from recado.conversations.repository import merchant_of
from recado.db.engine import Database
from recado.errors import InvalidInput, ModelError
from recado.jobs.nudges import Nudges
from recado.notifications import classification, joining
from recado.notifications.asking import instruction_for
from recado.notifications.schemas import Request, SameQuestionOutput, SupportClassificationOutput
from recado.notifications.service import NotificationService
from recado.notifications.types import NotificationType, asked_of
from recado.prompts import render
from recado.text import shorten

log = structlog.get_logger(__name__)

EXAMPLE = 'give {"notification_type": "user_question_request", "conversation_id": 1, "context": {"question": "…"}}'
MAX_CHARACTERS = 4_000
"""How much of what a customer asks the model reads."""


@dataclass(frozen=True, slots=True)
class RequestNodes:
    """The services that the steps call."""

    database: Database
    clock: Clock
    models: Models
    nudges: Nudges
    alerts: Alerts

    async def validate(self, state: RequestState) -> dict[str, Any]:
        """The type exists, its fields are there, the conversation exists; the request is on record."""
        if "answer_schema" in state:
            return {}  # the job has read all of it
        async with self.database.transaction() as session:
            if "notification_id" in state:
                service = NotificationService(session, state["merchant_id"], self.clock)
                notification_id = state["notification_id"]
            else:
                if not {"notification_type", "conversation_id", "context"} <= state.keys():
                    raise InvalidInput(EXAMPLE)
                merchant_id = await merchant_of(session, state["conversation_id"])
                service = NotificationService(session, merchant_id, self.clock)
                notification = await service.request(
                    state["notification_type"],
                    state["conversation_id"],
                    state["context"],
                    request_key=state.get("run_key") or f"studio:{uuid4().hex}",
                )
                notification_id = notification.id
            return dict(await service.load_request(notification_id))

    async def find_same(self, state: RequestState) -> dict[str, Any]:
        """Whether an open question asks the same: by its text, else the model says so. At most one call of it."""
        async with self.database.read() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            earlier = await service.earlier_questions(_request(state))
        same_as = earlier.same_text
        if earlier.to_compare:
            prompt = render(
                joining.TASK,
                question=_asked(state),
                open_questions=joining.for_the_model(earlier.to_compare),
            )
            messages = [{"role": "system", "content": prompt.text}]
            try:
                said = await self.models.structured(joining.TASK, messages, SameQuestionOutput)
                same_as = joining.same_question(said, earlier.to_compare)
            except ModelError as error:  # then the staff is asked twice, which is better than not at all
                log.warning("open questions were not compared", **_ids(state), error=str(error))
        return {"to_compare": earlier.to_compare, "same_as": same_as}

    async def join(self, state: RequestState) -> dict[str, Any]:
        """The open question is answered for this customer, too."""
        async with self._service(state) as service:
            joined = await service.join(state["notification_id"], state["same_as"] or 0, _request(state))
        for closed in joined.closed:
            await self.nudges.answer_notification(closed.id, closed.merchant_id)
        return {"joined_to_id": joined.root}

    async def create_document(self, state: RequestState) -> dict[str, Any]:
        """The document that will hold the answer, with the question as its title."""
        async with self._service(state) as service:
            key = f"notification:{state['notification_id']}"
            document = await service.create_document(key, str(state["context"]["question"]))
        return {"document_id": document.id}

    async def classify(self, state: RequestState) -> dict[str, Any]:
        """Whose business it is, by the merchant's documents. At most one call of the model.

        When that fails the base classification holds, as without documents: an outage must not keep a customer
        waiting, the admins are those who can pass it on, and waking the whole staff for it would help nobody. It is
        not kept, so that the same reason is classified the next time.
        """
        async with self.database.read() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            asked = await service.to_classify(_asked(state))
        if asked.known is not None:
            return {"classification": asked.known}
        prompt = render(classification.TASK, reason=_asked(state), classifications=asked.classifications)
        messages = [{"role": "system", "content": prompt.text}]
        try:
            said = await self.models.structured(classification.TASK, messages, SupportClassificationOutput)
        except ModelError as error:
            log.warning("a support request was not classified", **_ids(state), error=str(error))
            return {"classification": classification.BASE_CLASSIFICATION}
        async with self._service(state) as service:
            return {"classification": await service.keep_classification(asked, said)}

    async def complete_record(self, state: RequestState) -> dict[str, Any]:
        """The context gets what templates and answer need."""
        async with self._service(state) as service:
            context = await service.complete_context(
                state["notification_id"], state.get("document_id"), state.get("classification"), _request(state)
            )
        return {"context": context}

    async def write_instruction(self, state: RequestState) -> dict[str, Any]:
        """What the staff's agent must know to answer."""
        return {"instruction": instruction_for(_request(state))}

    async def send_campaign(self, state: RequestState) -> dict[str, Any]:
        """The question goes to the staff, the instruction into each one's conversation."""
        async with self._service(state) as service:
            asked = await service.announce(state["notification_id"], state["instruction"], _request(state))
        for conversation_id in asked.conversation_ids:
            await self.nudges.deliver(conversation_id, state["merchant_id"])
        return {
            "contact_ids": asked.contact_ids,
            "asked_conversation_ids": asked.conversation_ids,
            "problem": asked.problem,
        }

    async def tell_customer(self, state: RequestState) -> dict[str, Any]:
        """Nobody can be asked: the customer hears the truth, and the operator what to mend. It stays open."""
        async with self._service(state) as service:
            await service.tell_nobody_was_asked(state["notification_id"], state["conversation_id"])
        await self.nudges.deliver(state["conversation_id"], state["merchant_id"])
        await self.alerts.send(Alarm("nobody_to_ask", str(state["problem"]), _ids(state)))
        return {}

    async def persist_recipients(self, state: RequestState) -> dict[str, Any]:
        """Who was asked is kept, for the closing notices."""
        async with self._service(state) as service:
            await service.remember_recipients(state["notification_id"], state["contact_ids"], _request(state))
        return {}

    # Routers

    def by_type(self, state: RequestState) -> Literal["question", "support"]:
        """Questions become documents, support requests are classified."""
        return "support" if state["notification_type"] == NotificationType.user_support_request else "question"

    def by_same(self, state: RequestState) -> Literal["join", "ask"]:
        """What is asked already need not be asked again."""
        return "join" if state["same_as"] is not None else "ask"

    def by_joined(self, state: RequestState) -> Literal["joined", "ask"]:
        """There may have been nothing left to join."""
        return "joined" if state["joined_to_id"] is not None else "ask"

    def by_recipients(self, state: RequestState) -> Literal["asked", "nobody"]:
        """Whether somebody could be asked."""
        return "asked" if state["problem"] is None else "nobody"

    @asynccontextmanager
    async def _service(self, state: RequestState) -> AsyncIterator[NotificationService]:
        async with self.database.transaction() as session:
            yield NotificationService(session, state["merchant_id"], self.clock)


def _request(state: RequestState) -> Request:
    return cast(Request, {name: state[name] for name in Request.__annotations__})  # type: ignore[literal-required]


def _asked(state: RequestState) -> str:
    return shorten(asked_of(state["notification_type"], state["context"]), MAX_CHARACTERS)


def _ids(state: RequestState) -> dict[str, Any]:
    return {"merchant_id": state["merchant_id"], "notification_id": state["notification_id"]}
