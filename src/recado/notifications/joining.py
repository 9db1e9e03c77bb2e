"""One answer for everyone who asked the same."""

from dataclasses import dataclass

from recado.db.models import Notification
from recado.notifications.base import NotificationBase
from recado.notifications.repository import ANSWERED, REQUESTED
from recado.notifications.schemas import OpenQuestion, Request, SameQuestionOutput
from recado.notifications.types import add_prefix, asked_of, config_of, read_prefixed
from recado.telemetry.steps import so_far
from recado.text import comparable, shorten

TASK = "same_question"
SHOWN_QUESTIONS = 20
"""How many of the newest open questions the model compares with."""
MAX_QUESTION = 500


@dataclass(frozen=True, slots=True)
class Earlier:
    """What waits already: the notification that has the same text, or else those that the model has to compare."""

    same_text: int | None
    to_compare: list[OpenQuestion]


@dataclass(frozen=True, slots=True)
class Joined:
    """`root`: the notification that is answered for both; None when there was nothing to join. `closed`: those that
    have their answer by that, which the caller nudges."""

    root: int | None
    closed: list[Notification]


class Joining(NotificationBase):
    """Joins a question to an open one that asks the same, and closes it with that."""

    async def earlier_questions(self, request: Request) -> Earlier:
        """What other customers, or this one, asked before and nobody has answered yet."""
        earlier = await self._requests.open_before(request["notification_id"], request["notification_type"])
        wanted = comparable(asked_of(request["notification_type"], request["context"]))
        # The oldest of them: newer ones with this text are about to join it, too.
        same = [found_id for found_id, question in reversed(earlier) if wanted and comparable(question) == wanted]
        shown = [
            OpenQuestion(notification_id=found_id, question=shorten(question, MAX_QUESTION))
            for found_id, question in earlier[:SHOWN_QUESTIONS]
        ]
        return Earlier(same[0] if same else None, [] if same else shown)

    async def join(self, notification_id: int, target_id: int, request: Request | None = None) -> Joined:
        """Let an open question be answered with the one that asks the same: the staff is not asked again.

        Only ever joins an older one, so that no two wait for each other, and nothing when this one has its answer
        already. When the older one has been answered meanwhile, this one is closed at once. A customer who asks again
        joins their own question, and closing sees to it that they hear the answer once. Raises NotificationNotFound
        or ConversationNotFound.
        """
        request = request or await self.load_request(notification_id)
        root = await self._notifications.root_of(target_id)
        if root.id >= notification_id:
            return Joined(None, [])
        now = self._clock.now()
        lead = {"lead_phone": request["lead_phone"], "lead_name": request["lead_name"]}
        values = {"joined_to_id": root.id, "announced_at": now, "updated_at": now, "request_steps": so_far()}
        values["context"] = {**request["context"], **lead}
        if not await self._requests.change_waiting(notification_id, **values):
            return Joined(None, [])
        await self._requests.move_joined(notification_id, root.id, now)
        return Joined(root.id, [] if root.status == REQUESTED else await self.close_joined(root))

    async def close_joined(self, root: Notification) -> list[Notification]:
        """Give the answer of `root` to those that had joined it and wait. Returns them.

        One conversation gets one answer: of its further notifications nothing is left to take back.
        """
        now = self._clock.now()
        fields = config_of(root.notification_type).answered_fields
        answer = {name: root.context[name] for name in fields if name in root.context}
        joined = await self._notifications.joined(root.id, to_change=True)
        waiting = [row for row in joined if row.answer_key != root.answer_key]
        told = {root.conversation_id} | {row.conversation_id for row in joined if row not in waiting}
        for row in waiting:
            row.context, row.status, row.updated_at = row.context | answer, ANSWERED, now
            row.answer_key, row.answered_by = root.answer_key, root.answered_by
            row.answer_trace_id = root.answer_trace_id
            row.returned_at = now if row.conversation_id in told else None
            told.add(row.conversation_id)
        await self._session.flush()
        return waiting


def same_question(said: SameQuestionOutput, shown: list[OpenQuestion]) -> int | None:
    """The open question that the model named, when it is one of those that it was shown."""
    named = read_prefixed(said.notification_id or "")
    return next((found["notification_id"] for found in shown if named == [found["notification_id"]]), None)


def for_the_model(shown: list[OpenQuestion]) -> list[dict[str, str]]:
    """Open questions as the prompt lists them."""
    return [{"notification_id": add_prefix(found["notification_id"]), "question": found["question"]} for found in shown]
