"""Everything that the team is alerted of. Settings route alerts by these names and severities."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class SeverityLevel(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @classmethod
    def _missing_(cls, value: object) -> "SeverityLevel":
        """What is not known is taken for the worst: an alert must not be lost for how it is spelled."""
        named = str(value).strip().lower()
        return next((level for level in cls if level == named), cls.ERROR)

    @property
    def rank(self) -> int:
        """Higher is worse."""
        return list(SeverityLevel).index(self)


@dataclass(frozen=True, slots=True)
class Condition:
    """One kind of error.

    `per_merchant`: two merchants who have it have two problems; else it is one of the whole system. `after`: how often
    it must happen before anybody is told. `quiet`: how long it must not have happened to be over; None: as the settings
    say.
    """

    title: str
    severity: SeverityLevel = SeverityLevel.ERROR
    per_merchant: bool = True
    after: int = 1
    quiet: timedelta | None = None


_DAY = timedelta(days=1)
_WARNING = SeverityLevel.WARNING

CONDITIONS: Mapping[str, Condition] = {
    # Messages
    "turn_failed": Condition("Turn failed for good", per_merchant=False),
    "reply_unusable": Condition("Model gave nothing usable", per_merchant=False),
    "event_dead": Condition("Inbox event is dead", per_merchant=False),
    "event_unrouted": Condition("Inbox event is unrouted", per_merchant=False),
    "delivery_given_up": Condition("Delivery given up"),
    "delivery_failed": Condition("Delivery failed at the provider"),
    "delivery_held": Condition("Delivery held", _WARNING),
    "file_not_kept": Condition("A person's file was not kept", _WARNING),
    # Staff
    "notification_stuck": Condition("Notification cannot go on"),
    "nobody_to_ask": Condition("Nobody to ask"),
    "sla_breached": Condition("Nobody answered in time", _WARNING),
    "staff_opted_out": Condition("Staff member opted out", _WARNING),
    # Accounts and templates
    "account_refused": Condition("Channel account refused", quiet=timedelta(hours=1)),
    "daily_limit_near": Condition("Daily limit is near", _WARNING, quiet=_DAY),
    "daily_limit_reached": Condition("Daily limit is reached", quiet=_DAY),
    "catch_up_failed": Condition("Cannot look for missed messages", _WARNING, quiet=timedelta(hours=1)),
    "template_withdrawn": Condition("Template may not be sent any more"),
    "template_recategorised": Condition("Template costs more now", _WARNING),
    # Security
    "security_staff_number_changed": Condition("Security: staff number changed"),
    "security_wrong_codes": Condition("Security: wrong link codes", _WARNING, quiet=timedelta(minutes=15)),
    "security_foreign_notification": Condition("Security: answer for another merchant's notification", _WARNING),
    "security_foreign_file": Condition("Security: a person's file on a foreign host"),
    "security_wrong_signature": Condition("Security: posts with a wrong signature", per_merchant=False, after=3),
    "security_foreign_account": Condition("Security: post about accounts of another app", per_merchant=False),
    "security_unknown_key": Condition("Security: API requests without a known key", _WARNING, False, after=20),
    # The system
    "job_failed": Condition("Job failed for good", per_merchant=False),
    "request_failed": Condition("Request failed", per_merchant=False),
    "model_withdrawn": Condition("Model withdrawn", _WARNING, per_merchant=False, quiet=_DAY),
    "sync_circuit_open": Condition("Conversation sync: circuit open", per_merchant=False),
    "sync_refused": Condition("Conversation sync: refused", _WARNING),
    "alerts_not_stored": Condition("Alerts cannot be stored", per_merchant=False),
    "test": Condition("A test of the alerts", SeverityLevel.INFO, per_merchant=False, quiet=timedelta()),
}


def condition_of(name: str) -> Condition:
    """The condition of this name; one of another version of Recado is an error by its name."""
    return CONDITIONS.get(name) or Condition(name)
