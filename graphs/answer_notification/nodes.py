"""The steps of taking an answer back. Each reads the state, makes one service call and returns what it changed."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import structlog

from graphs.answer_notification.state import AnswerState
from recado.agent.models import Models
from recado.clock import Clock
from recado.conversations.repository import ConversationRepository
from recado.conversations.window import is_open
from recado.db.engine import Database
from recado.errors import InvalidInput, ModelError
from recado.jobs.nudges import Nudges
from recado.notifications.answering import load_answer
from recado.notifications.repository import merchant_of
from recado.notifications.schemas import LocalizedResponse
from recado.notifications.service import NotificationService
from recado.prompts import Prompt, render
from recado.text import clean_text

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AnswerNodes:
    """The services that the steps call. `history_window`: how many messages the reply is written from."""

    database: Database
    clock: Clock
    models: Models
    nudges: Nudges
    history_window: int

    async def validate(self, state: AnswerState) -> dict[str, Any]:
        """The notification exists and its answer is valid and the first; it is on record."""
        if "notification_id" not in state:
            raise InvalidInput('give {"notification_id": 1, "answer": {"answer": "…"}}')
        async with self.database.transaction() as session:
            merchant_id = state.get("merchant_id") or await merchant_of(session, state["notification_id"])
            if "answer" in state:
                key = state.get("run_key") or f"studio:{uuid4().hex}"
                service = NotificationService(session, merchant_id, self.clock)
                await service.accept(state["notification_id"], state["answer"], key, None)
        return {"merchant_id": merchant_id}

    async def load(self, state: AnswerState) -> dict[str, Any]:
        """The notification, the conversation, the merchant and the person."""
        async with self.database.read() as session:
            context = await load_answer(session, state["merchant_id"], state["notification_id"], self.history_window)
        return {"context": context}

    async def update_document(self, state: AnswerState) -> dict[str, Any]:
        """The answer goes into the question's document, and answers the next customer."""
        async with self.database.transaction() as session:
            await NotificationService(session, state["merchant_id"], self.clock).learn(state["notification_id"])
        return {}

    async def check_window(self, state: AnswerState) -> dict[str, Any]:
        """WhatsApp's 24-hour rule: a natural reply, or a template."""
        async with self.database.read() as session:
            repository = ConversationRepository(session, state["merchant_id"])
            conversation, _, _ = await repository.get(state["context"]["conversation_id"])
        return {"window_open": is_open(conversation.last_inbound_at, self.clock.now())}

    async def write_reply(self, state: AnswerState) -> dict[str, Any]:
        """Inside the window: one call that takes the answer into the conversation, in its language."""
        context = state["context"]
        prompt = _prompt("reply", state)
        messages = [{"role": line["role"], "content": line["text"]} for line in context["history"]]
        text = ""
        try:
            answer = await self.models.chat("reply", [{"role": "system", "content": prompt.text}, *messages])
            text = clean_text(answer["content"])
        except ModelError as error:
            log.warning("the answer goes in the team's own words", error=str(error))
        text = text or context["answer"]
        return {"text": text, "template_answer": text, "prompt": prompt.id}

    async def localise(self, state: AnswerState) -> dict[str, Any]:
        """Outside the window: one call that puts the answer into the customer's language, for the template."""
        prompt = _prompt("localise", state)
        answer = ""
        try:
            localised = await self.models.structured(
                "localise", [{"role": "system", "content": prompt.text}], LocalizedResponse
            )
            answer = clean_text(localised.full_sentence)
        except ModelError as error:
            log.warning("the answer goes in the team's own words", error=str(error))
        return {"text": None, "template_answer": answer or state["context"]["answer"], "prompt": prompt.id}

    async def send_answer(self, state: AnswerState) -> dict[str, Any]:
        """The answer goes to the customer."""
        async with self.database.transaction() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            conversation_id, _ = await service.answer_customer(
                state["notification_id"], state["text"], state["template_answer"], state["prompt"]
            )
        await self.nudges.deliver(conversation_id, state["merchant_id"])
        return {"conversation_id": conversation_id}

    async def notify_others(self, state: AnswerState) -> dict[str, Any]:
        """The other staff who were asked hear that it is closed."""
        async with self.database.transaction() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            told = await service.notify_others(state["notification_id"])
        for conversation_id in told:
            await self.nudges.deliver(conversation_id, state["merchant_id"])
        return {"closed_conversation_ids": told}

    async def mark_answered(self, state: AnswerState) -> dict[str, Any]:
        """Nothing is left to do."""
        async with self.database.transaction() as session:
            await NotificationService(session, state["merchant_id"], self.clock).finish(state["notification_id"])
        return {}

    # Routers

    def by_window(self, state: AnswerState) -> Literal["write_reply", "localise"]:
        """A natural reply while the window is open, a template otherwise."""
        return "write_reply" if state["window_open"] else "localise"


def _prompt(task: str, state: AnswerState) -> Prompt:
    context = state["context"]
    known = {
        "person_name": context["person_name"],
        "language": context["language"],
        "answer": context["answer"],
    }
    if task == "reply":
        known |= {"merchant": context["merchant"], "summary": context["summary"]}
    return render(task, question=context["question"], **known)
