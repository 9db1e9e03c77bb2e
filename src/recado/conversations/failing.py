"""What becomes of a delivery that a provider did not take, at once or by a later status.

By the class of the error: what may pass is tried again, what the account is refused for waits until somebody mends
that, a closed window leaves the template, and a person's own choice is kept and troubles nobody.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from recado.alerts.raising import Alarm
from recado.channels.base import OutboundMessage
from recado.channels.rules import RULES
from recado.conversations.window import WINDOW
from recado.db.models import Delivery
from recado.errors import (
    AccountRefused,
    MarketingStopped,
    OptedOut,
    Retryable,
    SendError,
    TemplateRefused,
    WindowClosed,
)
from recado.merchants.account import Account

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 8
FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=1)
"""How late a provider may say to come again."""
REFUSED_FOR = timedelta(hours=24)
"""How long deliveries wait for somebody to mend an account."""

GIVEN_UP = "delivery_given_up"
APPROVE = (
    "make it with `recado templates create`, or name the id of one that the provider has approved under `templates` "
    "of the channel and run `recado apply`"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours to send. `uncertain`: the provider may have it. `announced`: the first part of its
    message is a template that only announces it. `turn_id`, `trace_id`: what it came of.
    """

    delivery: Delivery
    account: Account
    message: OutboundMessage
    uncertain: bool
    announced: bool
    turn_id: int | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Closed:
    """The provider says that the window is closed, whatever we counted. `since`: when the person last wrote, as far as
    that still matters; None: not at all.
    """

    since: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claim: the delivery's new values, and what else has to be written down."""

    delivery: Delivery
    values: dict[str, Any]
    alarm: Alarm | None = None
    closed: Closed | None = None
    opt_out: str | None = None
    """What the person wants no more, by the provider's word."""


def context_of(delivery: Delivery) -> dict[str, Any]:
    """Where a delivery belongs, for an alert."""
    return {
        "merchant_id": delivery.merchant_id,
        "conversation_id": delivery.conversation_id,
        "message_id": delivery.message_id,
        "delivery_id": delivery.id,
    }


def with_remedy(reason: str, remedy: str) -> str:
    """Why, and what can be done about it."""
    return f"{reason}; {remedy}" if remedy else reason


def failed(delivery: Delivery, code: str | None, reason: str, remedy: str = "", *, alert: bool = True) -> Outcome:
    """It is given up."""
    values = {"state": "failed", "provider_code": code, "error": reason, "claimed_by": None}
    alarm = Alarm(GIVEN_UP, with_remedy(reason, remedy), context_of(delivery)) if alert else None
    return Outcome(delivery, values, alarm)


def outcome_of(claim: Claim, error: SendError, now: datetime) -> Outcome:
    """What follows from an error of a send, or of a lookup of one."""
    delivery = claim.delivery
    uncertain = claim.uncertain or (isinstance(error, Retryable) and error.ambiguous)
    match error:
        case AccountRefused():
            return _refused_account(delivery, error, now, uncertain)
        case Retryable():
            return _again(delivery, error, now, uncertain)
        case WindowClosed():
            return _closed(delivery, claim.account, error, claim.announced)
        case TemplateRefused():
            return _refused_template(delivery, error)
        case OptedOut():
            outcome = failed(delivery, error.code, str(error), alert=False)
            return Outcome(delivery, outcome.values, opt_out=opted_out_of(type(error)))
        case _:
            return failed(delivery, error.code, str(error), error.remedy)


