"""Which delivery is next, whether it may go, and how: decided in the transaction that claims it."""

from datetime import datetime, timedelta
from typing import Any, cast

from recado.alerts.raising import Alarm
from recado.channels.base import OutboundMedia, OutboundMessage
from recado.channels.rules import RULES
from recado.conversations import window
from recado.conversations.failing import GIVEN_UP, Claim, context_of
from recado.conversations.limit_repository import LimitRepository
from recado.conversations.pacing import LATE, Pacing
from recado.conversations.repository import ConversationRepository, NextDelivery
from recado.conversations.service import read_template
from recado.conversations.statuses import announces
from recado.db.models import Delivery
from recado.telemetry import metrics

CLAIM = timedelta(seconds=60)
"""How long another process's claim is respected: longer than any provider call takes."""

COVERED = "covered_by_template"
"""The code of a part of a text that is not sent because the whole went as one template."""
CLOSED = "window_closed"
OPTED_OUT = "opted_out"
DAILY_CAP = "daily_cap"
"""The code of what waits because too many new people were written to within 24 hours."""

ANSWERS = frozenset({"merchant_user_question_answer", "customer_support_response", "customer_answer_ready"})
"""The templates of what a person asked for. They may be sent to who wants no marketing; every other may not."""

CLOSED_REASON = "the 24-hour window is closed and there is no template for this"


