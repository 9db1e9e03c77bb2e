"""What an operator sees of the conversation sync at `/metrics`."""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter("recado_sync_attempts_total", "Requests to the conversation API.", ["operation"])
FAILURES = Counter(
    "recado_sync_failures_total",
    "Requests to the conversation API that did not do what was asked.",
    ["operation", "reason"],
)
SECONDS = Histogram("recado_sync_seconds", "How long the conversation API took to answer.", ["operation"])
CIRCUIT_OPEN = Gauge("recado_sync_circuit_open", "1 while the conversation API is left alone because it failed.")
