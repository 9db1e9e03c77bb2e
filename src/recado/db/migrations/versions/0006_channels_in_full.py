"""Channels in full: media, limits, opt-outs, linked staff, approvals of templates, what was missed

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _columns() -> dict[str, list[sa.Column[object]]]:
    return {
        "contacts": [
            _text("opt_out"),
            _moment("opt_out_at"),
            sa.Column("superseded_by_id", sa.Integer(), nullable=True),
        ],
        "messages": [_moment("sent_at")],
        "simulator_messages": [sa.Column("content", sa.JSON(), nullable=True)],
        "deliveries": [
            sa.Column("media", sa.JSON(), nullable=True),
            sa.Column("by_human", sa.Boolean(), server_default=sa.false(), nullable=False),
            _moment("slot_at"),
        ],
        "channel_accounts": [
            _text("waba_id"),
            _text("portfolio"),
            sa.Column("per_second", sa.Double(), nullable=True),
            sa.Column("daily_limit", sa.Integer(), nullable=True),
            sa.Column("approvals", sa.JSON(), nullable=True),
            _moment("caught_up_to"),
        ],
    }


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index(op.f("ix_channel_accounts_waba_id"), "channel_accounts", ["waba_id"], unique=False)
    op.create_table(
        "media_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), server_default="pending", nullable=False),
        _text("content_type"),
        sa.Column("size", sa.Integer(), nullable=True),
        _text("sha256"),
        _text("path"),
        sa.Column("transcript", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        _moment("created_at", nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_media_files_merchant_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_media_files_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media_files")),
        sa.UniqueConstraint("message_id", "position", name=op.f("uq_media_files_message_id_position")),
    )
    op.create_table(
        "send_limits",
        _text("key", nullable=False),
        _moment("until", nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_send_limits")),
    )
    op.create_table(
        "new_recipients",
        _text("portfolio", nullable=False),
        _text("channel_user_id", nullable=False),
        _moment("at", nullable=False),
        sa.PrimaryKeyConstraint("portfolio", "channel_user_id", name=op.f("pk_new_recipients")),
    )
    op.create_index("ix_new_recipients_portfolio_at", "new_recipients", ["portfolio", "at"], unique=False)
    _staff_tables()


def _staff_tables() -> None:
    for table, columns, unique in (
        (
            "staff_links",
            [
                _text("channel", nullable=False),
                _text("channel_user_id", nullable=False),
                _moment("linked_at", nullable=False),
            ],
            ["merchant_id", "channel", "channel_user_id"],
        ),
        (
            "link_codes",
            [
                _text("code_hash", nullable=False),
                _moment("expires_at", nullable=False),
                _moment("used_at"),
                _moment("created_at", nullable=False),
            ],
            ["code_hash"],
        ),
    ):
        op.create_table(
            table,
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("merchant_id", sa.Integer(), nullable=False),
            sa.Column("merchant_user_id", sa.Integer(), nullable=False),
            *columns,
            sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f(f"fk_{table}_merchant_id")),
            sa.ForeignKeyConstraint(
                ["merchant_user_id"], ["merchant_users.id"], name=op.f(f"fk_{table}_merchant_user_id")
            ),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
            sa.UniqueConstraint(*unique, name=op.f(f"uq_{table}_{'_'.join(unique)}")),
        )
        op.create_index(op.f(f"ix_{table}_merchant_user_id"), table, ["merchant_user_id"], unique=False)


def downgrade() -> None:
    for table in ("link_codes", "staff_links", "new_recipients", "send_limits", "media_files"):
        op.drop_table(table)
    op.drop_index(op.f("ix_channel_accounts_waba_id"), table_name="channel_accounts")
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
