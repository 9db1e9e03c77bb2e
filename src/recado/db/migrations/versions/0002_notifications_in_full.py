"""Campaigns, support requests, joined questions, provenance of documents, API keys

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DEFAULT_CAMPAIGNS = (
    "merchant_user_question_request",
    "merchant_user_override_request",
    "merchant_user_question_answer",
    "customer_support_response",
)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_api_keys_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_index(op.f("ix_api_keys_merchant_id"), "api_keys", ["merchant_id"], unique=False)
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("campaign_type", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_campaigns_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("merchant_id", "name", name=op.f("uq_campaigns_merchant_id_name")),
    )
    op.create_table(
        "support_classifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.Integer(), nullable=False),
        sa.Column("reason_hash", sa.String(), nullable=False),
        sa.Column("documents_hash", sa.String(), nullable=False),
        sa.Column("target_user_type", sa.String(), nullable=True),
        sa.Column("support_request_type", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_support_classifications_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_support_classifications")),
        sa.UniqueConstraint(
            "merchant_id", "reason_hash", name=op.f("uq_support_classifications_merchant_id_reason_hash")
        ),
    )
    op.create_table(
        "campaign_leads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("variables", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name=op.f("fk_campaign_leads_campaign_id")),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.id"], name=op.f("fk_campaign_leads_contact_id")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_campaign_leads_merchant_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_campaign_leads_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_leads")),
        sa.UniqueConstraint("message_id", name=op.f("uq_campaign_leads_message_id")),
    )
    op.create_index("ix_campaign_leads_campaign_id_id", "campaign_leads", ["campaign_id", "id"], unique=False)
    op.create_index(
        "ix_deliveries_held",
        "deliveries",
        ["conversation_id"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
        sqlite_where=sa.text("state = 'held'"),
    )
    op.add_column("documents", sa.Column("notification_id", sa.Integer(), nullable=True))
    op.add_column("documents", sa.Column("answered_by", sa.Integer(), nullable=True))
    op.add_column("documents", sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("documents", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("documents", sa.Column("embedding", sa.LargeBinary(), nullable=True))
    op.add_column("documents", sa.Column("embedded_with", sa.String(), nullable=True))
    op.add_column("merchants", sa.Column("reminder_minutes", sa.Integer(), server_default="15", nullable=False))
    op.add_column("merchants", sa.Column("escalation_minutes", sa.Integer(), server_default="60", nullable=False))
    op.add_column("merchants", sa.Column("template_texts", sa.JSON(), nullable=True))
    op.add_column("notifications", sa.Column("joined_to_id", sa.Integer(), nullable=True))
    op.add_column("notifications", sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("notifications", sa.Column("escalated_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_notifications_joined_to_id"), "notifications", ["joined_to_id"], unique=False)
    op.create_index(
        "ix_notifications_waiting",
        "notifications",
        ["announced_at"],
        unique=False,
        postgresql_where=sa.text("status = 'requested' AND announced_at IS NOT NULL AND escalated_at IS NULL"),
        sqlite_where=sa.text("status = 'requested' AND announced_at IS NOT NULL AND escalated_at IS NULL"),
    )
    # Merchants that are there already get what new ones get.
    for name in DEFAULT_CAMPAIGNS:
        op.execute(
            sa.text(
                "INSERT INTO campaigns (merchant_id, name, campaign_type, enabled, created_at, updated_at)"
                " SELECT id, :name, 'service', :enabled, created_at, created_at FROM merchants"
            ).bindparams(name=name, enabled=True)
        )
    # What was asked before is neither reminded of nor escalated: its hour has passed.
    op.execute("UPDATE notifications SET reminded_at = announced_at, escalated_at = announced_at")


def downgrade() -> None:
    op.drop_index(
        "ix_notifications_waiting",
        table_name="notifications",
        postgresql_where=sa.text("status = 'requested' AND announced_at IS NOT NULL AND escalated_at IS NULL"),
        sqlite_where=sa.text("status = 'requested' AND announced_at IS NOT NULL AND escalated_at IS NULL"),
    )
    op.drop_index(op.f("ix_notifications_joined_to_id"), table_name="notifications")
    op.drop_column("notifications", "escalated_at")
    op.drop_column("notifications", "reminded_at")
    op.drop_column("notifications", "joined_to_id")
    op.drop_column("merchants", "template_texts")
    op.drop_column("merchants", "escalation_minutes")
    op.drop_column("merchants", "reminder_minutes")
    op.drop_column("documents", "embedded_with")
    op.drop_column("documents", "embedding")
    op.drop_column("documents", "retired_at")
    op.drop_column("documents", "answered_at")
    op.drop_column("documents", "answered_by")
    op.drop_column("documents", "notification_id")
    op.drop_index(
        "ix_deliveries_held",
        table_name="deliveries",
        postgresql_where=sa.text("state = 'held'"),
        sqlite_where=sa.text("state = 'held'"),
    )
    op.drop_index("ix_campaign_leads_campaign_id_id", table_name="campaign_leads")
    op.drop_table("campaign_leads")
    op.drop_table("support_classifications")
    op.drop_table("campaigns")
    op.drop_index(op.f("ix_api_keys_merchant_id"), table_name="api_keys")
    op.drop_table("api_keys")
