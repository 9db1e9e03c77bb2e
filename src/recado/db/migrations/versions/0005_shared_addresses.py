"""One address of several merchants, and events that wait for their merchant

SQLite cannot change a constraint: the table is made anew. Conversations and deliveries refer to it, and within a
transaction their foreign keys cannot be switched off, only deferred. SQLite then counts what dropping the table leaves
without its account, and counts it back as each row is put into a table of that name; renaming another table to it, as
Alembic's batch mode does, counts nothing back, and the commit fails.

Downgrading fails, and changes nothing, while an address has several accounts.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = "id, merchant_id, channel, address, credentials, templates, active"
UNIQUE_BEFORE = ("uq_channel_accounts_channel_address", ["channel", "address"])
UNIQUE_AFTER = ("uq_channel_accounts_channel_address_merchant_id", ["channel", "address", "merchant_id"])
INDEXES = {"ix_inbox_events_routing": "channel_user_id", "ix_inbox_events_due_at": "due_at"}
ROUTING = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    shared: sa.Column[bool] = sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False)
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(UNIQUE_AFTER, shared)
    else:
        op.add_column("channel_accounts", shared)
        op.drop_constraint(UNIQUE_BEFORE[0], "channel_accounts")
        op.create_unique_constraint(UNIQUE_AFTER[0], "channel_accounts", UNIQUE_AFTER[1])
    op.add_column("inbox_events", sa.Column("channel_user_id", sa.String(), nullable=True))
    op.add_column("inbox_events", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    for name, column in INDEXES.items():
        op.create_index(name, "inbox_events", [column], unique=False, postgresql_where=ROUTING, sqlite_where=ROUTING)


def _make_anew(unique: tuple[str, list[str]], *more: sa.Column[bool]) -> None:
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM channel_accounts")
    op.drop_table("channel_accounts")
    op.create_table(
        "channel_accounts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=False),
        sa.Column("templates", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        *more,
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_channel_accounts_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_accounts")),
        sa.UniqueConstraint(*unique[1], name=op.f(unique[0])),
    )
    op.execute(f"INSERT INTO channel_accounts ({COLUMNS}) SELECT {COLUMNS} FROM kept")  # noqa: S608 - a constant
    op.create_index(op.f("ix_channel_accounts_merchant_id"), "channel_accounts", ["merchant_id"], unique=False)
    op.execute("DROP TABLE kept")


def downgrade() -> None:
    # What waits for a merchant would wait for ever.
    op.execute("UPDATE inbox_events SET state = 'received' WHERE state = 'routing'")
    for name in INDEXES:
        op.drop_index(name, table_name="inbox_events", postgresql_where=ROUTING, sqlite_where=ROUTING)
    op.drop_column("inbox_events", "due_at")
    op.drop_column("inbox_events", "channel_user_id")
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(UNIQUE_BEFORE)
    else:
        op.drop_constraint(UNIQUE_AFTER[0], "channel_accounts")
        op.create_unique_constraint(UNIQUE_BEFORE[0], "channel_accounts", UNIQUE_BEFORE[1])
        op.drop_column("channel_accounts", "shared")
