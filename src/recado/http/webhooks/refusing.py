"""What the webhooks share: how long credentials are believed, and what follows from a post that nobody may send."""

from recado.alerts.raising import Alarm, Alerts
from recado.telemetry import metrics

TOKENS_SECONDS = 10.0
"""How long a withdrawn credential is still believed. A new one is looked up at once."""
REREAD_SECONDS = 1.0
"""How often a wrong signature may cause the accounts to be read again."""


def refused(alerts: Alerts, provider: str, remedy: str, *, signed: bool) -> None:
    """Count a post that was refused. One that was `signed` wrongly may be a provider's, and a message with it: the team
    hears of those, whoever scans the internet signs nothing."""
    metrics.REFUSED_POSTS.labels(provider).inc()
    if signed:
        alerts.soon(Alarm("security_wrong_signature", f"{provider}: {remedy}", key=provider))