def opted_out_of(failure: type[SendError]) -> str:
    """What a person wants no more who is the reason for this."""
    return "marketing" if issubclass(failure, MarketingStopped) else "all"


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts."""
    doublings = max(0, min(attempts - 1, 20))
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * (1 << doublings)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def refused_wait(delivery: Delivery, now: datetime) -> timedelta | None:
    """How long to wait until the account is tried again: as long as so far, within limits. None: it was long enough.

    Such attempts are not counted, so that what a mended account has left to send is not given up at its next hiccup.
    """
    waited = now - (delivery.slot_at or delivery.sending_at or now)
    if waited >= REFUSED_FOR:
        return None
    longest = min(LONGEST_BACKOFF, max(FIRST_BACKOFF, waited))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def refused_alarm(delivery: Delivery, code: str | None, reason: str, remedy: str) -> Alarm:
    """One alert for all deliveries of an account that is refused."""
    account_id = delivery.channel_account_id
    return Alarm(
        "account_refused",
        with_remedy(f"{reason}; its deliveries wait up to 24 hours", remedy),
        {"merchant_id": delivery.merchant_id, "channel_account_id": account_id},
        f"{account_id}:{code}",
    )


def template_reason(delivery: Delivery, reason: str, remedy: str) -> str:
    """What an alert says of a template that the provider does not take."""
    template = delivery.template or {}
    return f"template {template.get('name')} ({template.get('language')}): {reason}; {remedy or APPROVE}"


def _again(delivery: Delivery, error: Retryable, now: datetime, uncertain: bool) -> Outcome:
    if delivery.attempts >= MAX_ATTEMPTS:
        reason = f"gave up after {delivery.attempts} attempts: {error}"
        return failed(delivery, error.code, reason, error.remedy)
    delay = backoff(delivery.attempts)
    if error.retry_after is not None:
        delay = max(delay, min(timedelta(seconds=error.retry_after), LONGEST_WAIT))
    log.warning("delivery will be tried again", delivery_id=delivery.id, error=str(error))
    values = _waiting(error, now + delay)
    # One that the provider may have stays `sending`: it is looked up before it is sent again. A send that failed has
    # used up its slot.
    return Outcome(delivery, values | ({"state": "sending"} if uncertain else {"slot_at": None}))


def _refused_account(delivery: Delivery, error: AccountRefused, now: datetime, uncertain: bool) -> Outcome:
    wait = refused_wait(delivery, now)
    if wait is None:
        reason = f"gave up after 24 hours: {error}"
        return failed(delivery, error.code, reason, error.remedy)
    log.warning("delivery waits for its account", delivery_id=delivery.id, error=str(error))
    values = _waiting(error, now + wait) | {"attempts": delivery.attempts - 1}
    values["state"] = "sending" if uncertain else "pending"
    return Outcome(delivery, values, refused_alarm(delivery, error.code, str(error), error.remedy))


def _waiting(error: SendError, due_at: datetime) -> dict[str, Any]:
    return {
        "state": "pending",
        "due_at": due_at,
        "error": str(error),
        "provider_code": error.code,
        "claimed_by": None,
    }


def _closed(delivery: Delivery, account: Account, error: WindowClosed, announced: bool) -> Outcome:
    rules = RULES[account.channel]
    if delivery.sent_as == "template" or (rules.templates and not (delivery.template or announced)):
        return failed(delivery, error.code, str(error), error.remedy)
    # What is left is decided anew, for this and for all that follows until the person writes: the template, or what a
    # human may still send.
    values = {"state": "pending", "claimed_by": None, "error": str(error), "slot_at": None}
    return Outcome(delivery, values, closed=closed_since(delivery, account.channel))


def closed_since(delivery: Delivery, channel: str) -> Closed:
    """When the person last wrote, if this delivery's window was closed: longer ago than the window is open."""
    if delivery.sent_as != "text" or RULES[channel].human is None or delivery.sending_at is None:
        return Closed(None)
    return Closed(delivery.sending_at - WINDOW - timedelta(seconds=1))


def _refused_template(delivery: Delivery, error: TemplateRefused) -> Outcome:
    """The template cannot be used. What there is as text is not lost: it goes when the person opens the window."""
    outcome = failed(delivery, error.code, template_reason(delivery, str(error), error.remedy))
    if delivery.text is not None:
        outcome.values["state"] = "held"
    return outcome
