"""The first tables of subscriptions: customers, agreements and their periods, subject bindings, test clocks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import let_finder_claim, protect
from libs.common.persistence.machinery import protect_machinery

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    _create_machinery()
    _create_subscriptions()
    _protect()


def _protect() -> None:
    statements = [
        *protect_machinery(),
        *protect("customer", writes="SELECT, INSERT, UPDATE"),
        *protect("known_plan", writes="SELECT, INSERT"),
        *protect("retired_plan", writes="SELECT, INSERT"),
        *protect("subscription", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("subscription"),
        *protect("subscription_item", writes="SELECT, INSERT"),
        *protect("billing_period", writes="SELECT, INSERT"),
        *protect("subscription_invoice", writes="SELECT, INSERT, UPDATE"),
        *protect("subject_binding", writes="SELECT, INSERT, UPDATE"),
        *protect("test_clock", writes="SELECT, INSERT, UPDATE"),
        *protect("clock_move", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("clock_move"),
    ]
    for statement in statements:
        op.execute(statement)


def _create_subscriptions() -> None:
    op.create_table(
        "clock_move",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clock_now", sa.DateTime(timezone=True), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'moving') = (due_at IS NOT NULL)", name=op.f("ck_clock_move_due_while_moving")
        ),
        sa.CheckConstraint("state IN ('moving', 'arrived')", name=op.f("ck_clock_move_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_move")),
    )
    op.create_index(
        "uq_clock_move_one_at_a_time",
        "clock_move",
        ["clock_id"],
        unique=True,
        postgresql_where=sa.text("state = 'moving'"),
    )
    op.create_table(
        "customer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("zone", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer")),
    )
    op.create_index(
        "ix_customer_tenant_created_at_id", "customer", ["tenant", "created_at", "id"], unique=False
    )
    op.create_index("uq_customer_tenant_external_id", "customer", ["tenant", "external_id"], unique=True)
    op.create_table(
        "known_plan",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("plan_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_plan")),
    )
    op.create_index(
        "ix_known_plan_tenant_code_plan_version",
        "known_plan",
        ["tenant", "code", "plan_version"],
        unique=False,
    )
    op.create_table(
        "retired_plan",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retired_plan")),
    )
    op.create_table(
        "test_clock",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("now", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_clock")),
    )
    op.create_index(
        "ix_test_clock_tenant_created_at_id", "test_clock", ["tenant", "created_at", "id"], unique=False
    )
    op.create_table(
        "subscription",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("plan_version_id", sa.Text(), nullable=False),
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("plan_name", sa.Text(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("anchor_on", sa.Date(), nullable=False),
        sa.Column("interval_unit", sa.Text(), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("term_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancels_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_index", sa.Integer(), nullable=True),
        sa.Column("period_start_on", sa.Date(), nullable=True),
        sa.Column("period_end_on", sa.Date(), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('active', 'past_due', 'scheduled')) = (due_at IS NOT NULL)",
            name=op.f("ck_subscription_due_while_not_over"),
        ),
        sa.CheckConstraint(
            "(state IN ('ended', 'canceled')) = (ended_at IS NOT NULL)",
            name=op.f("ck_subscription_ended_once_over"),
        ),
        sa.CheckConstraint(
            "(state IN ('scheduled', 'canceled')) = (period_index IS NULL)",
            name=op.f("ck_subscription_period_once_begun"),
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'active', 'past_due', 'ended', 'canceled')",
            name=op.f("ck_subscription_state"),
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_subscription_customer_id_customer")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    op.create_index(
        "ix_subscription_tenant_created_at_id", "subscription", ["tenant", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_subscription_tenant_customer_id_created_at_id",
        "subscription",
        ["tenant", "customer_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "uq_subscription_tenant_external_id", "subscription", ["tenant", "external_id"], unique=True
    )
    op.create_table(
        "billing_period",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("start_on", sa.Date(), nullable=False),
        sa.Column("end_on", sa.Date(), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("start_at <= end_at", name=op.f("ck_billing_period_forward")),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_billing_period_subscription_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("subscription_id", "index", name=op.f("pk_billing_period")),
    )
    op.create_table(
        "subscription_invoice",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.CheckConstraint("standing IN ('overdue', 'paid')", name=op.f("ck_subscription_invoice_standing")),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_subscription_invoice_subscription_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("subscription_id", "invoice_id", name=op.f("pk_subscription_invoice")),
    )
    op.create_index(
        "ix_subscription_invoice_overdue",
        "subscription_invoice",
        ["tenant", "subscription_id"],
        unique=False,
        postgresql_where=sa.text("standing = 'overdue'"),
    )
    op.create_table(
        "subscription_item",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("price_id", sa.Text(), nullable=False),
        sa.Column("price_code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_subscription_item_subscription_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_item")),
    )
    op.create_index(
        "ix_subscription_item_tenant_subscription_id",
        "subscription_item",
        ["tenant", "subscription_id"],
        unique=False,
    )
    op.create_table(
        "subject_binding",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("bound_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bound_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("test_clock_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("tenant"), "="),
            (sa.column("meter"), "="),
            (sa.column("subject"), "="),
            (sa.text("tstzrange(bound_from, bound_until, '[)')"), "&&"),
            using="gist",
            name="ex_subject_binding_one_item",
        ),
        sa.CheckConstraint("bound_from <= bound_until", name=op.f("ck_subject_binding_forward")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["subscription_item.id"], name=op.f("fk_subject_binding_item_id_subscription_item")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_subject_binding_subscription_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject_binding")),
    )
    op.create_index(
        "ix_subject_binding_tenant_created_at_id",
        "subject_binding",
        ["tenant", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_subject_binding_tenant_item_id", "subject_binding", ["tenant", "item_id"], unique=False
    )
    op.create_index(
        "ix_subject_binding_tenant_subscription_id",
        "subject_binding",
        ["tenant", "subscription_id"],
        unique=False,
    )
    op.create_index(
        "uq_subject_binding_natural_key",
        "subject_binding",
        ["tenant", "meter", "subject", "bound_from"],
        unique=True,
    )


def _create_machinery() -> None:
    op.create_table(
        "change_log",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("aggregate_version", sa.Integer(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_change_log")),
    )
    op.create_index(
        "ix_change_log_tenant_aggregate_id", "change_log", ["tenant", "aggregate_id"], unique=False
    )
    op.create_table(
        "idempotency_key",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "route", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index(op.f("ix_idempotency_key_expires_at"), "idempotency_key", ["expires_at"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "handled_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("handler", "message_id", name=op.f("pk_inbox")),
    )
    op.create_index(op.f("ix_inbox_handled_at"), "inbox", ["handled_at"], unique=False)
    op.create_table(
        "known_clock",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("now", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_clock")),
    )
    op.create_table(
        "known_tenant",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_known_tenant")),
    )
    op.create_table(
        "message_failure",
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("test_clock", sa.Text(), nullable=True),
        sa.Column("dead", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column(
            "first_failed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "last_failed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("handler", "message_id", name=op.f("pk_message_failure")),
    )
    op.create_table(
        "outbox",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("aggregate_version", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("test_clock", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_outbox")),
        sa.UniqueConstraint("id", name=op.f("uq_outbox_id")),
    )
    op.create_index(
        "ix_outbox_published_at",
        "outbox",
        ["published_at"],
        unique=False,
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["position"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "revoked_token",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_revoked_token")),
    )
