"""How a message stands now, in a line."""

from recado.db.models import Delivery, Notification, Turn
from recado.notifications.base import RECIPIENTS
from recado.notifications.types import add_prefix
from recado.stories.gathering import Material
from recado.stories.names import Names, milliseconds, turn_chapter


def outcome_of(material: Material, names: Names) -> str:
    """What became of the message that is asked about."""
    focus = material.focus
    if focus.role == "assistant":
        return "only the agent reads it"
    if focus.role != "user":
        return _sent([one for one in material.deliveries if one.message_id == focus.id])
    turn = next((one for one in material.turns if one.id == focus.turn_id), None)
    parts = [f"dealt with as {focus.other_data['handled']} when it came"] if "handled" in focus.other_data else []
    if not parts:
        parts.append(_answered(turn, material) if turn is not None else "no turn has taken it yet")
    return "; ".join([*parts, *(_asked(row, names) for row in material.notifications)])


def _answered(turn: Turn, material: Material) -> str:
    if turn.state == "running":
        tried = f", after {turn.failures} failures" if turn.failures else ""
        return f"{turn_chapter(turn.id)} is at work on it{tried}"
    if turn.state == "failed":
        return f"{turn_chapter(turn.id)} failed for good, and the person was told so"
    said = [one for one in material.messages if one.turn_id == turn.id and one.role == "response"]
    if not said:
        return f"{turn_chapter(turn.id)} had nothing to say"
    took = milliseconds(material.focus.created_at, turn.finished_at)
    after = f" after {took / 1e3:,.1f} s" if took is not None else ""
    return f"{turn_chapter(turn.id)} answered{after}"


def _asked(row: Notification, names: Names) -> str:
    name = add_prefix(row.id)
    if row.status != "answered" and row.announced_at and not row.joined_to_id and not row.context.get(RECIPIENTS):
        return f"nobody could be asked about {name}"
    if row.status != "answered":
        return f"{name} waits for the staff" if row.announced_at is not None else f"{name} is being asked"
    on_its_way = "taken to the customer" if row.returned_at is not None else "not taken to the customer yet"
    return f"{name}: the answer of {names.member(row.answered_by)} is {on_its_way}"


def _sent(deliveries: list[Delivery]) -> str:
    if not deliveries:
        return "nothing of it is sent"
    states = list(dict.fromkeys(one.state for one in deliveries))
    if len(states) == 1:
        return f"it is {states[0]}"
    return "its parts are " + ", ".join(f"{one.part + 1}: {one.state}" for one in deliveries)
