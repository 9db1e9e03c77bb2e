"""The moments of notifications: being asked, waiting, being answered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recado.agent.protocol import turn_of
from recado.db.models import Message, Notification
from recado.notifications.base import RECIPIENTS
from recado.notifications.types import add_prefix, asked_of, config_of
from recado.stories.gathering import Material
from recado.stories.names import Names, answering, asking, turn_chapter, waiting
from recado.stories.schemas import Moment
from recado.stories.steps import moments_of

ASKERS = {"api": "over the API", "function": "by a program", "studio": "in Studio"}
"""How a notification's key begins that no turn has written."""


class NotificationMoments:
    """Tells of a story's notifications."""

    def __init__(self, material: Material, names: Names) -> None:
        self._material = material
        self._names = names

    def all(self) -> list[Moment]:
        """Of all of them: being asked, waiting, and being answered are chapters."""
        found: list[Moment] = []
        for row in self._material.notifications:
            asked, answered = row.request_steps or [], row.answer_steps or []
            found += self._asked(row, asked)
            if row.status == "answered":
                found += self._answered(row, answered)
        for row in self._material.shown:
            found.append(self._moment(row, row.created_at, asking(row.id), "asked before, for another customer"))
        for row in [*self._material.notifications, *self._material.shown]:
            found += self._followed_up(row)
        for message in self._material.messages:
            if (notification_id := self._names.instructed_about(message)) is not None:
                found.append(self._instruction(message, notification_id))
        return found

    def _asked(self, row: Notification, steps: Sequence[Any]) -> list[Moment]:
        turn_id = turn_of(row.request_key)
        by = f"by {turn_chapter(turn_id)}" if turn_id else ASKERS.get(row.request_key.partition(":")[0], "by a program")
        begun = self._moment(row, row.created_at, asking(row.id), f"{row.notification_type}, asked {by}")
        begun.text = self._names.text(asked_of(row.notification_type, row.context))
        found = [begun]
        ids = {"notification_id": row.id}
        found += moments_of(steps, asking(row.id), ids, since=row.created_at, until=row.announced_at)
        if row.failures:
            at = max(one.at for one in found)
            found.append(self._moment(row, at, asking(row.id), f"a job failed {row.failures} times"))
        if row.announced_at is None:
            found.append(self._moment(row, found[-1].at, asking(row.id), "the staff has not been asked yet"))
        elif row.joined_to_id is not None:
            what = f"joins {add_prefix(row.joined_to_id)}, which asks the same: the staff sees only that one"
            found.append(self._moment(row, row.announced_at, asking(row.id), what))
        else:
            asked = len(row.context.get(RECIPIENTS, []))
            what = f"the staff is asked: {asked} {'person' if asked == 1 else 'people'}" if asked else "nobody to ask"
            found.append(self._moment(row, row.announced_at, asking(row.id), what))
        return found

    def _followed_up(self, row: Notification) -> list[Moment]:
        """What happened while it waited."""
        found = [
            self._moment(row, other.announced_at or other.created_at, waiting(row.id), _joins(other))
            for other in self._material.joined
            if other.joined_to_id == row.id
        ]
        if row.reminded_at is not None:
            found.append(self._moment(row, row.reminded_at, waiting(row.id), "who was asked is reminded"))
        if row.escalated_at is not None:
            what = "all admins are asked, and the customer hears that nobody has replied yet"
            found.append(self._moment(row, row.escalated_at, waiting(row.id), what))
        return found

    def _answered(self, row: Notification, steps: Sequence[Any]) -> list[Moment]:
        turn_id, chapter, ids = turn_of(row.answer_key or ""), answering(row.id), {"notification_id": row.id}
        accepted_at = self._accepted_at(row, turn_id, steps)
        who = self._names.member(row.answered_by)
        came = f" in {turn_chapter(turn_id)}" if turn_id else ""
        accepted = self._moment(row, accepted_at, chapter, f"the answer of {who} is accepted{came}")
        accepted.text = self._names.text(str(row.context.get(config_of(row.notification_type).answered_fields[0], "")))
        found = [accepted, *moments_of(steps, chapter, ids, since=accepted_at, until=row.returned_at)]
        if row.returned_at is not None:
            found.append(self._moment(row, row.returned_at, chapter, "the answer is on its way to the customer"))
        else:
            what = "the answer is not on its way to the customer yet"
            found.append(self._moment(row, max(one.at for one in found), chapter, what))
        return found

    def _accepted_at(self, row: Notification, turn_id: int | None, steps: Sequence[Any]) -> datetime:
        """When an answer was accepted. No row says it, but its turn's tool does, or else its job's first step."""
        turn = next((one for one in self._material.turns if one.id == turn_id), None)
        if turn is not None:
            tools = moments_of(turn.steps or [], "", {}, since=turn.started_at, until=turn.finished_at)
            return next((one.at for one in tools if one.what == "answer_notification"), turn.started_at)
        begun = moments_of(steps, "", {}, since=row.created_at, until=row.returned_at)
        return begun[0].at if begun else min(row.updated_at, row.returned_at or row.updated_at)

    def _instruction(self, message: Message, notification_id: int) -> Moment:
        is_answer = ":answer:" in message.key or ":closure:" in message.key
        chapter = answering(notification_id) if is_answer else asking(notification_id)
        person = self._names.person(message.conversation_id)
        what = f"instruction for the agent of {person}, {len(message.text)} characters"
        ids = {"notification_id": notification_id, "message_id": message.id}
        text = self._names.text(message.text)
        return Moment(at=message.created_at, chapter=chapter, kind="said", what=what, ids=ids, text=text)

    def _moment(self, row: Notification, at: datetime, chapter: str, what: str) -> Moment:
        return Moment(at=at, chapter=chapter, kind="notification", what=what, ids={"notification_id": row.id})


def _joins(other: Notification) -> str:
    return f"{add_prefix(other.id)} joins it: another customer asks the same"