class Claimer:
    """Looks for deliveries to claim, within one transaction. `alarms` are to be raised within it."""

    def __init__(self, repository: ConversationRepository, now: datetime, process_id: str, *, alone: bool) -> None:
        self._repository = repository
        self._limits = LimitRepository(repository.session)
        self._now = now
        self._process_id = process_id
        self._alone = alone
        self.alarms: list[Alarm] = []

    async def next(self, conversation_id: int) -> Claim | datetime | None:
        """The next delivery that is due, made ours; or when the next one is. None: there is none, or another process
        has it.
        """
        while (found := await self._repository.next_delivery(conversation_id)) is not None:
            delivery = found.delivery
            if self._is_taken(delivery):
                return None
            if delivery.due_at > self._now and not self._is_free_now(found):
                return delivery.due_at
            first = await self._repository.first_part(delivery.message_id) if delivery.part else delivery
            # One with a claim and no outcome the provider may have already: that is found out first.
            if delivery.state == "sending":
                return self._take(found, first, cast(window.Way, delivery.sent_as or "text"))
            if not (
                await self._unwanted(found, first) or await self._set_aside(found, first) or self._covered(found, first)
            ):
                way = self._way(found)
                if way is None:
                    await self._closed(found)
                elif (due_at := await self._wait(found, way)) is not None:
                    return due_at
                else:
                    return self._take(found, first, way)
            await self._repository.session.flush()
        return None

    def _is_taken(self, delivery: Delivery) -> bool:
        if delivery.state != "sending" or self._alone or delivery.claimed_by in {None, self._process_id}:
            return False
        return delivery.due_at > self._now - CLAIM

    def _is_free_now(self, found: NextDelivery) -> bool:
        """Whether it waits for nothing but the daily cap, which does not count once the person has written."""
        is_open = window.is_open(found.conversation.last_inbound_at, self._now)
        return is_open and found.delivery.state == "pending" and found.delivery.provider_code == DAILY_CAP

    async def _set_aside(self, found: NextDelivery, first: Delivery) -> bool:
        """Whether this delivery is not to be sent now: an announcement that nobody needs, or a text that has to wait
        until the person opens the window."""
        delivery, now, repository = found.delivery, self._now, self._repository
        is_open = window.is_open(found.conversation.last_inbound_at, now)
        # Where there are no templates nothing can be announced.
        announced = announces(first) and RULES[found.account.channel].templates
        if delivery is first:
            needless = announces(first) and (is_open or not announced)
            if needless:
                delivery.state = "skipped"
            return needless
        if first.state != "held" and (is_open or not announced):
            return False
        # Alone with it: a message that opens the window releases only what is held by then.
        if window.is_open(await repository.window(delivery.conversation_id), now):
            # It came in this moment: all that was read is of before, and what is held may go.
            await repository.release(delivery.conversation_id, now)
            repository.session.expire_all()
            return True
        await repository.hold(delivery.message_id)
        if announced and first.state == "skipped":
            first.state, first.due_at = "pending", now  # the window has closed since: it is needed after all
        return True

    async def _unwanted(self, found: NextDelivery, first: Delivery) -> bool:
        """Whether it is not sent at all, because the person does not want it. Nobody need be woken for that."""
        delivery, wish = found.delivery, found.contact.opt_out
        reason = None
        if wish == "all" and not await self._repository.confirms_opt_out(delivery.message_id):
            reason = "the person wants no messages (opted out): they have to write START first"
        elif wish == "marketing" and first.template and first.template["name"] not in ANSWERS:
            reason = "the person wants nothing that they did not ask for (opted out of marketing)"
        if reason is not None:
            self._fail(delivery, OPTED_OUT, reason)
        return reason is not None

    def _covered(self, found: NextDelivery, first: Delivery) -> bool:
        """Whether the person has it already: one template stands for all parts of a text, unless it only announces
        them."""
        covered = found.delivery is not first and first.sent_as == "template" and not announces(first)
        if covered:
            self._fail(found.delivery, COVERED, "the template of the first part stands for the whole")
        return covered

    def _way(self, found: NextDelivery) -> window.Way | None:
        """The rule of the window at the moment of sending: text while it is open, else the template, else nothing."""
        delivery = found.delivery
        return window.way(
            found.account.channel,
            found.conversation.last_inbound_at,
            self._now,
            has_text=delivery.text is not None or delivery.media is not None,
            has_template=delivery.template is not None,
            by_human=delivery.by_human,
        )

    async def _closed(self, found: NextDelivery) -> None:
        """There is no way to the person now. Where there are no templates, it waits for them to write."""
        delivery, rules = found.delivery, RULES[found.account.channel]
        if rules.templates or (delivery.text is None and delivery.media is None):
            self._fail(delivery, CLOSED, CLOSED_REASON)
            metrics.WINDOW_CLOSED.labels("failed").inc()
            self.alarms.append(Alarm(GIVEN_UP, CLOSED_REASON, _context_of(found)))
            return
        last = await self._repository.window(delivery.conversation_id)
        if window.is_open(last, self._now):
            self._repository.session.expire_all()  # they wrote in this moment
            return
        human = f", and what a human writes until {rules.human.days} days after it" if rules.human else ""
        since = f" at {last:%Y-%m-%d %H:%M} UTC" if last else ""
        reason = (
            f"the window is closed: the person's last message{since} is too long ago. Free text may go until 24 hours "
            f"after it{human}; this is held until they write again"
        )
        await self._repository.hold(delivery.message_id)
        delivery.state, delivery.provider_code, delivery.error = "held", CLOSED, reason
        metrics.WINDOW_CLOSED.labels("held").inc()
        self.alarms.append(Alarm("delivery_held", reason, _context_of(found)))

    def _fail(self, delivery: Delivery, code: str, reason: str) -> None:
        delivery.state, delivery.provider_code, delivery.error = "failed", code, reason
        delivery.claimed_by = delivery.sent_as = None

    async def _wait(self, found: NextDelivery, way: window.Way) -> datetime | None:
        """When the limits let it go, if that is not now. They are asked once for each send."""
        delivery, now = found.delivery, self._now
        if delivery.slot_at is not None and (delivery.error is not None or delivery.slot_at > now - LATE):
            return None  # its time has come, or the account refused it before: such ones are tried rarely
        pacing = Pacing(self._limits, found.account, now)
        is_open = window.is_open(found.conversation.last_inbound_at, now)
        if way == "template" and not is_open:
            at, alarm = await pacing.new_recipient(found.contact.channel_user_id)
            if alarm is not None:
                self.alarms.append(alarm)
            if at > now:
                delivery.due_at, delivery.provider_code = at, DAILY_CAP
                delivery.error = f"the daily limit of new people is reached: it waits until {at:%Y-%m-%d %H:%M} UTC"
                return at
        slot = await pacing.slot(found.contact.channel_user_id)
        if slot.reserved:
            delivery.slot_at = slot.at
        if slot.at <= now:
            return None
        delivery.due_at, delivery.error, delivery.provider_code = slot.at, None, None
        return slot.at

    def _take(self, found: NextDelivery, first: Delivery, way: window.Way) -> Claim:
        delivery = found.delivery
        uncertain = delivery.state == "sending"
        message = _message(found, way)
        if not uncertain:
            delivery.sending_at, delivery.sent_as = self._now, way
            if way != "text":
                metrics.WINDOW_CLOSED.labels(way).inc()
        delivery.state = "sending"
        delivery.claimed_by = self._process_id
        delivery.due_at = self._now
        delivery.attempts += 1
        return Claim(delivery, found.account, message, uncertain, announces(first), found.turn_id, found.trace_id)


def _context_of(found: NextDelivery) -> dict[str, Any]:
    return context_of(found.delivery) | {"turn_id": found.turn_id, "trace_id": found.trace_id}


def _message(found: NextDelivery, way: window.Way) -> OutboundMessage:
    delivery, contact = found.delivery, found.contact
    free, template = way != "template", delivery.template
    return OutboundMessage(
        delivery_id=delivery.id,
        to=contact.channel_user_id,
        phone=contact.phone,
        text=(delivery.text or (template or {}).get("text")) if free else None,
        template=read_template(template) if template and not free else None,
        buttons=tuple(delivery.buttons) if free else (),
        language=template["language"] if template else None,
        media=OutboundMedia(**delivery.media) if delivery.media and free else None,
        by_human=way == "human",
    )
