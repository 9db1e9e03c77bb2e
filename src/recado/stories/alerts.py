"""The moments of alerts: what the team had to know, and where it was told."""

from typing import Any

from recado.alerts.conditions import CONDITIONS
from recado.db.models import AlertOccurrence, Notification
from recado.stories.gathering import Material
from recado.stories.names import Names, answering, asking, turn_chapter, waiting
from recado.stories.repository import Raised
from recado.stories.schemas import Moment


class AlertMoments:
    """Tells of what the team was alerted of."""

    def __init__(self, material: Material, names: Names) -> None:
        self._material = material
        self._names = names

    def all(self) -> list[Moment]:
        """Each where it happened."""
        return [self._alert(one) for one in self._material.raised]

    def _alert(self, raised: Raised) -> Moment:
        occurrence, alert = raised.occurrence, raised.alert
        condition = CONDITIONS.get(occurrence.condition)
        title = condition.title if condition else occurrence.condition
        posts = [one for one in self._material.posts if alert is not None and one.alert_id == alert.id]
        told = [f"{one.channel} {one.state}" for one in posts]
        facts: dict[str, Any] = {
            "condition": occurrence.condition,
            "count": occurrence.count,
            "trace_id": occurrence.trace_id,
            "told": [
                {"channel": one.channel, "kind": one.kind, "state": one.state, "sent_at": one.sent_at} for one in posts
            ],
        }
        if alert is not None and condition is not None and condition.per_merchant:
            facts["count_in_all"] = alert.count  # others' are counted in it where it is the whole system's
        times = facts.get("count_in_all", occurrence.count)
        what = f"{title}: {self._names.masked(occurrence.description)} ({times} {'time' if times == 1 else 'times'}; "
        what += f"told: {', '.join(told)})" if told else "told nowhere)" if alert else "not told yet)"
        issue, links = raised.issue, {}
        if issue is not None and issue.url:
            links["issue"] = issue.url
        ids = {name: value for name, value in occurrence.context.items() if isinstance(value, int)}
        return Moment(
            at=occurrence.at,
            chapter=self._chapter(occurrence),
            kind="alert",
            what=what,
            failed=True,
            ids=ids,
            facts=facts,
            links=links,
        )

    def _chapter(self, occurrence: AlertOccurrence) -> str:
        """Where it happened: the narrowest of what it names."""
        context, material = occurrence.context, self._material
        by_delivery = {one.id: one.message_id for one in material.deliveries}
        by_event = {one.id: one.message_id for one in material.events}
        message_id = by_delivery.get(context.get("delivery_id", 0)) or context.get("message_id")
        message_id = message_id or by_event.get(context.get("event_id", 0))
        message = next((one for one in material.messages if one.id == message_id), None)
        if message is not None and self._names.instructed_about(message) is None:
            return self._names.chapter(message)
        known = [*material.notifications, *material.shown]
        about = next((row for row in known if row.id == context.get("notification_id")), None)
        if about is not None:
            return _of_notification(about, occurrence)
        if any(one.id == context.get("turn_id") for one in material.turns):
            return turn_chapter(context["turn_id"])
        return self._names.chapter(material.root)


def _of_notification(row: Notification, occurrence: AlertOccurrence) -> str:
    if occurrence.condition == "sla_breached":
        return waiting(row.id)
    was_asked = row.announced_at is not None and occurrence.at > row.announced_at
    return answering(row.id) if was_asked and row.status == "answered" else asking(row.id)
