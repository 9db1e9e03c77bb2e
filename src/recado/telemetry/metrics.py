"""The figures that a process counts for `/metrics`. What only the rows know is read from them there."""

from importlib.metadata import version

from prometheus_client import Counter, Histogram, Info, disable_created_metrics

# A gauge for each counter that tells when it began would double what is stored, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds of our own work."""
LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds in which a model answers."""
PATIENT = (30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0)
"""Seconds in which a person answers."""

INTAKE_SECONDS = Histogram(
    "recado_intake_seconds", "From an event's arrival until it is committed.", ["channel"], buckets=SHORT
)
EVENTS_TAKEN = Counter("recado_events_taken_total", "Inbox events by what became of them.", ["channel", "state"])
REFUSED_POSTS = Counter("recado_refused_posts_total", "Webhook posts that nobody signed who may.", ["provider"])

TURNS = Counter("recado_turns_total", "Turns that ended, by how.", ["state"])
TURN_SECONDS = Histogram(
    "recado_turn_seconds",
    "How long a turn took: `waiting` from its oldest message until it began, `model` in calls of models, `own` the "
    "rest.",
    ["part"],
    buckets=(*SHORT, 30.0, 60.0, 120.0),
)
DRAFTS_DROPPED = Counter("recado_drafts_dropped_total", "Drafts that newer messages made obsolete.")

DELIVERIES = Counter(
    "recado_deliveries_total",
    "Deliveries by the state they came to and the provider's code.",
    ["channel", "state", "code"],
)
SENDS = Counter(
    "recado_sends_total",
    "Sends by how they went out: `text`, `human` or `template`, and which.",
    ["channel", "way", "template"],
)
SEND_SECONDS = Histogram(
    "recado_send_seconds", "How long a provider took to take a message.", ["channel"], buckets=LONG
)
STATUSES = Counter("recado_statuses_total", "What providers reported of deliveries.", ["channel", "state", "code"])
WINDOW_CLOSED = Counter(
    "recado_window_closed_total", "Deliveries that found the 24-hour window closed, by what came of them.", ["outcome"]
)

NOTIFICATIONS = Counter("recado_notifications_total", "Questions put to the staff.", ["merchant", "type"])
ANSWERS = Counter(
    "recado_notification_answers_total", "Answers of the staff, accepted or refused.", ["merchant", "result"]
)
ANSWER_SECONDS = Histogram(
    "recado_notification_answer_seconds", "From a question until its answer was accepted.", ["type"], buckets=PATIENT
)

MODEL_CALLS = Counter("recado_model_calls_total", "Calls of models.", ["task", "model", "result"])
MODEL_SECONDS = Histogram("recado_model_seconds", "How long a call of a model took.", ["task", "model"], buckets=LONG)
MODEL_TOKENS = Counter(
    "recado_model_tokens_total", "Tokens: `in` (of which `cached`) and `out`.", ["task", "model", "merchant", "kind"]
)
MODEL_COST = Counter("recado_model_cost_usd_total", "What they cost by MODEL_PRICES.", ["task", "model", "merchant"])

JOBS = Counter("recado_jobs_total", "Jobs that ended, by how.", ["job", "state"])
JOB_SECONDS = Histogram("recado_job_seconds", "How long jobs took.", ["job"], buckets=(*SHORT, 30.0, 60.0, 120.0))

ALERTS = Counter("recado_alerts_total", "Errors that the team has to know of, each time they happen.", ["condition"])
ALERT_POSTS = Counter("recado_alert_posts_total", "What channels were told.", ["channel", "result"])

SCRAPE_ERRORS = Counter(
    "recado_scrape_errors_total", "What a scrape could not read of the rows or the queue in time.", ["part"]
)
BUILD = Info("recado_build", "What runs.")
BUILD.info({"version": version("recado")})
