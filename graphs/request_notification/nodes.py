"""The steps of asking the staff. Each reads the state, makes one service call and returns what it changed."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from graphs.request_notification.state import RequestState
from recado.alerts.service import Alerts
from recado.clock import Clock
from recado.conversations.repository import merchant_of
from recado.db.engine import Database
from recado.errors import InvalidInput
from recado.jobs.nudges import Nudges
from recado.notifications.asking import instruction_for
from recado.notifications.service import NotificationService

EXAMPLE = 'give {"notification_type": "user_question_request", "conversation_id": 1, "context": {"question": "…"}}'


@dataclass(frozen=True, slots=True)
class RequestNodes:
    """The services that the steps call."""

    database: Database
    clock: Clock
    nudges: Nudges
    alerts: Alerts

    async def validate(self, state: RequestState) -> dict[str, Any]:
        """The type exists, its fields are there, the conversation exists; the request is on record."""
        async with self.database.transaction() as session:
            if "notification_id" in state:
                service = NotificationService(session, state["merchant_id"], self.clock)
                notification = await service.get(state["notification_id"])
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
        return {
            "notification_id": notification.id,
            "merchant_id": notification.merchant_id,
            "notification_type": notification.notification_type,
            "conversation_id": notification.conversation_id,
            "context": notification.context,
            "answer_schema": notification.answer_model_json_schema,
        }

    async def create_document(self, state: RequestState) -> dict[str, Any]:
        """The document that will hold the answer, with the question as its title."""
        async with self.database.transaction() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            key = f"notification:{state['notification_id']}"
            document = await service.create_document(key, str(state["context"]["question"]))
        return {"document_id": document.id}

    async def complete_record(self, state: RequestState) -> dict[str, Any]:
        """The context gets what templates and answer need."""
        async with self.database.transaction() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            context = await service.complete_context(state["notification_id"], state["document_id"])
        return {"context": context}

    async def write_instruction(self, state: RequestState) -> dict[str, Any]:
        """What the staff's agent must know to answer."""
        instruction = instruction_for(state["notification_id"], state["context"], state["answer_schema"])
        return {"instruction": instruction}

    async def send_campaign(self, state: RequestState) -> dict[str, Any]:
        """The question goes to the staff, the instruction into each one's conversation."""
        async with self.database.transaction() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            contacts, conversations = await service.announce(state["notification_id"], state["instruction"])
        for conversation_id in conversations:
            await self.nudges.deliver(conversation_id, state["merchant_id"])
        if not contacts:
            await self.alerts.send(
                "nobody to ask",
                "the merchant has no staff: add some to its YAML and run `recado apply`",
                merchant_id=state["merchant_id"],
                notification_id=state["notification_id"],
            )
        return {"contact_ids": contacts, "asked_conversation_ids": conversations}

    async def persist_recipients(self, state: RequestState) -> dict[str, Any]:
        """Who was asked is kept, for the closing notices."""
        async with self.database.transaction() as session:
            service = NotificationService(session, state["merchant_id"], self.clock)
            await service.remember_recipients(state["notification_id"], state["contact_ids"])
        return {}
