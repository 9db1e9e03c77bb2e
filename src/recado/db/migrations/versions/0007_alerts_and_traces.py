"""Alerts as rows, and what makes the story of a message: traces, steps, which event brought what

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

LINKS = ("delivery_id", "message_id")


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _number(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _columns() -> dict[str, list[sa.Column[object]]]:
    return {
        "messages": [_text("trace_id")],
        "turns": [_text("trace_id"), sa.Column("steps", sa.JSON(), nullable=True)],
        "notifications": [
            _text("trace_id"),
            _text("answer_trace_id"),
            sa.Column("request_steps", sa.JSON(), nullable=True),
            sa.Column("answer_steps", sa.JSON(), nullable=True),
        ],
        "inbox_events": [_number("message_id"), _number("delivery_id")],
    }


def _partial(name: str, table: str, column: str, condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, [column], unique=unique, postgresql_where=where, sqlite_where=where)


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    for name in LINKS:
        _partial(f"ix_inbox_events_{name}", "inbox_events", name, f"{name} IS NOT NULL")
    _partial("ix_notifications_open", "notifications", "merchant_id", "status = 'requested'")
    _alerts()
    _posts()
    op.create_table(
        "alert_issues",
        _text("fingerprint", nullable=False),
        _text("issue_id", nullable=False),
        _text("identifier"),
        _text("url"),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_alert_issues")),
    )


def _described() -> list[sa.Column[object]]:
    """What alerts and their occurrences have in common."""
    return [
        _number("id", nullable=False),
        _text("fingerprint", nullable=False),
        _text("condition", nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        _number("merchant_id"),
        _number("conversation_id"),
        _text("trace_id"),
        sa.Column("context", sa.JSON(), nullable=False),
        _number("count", nullable=False),
    ]


def _alerts() -> None:
    op.create_table(
        "alerts",
        *_described(),
        _moment("first_at", nullable=False),
        _moment("last_at", nullable=False),
        _number("told_count", nullable=False),
        _moment("told_at"),
        _moment("ended_at"),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_alerts_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    _partial("ix_alerts_open", "alerts", "fingerprint", "ended_at IS NULL", unique=True)
    op.create_index("ix_alerts_last_at", "alerts", ["last_at"], unique=False)
    op.create_table(
        "alert_occurrences",
        *_described(),
        _moment("at", nullable=False),
        _number("alert_id"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_alert_occurrences_alert_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_occurrences")),
    )
    _partial("ix_alert_occurrences_uncounted", "alert_occurrences", "id", "alert_id IS NULL")
    op.create_index("ix_alert_occurrences_alert_id", "alert_occurrences", ["alert_id"], unique=False)
    _partial(
        "ix_alert_occurrences_conversation_id", "alert_occurrences", "conversation_id", "conversation_id IS NOT NULL"
    )


def _posts() -> None:
    op.create_table(
        "alert_posts",
        _number("id", nullable=False),
        _number("alert_id", nullable=False),
        _text("channel", nullable=False),
        _text("kind", nullable=False),
        _number("count", nullable=False),
        _text("state", nullable=False),
        _number("attempts", nullable=False),
        _moment("due_at", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        _moment("created_at", nullable=False),
        _moment("sent_at"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_alert_posts_alert_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_posts")),
    )
    _partial("ix_alert_posts_unsent", "alert_posts", "id", "state = 'pending'")
    op.create_index("ix_alert_posts_alert_id", "alert_posts", ["alert_id"], unique=False)


def downgrade() -> None:
    for table in ("alert_issues", "alert_posts", "alert_occurrences", "alerts"):
        op.drop_table(table)
    op.drop_index("ix_notifications_open", table_name="notifications")
    for name in LINKS:
        op.drop_index(f"ix_inbox_events_{name}", table_name="inbox_events")
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
