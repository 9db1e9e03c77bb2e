"""The moments of turns."""

from recado.db.models import Turn
from recado.stories.gathering import Material
from recado.stories.names import Names, milliseconds, turn_chapter
from recado.stories.schemas import Moment
from recado.stories.steps import moments_of


class TurnMoments:
    """Tells of a story's turns."""

    def __init__(self, material: Material, names: Names) -> None:
        self._material = material
        self._names = names

    def all(self) -> list[Moment]:
        """Of all of them, each in a chapter of its own."""
        return [moment for turn in self._material.turns for moment in self._turn(turn)]

    def _turn(self, turn: Turn) -> list[Moment]:
        answers = [str(one.id) for one in self._material.messages if one.turn_id == turn.id and one.role == "user"]
        what = "begins, to answer message" + ("s " if len(answers) > 1 else " ") + ", ".join(answers)
        chapter, ids = turn_chapter(turn.id), {"turn_id": turn.id, "conversation_id": turn.conversation_id}
        begun = Moment(at=turn.started_at, chapter=chapter, kind="turn", what=what, ids=ids)
        steps = moments_of(turn.steps or [], chapter, ids, since=turn.started_at, until=turn.finished_at)
        at = turn.finished_at or max((one.at for one in steps), default=turn.started_at)
        how, facts = self._ended(turn), {"state": turn.state, "draft": turn.draft, "failures": turn.failures}
        took = milliseconds(turn.started_at, turn.finished_at)
        ended = Moment(at=at, chapter=chapter, kind="turn", what=how, ids=ids, facts=facts, ms=took)
        ended.failed = turn.state == "failed"
        return [begun, *steps, ended]

    def _ended(self, turn: Turn) -> str:
        """How it stands now."""
        drafts = f"draft {turn.draft}: newer messages came" if turn.draft > 1 else f"draft {turn.draft}"
        failures = f"{turn.failures} failures" if turn.failures != 1 else "1 failure"
        error = f": {self._names.masked(turn.error)}" if turn.error else ""
        if turn.state == "failed":
            return f"failed for good, {drafts}, {failures}{error}"
        if turn.state == "done":
            return f"done, {drafts}" + (f", after {failures}{error}" if turn.failures else "")
        if turn.failures and turn.claimed_by is None:
            return f"is tried again from {turn.claimed_until:%H:%M:%S} UTC on, after {failures}{error}"
        return f"at work, {drafts}" + (f", after {failures}{error}" if turn.failures else "")
