"""The sweep: rows are the truth, so whatever nudge was lost is made again from them."""

from datetime import timedelta

from recado.clock import Clock
from recado.conversations.repository import conversations_with_due_deliveries
from recado.db.engine import Database
from recado.jobs.nudges import Nudges
from recado.notifications.patience import notifications_to_follow_up
from recado.notifications.repository import ANSWERED, unfinished_notifications
from recado.turns.repository import conversations_with_work, count_received, senders_to_route

LIMIT = 500
"""How many of each kind one sweep nudges; the next one follows in seconds."""
NOTIFICATION_GRACE = timedelta(seconds=20)
"""A notification's own job gets this long before the sweep joins in."""


async def sweep(database: Database, clock: Clock, nudges: Nudges, *, at_start: bool = False) -> None:
    """Nudge everything that has work left, from the inbox to notifications; and what has waited too long.

    `at_start`: a process begins, and the jobs of the one before it may have died with that.
    """
    now = clock.now()
    untouched_since = now if at_start else now - NOTIFICATION_GRACE
    async with database.read() as session:
        received = await count_received(session)
        routing = await senders_to_route(session, now, LIMIT)
        talking = await conversations_with_work(session, LIMIT)
        sending = await conversations_with_due_deliveries(session, now, LIMIT)
        unfinished = await unfinished_notifications(session, untouched_since, LIMIT)
        overdue = await notifications_to_follow_up(session, now, LIMIT)
    if received:
        await nudges.ingest()
    for event_id, sender in routing:
        await nudges.route(event_id, sender.key)
    for conversation_id, merchant_id in talking:
        await nudges.turn(conversation_id, merchant_id)
    for conversation_id, merchant_id in sending:
        await nudges.deliver(conversation_id, merchant_id)
    for notification in unfinished:
        if notification.announced_at is None:
            await nudges.request_notification(notification.id, notification.merchant_id)
        if notification.status == ANSWERED and notification.returned_at is None:
            await nudges.answer_notification(notification.id, notification.merchant_id)
    for notification_id, merchant_id in overdue:
        await nudges.follow_up(notification_id, merchant_id)
