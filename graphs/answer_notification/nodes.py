"""The steps of taking an answer back. Each reads the state, makes one service call and returns what it changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from graphs.answer_notification.state import AnswerState
from recado.agent.models import Models
from recado.clock import Clock
from recado.conversations.window import is_open
from recado.db.engine import Database
from recado.errors import InvalidInput, ModelError
from recado.jobs.nudges import Nudges
from recado.notifications.repository import merchant_of
from recado.notifications.schemas import AnswerContext, LocalizedResponse
from recado.notifications.service import NotificationService
from recado.notifications.types import NotificationType
from recado.prompts import Prompt, render
from recado.text import clean_text, is_blank

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
        if "answer" not in state and "merchant_id" in state:
            return {}
        async with self.database.transaction() as session:
            merchant_id = state.get("merchant_id") or await merchant_of(session, state["notification_id"])
            closed = []
            if "answer" in state:
                key = state.get("run_key") or f"studio:{uuid4().hex}"
                service = NotificationService(session, merchant_id, self.clock)
                closed = await service.accept(state["notification_id"], state["answer"], key, None)
        for notification in closed:
            if notification.id != state["notification_id"]:
                await self.nudges.answer_notification(notification.id, merchant_id)
        return {"merchant_id": merchant_id, "context": None}

    async def load(self, state: AnswerState) -> dict[str, Any]:
        """The notification, the conversation, the merchant and the person."""
        if state.get("context"):
            return {}
        async with self.database.read() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            return {"context": await service.load_answer(state["notification_id"])}

    async def update_document(self, state: AnswerState) -> dict[str, Any]:
        """The answer goes into the question's document, and answers the next customer."""
        async with self.database.transaction() as session:
            await self._service(session, state).learn(_context(state))
        return {}

    async def check_window(self, state: AnswerState) -> dict[str, Any]:
        """WhatsApp's 24-hour rule: a natural reply, or a template. The outbox looks again when it sends."""
        written = _context(state)["last_inbound_at"]
        return {"window_open": is_open(datetime.fromisoformat(written) if written else None, self.clock.now())}

    async def write_reply(self, state: AnswerState) -> dict[str, Any]:
        """Inside the window: one call that takes the answer into the conversation, in its language."""
        context = _context(state)
        async with self.database.read() as session:
            said = await self._service(session, state).history(context, self.history_window)
        prompt = _prompt("reply", context, merchant=context["merchant"], summary=context["summary"])
        text = ""
        try:
            answer = await self.models.chat("reply", [{"role": "system", "content": prompt.text}, *said])
            text = clean_text(answer["content"]).strip()
        except ModelError as error:
            log.warning("the answer goes in the team's own words", error=str(error))
        written = {"text": context["answer"], "prompt": None} if is_blank(text) else {"text": text, "prompt": prompt.id}
        return {**written, "fragment": None}

    async def localise(self, state: AnswerState) -> dict[str, Any]:
        """Outside the window: one call that puts the answer into the customer's language, for the template."""
        context = _context(state)
        prompt = _prompt("localise", context)
        message = {"role": "system", "content": prompt.text}
        text = fragment = ""
        try:
            localised = await self.models.structured("localise", [message], LocalizedResponse)
            text = clean_text(localised.full_sentence).strip()
            fragment = clean_text(localised.continuation_fragment).strip()
        except ModelError as error:
            log.warning("the answer goes in the team's own words", error=str(error))
        if is_blank(text):
            return {"text": context["answer"], "fragment": context["answer"], "prompt": None}
        return {"text": text, "fragment": None if is_blank(fragment) else fragment, "prompt": prompt.id}

    async def send_answer(self, state: AnswerState) -> dict[str, Any]:
        """The answer goes to the customer."""
        async with self.database.transaction() as session:
            conversation_id = await self._service(session, state).answer_customer(
                _context(state), state["text"], state["fragment"], state["prompt"]
            )
        await self.nudges.deliver(conversation_id, state["merchant_id"])
        return {}

    async def notify_others(self, state: AnswerState) -> dict[str, Any]:
        """The other staff who were asked hear that it is closed."""
        async with self.database.transaction() as session:
            told = await self._service(session, state).notify_others(_context(state))
        for conversation_id in told:
            await self.nudges.deliver(conversation_id, state["merchant_id"])
        return {"closed_conversation_ids": told}

    async def mark_answered(self, state: AnswerState) -> dict[str, Any]:
        """Nothing is left to do."""
        async with self.database.transaction() as session:
            await self._service(session, state).finish(_context(state))
        return {}

    # Routers

    def by_work(self, state: AnswerState) -> Literal["update_document", "end"]:
        """Nothing is left where the conversation hears this answer with another notification."""
        return "end" if _context(state)["returned"] else "update_document"

    def by_window(self, state: AnswerState) -> Literal["write_reply", "localise"]:
        """A natural reply while the window is open, a template otherwise."""
        return "write_reply" if state["window_open"] else "localise"

    def _service(self, session: AsyncSession, state: AnswerState) -> NotificationService:
        return NotificationService(session, state["merchant_id"], self.clock)


def _context(state: AnswerState) -> AnswerContext:
    context = state["context"]
    if context is None:
        raise InvalidInput("the step before, `load`, has not run")
    return context


def _prompt(task: str, context: AnswerContext, **more: str) -> Prompt:
    return render(
        task,
        is_support=context["notification_type"] == NotificationType.user_support_request,
        person_name=context["person_name"],
        language=context["language"],
        asked=context["asked"],
        answer=context["answer"],
        **more,
    )
