"""Customers with addresses, VAT ids, payers and terms; agreements that can be changed in every way."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import APP, let_finder_claim, protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BATCH_LENGTH = 1000


def upgrade() -> None:
    _widen_customers()
    _widen_subscriptions()
    _keep_segments()
    _keep_overlays_and_payment_methods()
    _keep_timelines()
    _keep_changes()
    _keep_plan_moves()
    _keep_quotes_and_receipts()
    _keep_usage_balances()


def _widen_customers() -> None:
    for name in ("legal_name", "vat_id", "locale", "parent_id"):
        op.add_column("customer", sa.Column(name, sa.Text(), nullable=True))
    for name in ("email_key", "name_key"):
        op.add_column("customer", sa.Column(name, sa.Text(collation="C"), nullable=True))
    op.add_column("customer", sa.Column("payment_terms_days", sa.Integer(), nullable=True))
    op.add_column("customer", sa.Column("address", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("customer", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    _fold_names()
    op.alter_column("customer", "name_key", nullable=False)
    op.create_foreign_key(
        op.f("fk_customer_parent_id_customer"), "customer", "customer", ["parent_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_customer_payment_terms"), "customer", "payment_terms_days BETWEEN 0 AND 365"
    )
    op.create_index(
        "ix_customer_tenant_parent_id_created_at_id",
        "customer",
        ["tenant", "parent_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_customer_tenant_email_key",
        "customer",
        ["tenant", "email_key"],
        unique=False,
        postgresql_where=sa.text("email_key IS NOT NULL"),
    )
    op.create_index("ix_customer_tenant_name_key", "customer", ["tenant", "name_key"], unique=False)


def _fold_names() -> None:
    """What customers are found by is folded as the service folds it, which no collation of the database does."""
    connection = op.get_bind()
    last = ""
    while rows := connection.execute(
        sa.text("SELECT id, name, email FROM customer WHERE id > :last ORDER BY id LIMIT :length"),
        {"last": last, "length": BATCH_LENGTH},
    ).all():
        connection.execute(
            sa.text("UPDATE customer SET name_key = :name_key, email_key = :email_key WHERE id = :id"),
            [
                {"id": id, "name_key": name.casefold(), "email_key": email.casefold() if email else None}
                for id, name, email in rows
            ],
        )
        last = rows[-1][0]


def _widen_subscriptions() -> None:
    texts = ("overlay_id", "payer_id", "phase", "won_back_from")
    jsons = ("period_more", "pauses", "touched", "reminders", "activation", "term", "proration")
    instants = ("trial_ends_at", "next_change_at", "billed_until")
    columns: list[sa.Column[Any]] = [sa.Column(name, sa.Text(), nullable=True) for name in texts]
    columns += [sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=True) for name in jsons]
    columns += [sa.Column(name, sa.DateTime(timezone=True), nullable=True) for name in instants]
    columns += [
        sa.Column(name, sa.Integer(), nullable=True) for name in ("keeps_charges_of", "phase_ends_index")
    ]
    for name, default in (
        ("cancel_credit", "none"),
        ("cancel_reason", "canceled"),
        ("dunning", "none"),
        ("trial_without_payment_method", "continue"),
    ):
        columns.append(sa.Column(name, sa.Text(), server_default=sa.text(f"'{default}'"), nullable=False))
    columns.append(sa.Column("merges_stub", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    columns.append(sa.Column("boundary_changes", sa.Integer(), server_default=sa.text("0"), nullable=False))
    for column in columns:
        op.add_column("subscription", column)
    op.create_foreign_key(
        op.f("fk_subscription_payer_id_customer"), "subscription", "customer", ["payer_id"], ["id"]
    )
    op.create_index(
        "ix_subscription_tenant_payer_id",
        "subscription",
        ["tenant", "payer_id"],
        unique=False,
        postgresql_where=sa.text("payer_id IS NOT NULL"),
    )
    for name in ("state", "due_while_not_over", "period_once_begun"):
        op.drop_constraint(op.f(f"ck_subscription_{name}"), "subscription")
    op.execute("UPDATE subscription SET dunning = 'past_due' WHERE state = 'past_due'")
    op.execute("UPDATE subscription SET state = 'ending' WHERE state = 'active' AND cancels_at IS NOT NULL")
    # Until now nothing that was paid in advance was given back.
    op.execute(
        "UPDATE subscription SET keeps_charges_of = period_index WHERE cancels_at < period_end AND ended_at IS NULL"
    )
    op.create_check_constraint(
        op.f("ck_subscription_state"),
        "subscription",
        "state IN ('scheduled', 'awaiting_activation', 'trialing', 'active', 'paused', 'past_due', 'suspended',"
        " 'ending', 'ended', 'canceled')",
    )
    op.create_check_constraint(
        op.f("ck_subscription_due_while_not_over"),
        "subscription",
        "(state IN ('awaiting_activation', 'ended', 'canceled')) = (due_at IS NULL)",
    )
    op.create_check_constraint(
        op.f("ck_subscription_period_once_begun"),
        "subscription",
        "(state IN ('scheduled', 'awaiting_activation', 'canceled')) = (period_index IS NULL)",
    )
    op.add_column("billing_period", sa.Column("more", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.drop_constraint(op.f("ck_subscription_invoice_standing"), "subscription_invoice")
    op.create_check_constraint(
        op.f("ck_subscription_invoice_standing"),
        "subscription_invoice",
        "standing IN ('overdue', 'given_up', 'paid')",
    )
    op.drop_index("ix_subscription_invoice_overdue", table_name="subscription_invoice")
    op.create_index(
        "ix_subscription_invoice_overdue",
        "subscription_invoice",
        ["tenant", "subscription_id"],
        unique=False,
        postgresql_where=sa.text("standing IN ('overdue', 'given_up')"),
    )


def _keep_segments() -> None:
    op.create_table(
        "item_segment",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("price_id", sa.Text(), nullable=False),
        sa.Column("price_code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=True),
        sa.Column("plan_version_id", sa.Text(), nullable=False),
        sa.Column("overlay_id", sa.Text(), nullable=True),
        sa.Column("add_on", sa.Text(), nullable=True),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_on", sa.Date(), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_on", sa.Date(), nullable=True),
        sa.Column("start_proration", sa.Text(), nullable=True),
        sa.Column("end_proration", sa.Text(), nullable=True),
        sa.CheckConstraint("start_at <= end_at", name=op.f("ck_item_segment_forward")),
        sa.CheckConstraint("(end_at IS NULL) = (end_on IS NULL)", name=op.f("ck_item_segment_ended_wholly")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["subscription_item.id"], name=op.f("fk_item_segment_item_id_subscription_item")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_item_segment_subscription_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("subscription_id", "ordinal", name=op.f("pk_item_segment")),
    )
    # What was agreed on before held from the start, which was the anchor.
    op.execute(
        """INSERT INTO item_segment (tenant, subscription_id, ordinal, item_id, price_id, price_code, kind, meter,
                                     quantity, plan_version_id, start_at, start_on)
           SELECT item.tenant, subscription_id, position, item.id, price_id, price_code, kind, meter, quantity,
                  plan_version_id, starts_at, anchor_on
           FROM subscription_item AS item JOIN subscription ON subscription.id = subscription_id"""
    )
    for statement in protect("item_segment", writes="SELECT, INSERT, UPDATE, DELETE"):
        op.execute(statement)
    op.execute(
        f"GRANT UPDATE (end_at, end_on, more) ON billing_period TO {APP}"
    )  # where it begins, and which it is, stays


def _keep_overlays_and_payment_methods() -> None:
    op.create_table(
        "known_overlay",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("plan_version_id", sa.Text(), nullable=False),
        sa.Column("overlay", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_overlay")),
    )
    op.create_table(
        "withdrawn_overlay",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawn_overlay")),
    )
    op.create_table(
        "customer_payment_method",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("has_one", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_payment_method")),
    )
    for statement in (
        *protect("known_overlay", writes="SELECT, INSERT"),
        *protect("withdrawn_overlay", writes="SELECT, INSERT"),
        *protect("customer_payment_method", writes="SELECT, INSERT, UPDATE"),
    ):
        op.execute(statement)


def _keep_changes() -> None:
    op.create_table(
        "subscription_change",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("when_kind", sa.Text(), nullable=False),
        sa.Column("when_on", sa.Date(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wanted", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('scheduled', 'applied', 'unchanged', 'withdrawn', 'failed')",
            name=op.f("ck_subscription_change_status"),
        ),
        sa.CheckConstraint(
            "when_kind IN ('now', 'period_end', 'on')", name=op.f("ck_subscription_change_when_kind")
        ),
        sa.CheckConstraint(
            "(when_kind = 'on') = (when_on IS NOT NULL)", name=op.f("ck_subscription_change_when_on")
        ),
        sa.CheckConstraint(
            "(status = 'scheduled') = (settled_at IS NULL)",
            name=op.f("ck_subscription_change_settled_once"),
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_subscription_change_subscription_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_change")),
    )
    op.create_index(
        "ix_subscription_change_tenant_subscription_id_created_at_id",
        "subscription_change",
        ["tenant", "subscription_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_subscription_change_waiting",
        "subscription_change",
        ["tenant", "subscription_id"],
        unique=False,
        postgresql_where=sa.text("status = 'scheduled'"),
    )
    for statement in protect("subscription_change", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)


def _keep_plan_moves() -> None:
    op.create_index(
        "ix_subscription_tenant_plan_version_id_id",
        "subscription",
        ["tenant", "plan_version_id", "id"],
        unique=False,
    )
    op.create_table(
        "plan_move",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("from_plan_version_id", sa.Text(), nullable=False),
        sa.Column("to_plan_version_id", sa.Text(), nullable=False),
        sa.Column("when_kind", sa.Text(), nullable=False),
        sa.Column("when_on", sa.Date(), nullable=True),
        sa.Column("proration", sa.Text(), nullable=True),
        sa.Column("is_dry_run", sa.Boolean(), nullable=False),
        sa.Column("reached_id", sa.Text(), nullable=True),
        *(
            sa.Column(f"{name}_count", sa.Integer(), nullable=False)
            for name in ("found", "moved", "scheduled", "unchanged", "refused")
        ),
        sa.Column("differences", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_plan_move_state")),
        sa.CheckConstraint(
            "(state = 'running') = (due_at IS NOT NULL)", name=op.f("ck_plan_move_due_while_running")
        ),
        sa.CheckConstraint("(state = 'done') = (done_at IS NOT NULL)", name=op.f("ck_plan_move_done_once")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_move")),
    )
    op.create_index(
        "ix_plan_move_tenant_created_at_id", "plan_move", ["tenant", "created_at", "id"], unique=False
    )
    op.create_table(
        "plan_move_result",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("plan_move_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=True),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('moved', 'scheduled', 'unchanged', 'refused')",
            name=op.f("ck_plan_move_result_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_move_id"], ["plan_move.id"], name=op.f("fk_plan_move_result_plan_move_id_plan_move")
        ),
        sa.ForeignKeyConstraint(
            ["id"], ["subscription.id"], name=op.f("fk_plan_move_result_id_subscription")
        ),
        sa.PrimaryKeyConstraint("plan_move_id", "id", name=op.f("pk_plan_move_result")),
    )
    op.create_index(
        "ix_plan_move_result_tenant_plan_move_id_created_at_id",
        "plan_move_result",
        ["tenant", "plan_move_id", "created_at", "id"],
        unique=False,
    )
    for statement in (
        *protect("plan_move", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("plan_move", extra_columns=("attempts",)),
        *protect("plan_move_result", writes="SELECT, INSERT"),
    ):
        op.execute(statement)


def _keep_timelines() -> None:
    op.create_table(
        "timeline_entry",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timeline_entry")),
    )
    op.create_index(
        "ix_timeline_entry_tenant_subscription_id_at_id",
        "timeline_entry",
        ["tenant", "subscription_id", "at", "id"],
        unique=False,
    )
    for statement in protect("timeline_entry", writes="SELECT, INSERT"):
        op.execute(statement)


def _keep_quotes_and_receipts() -> None:
    op.add_column("subscription", sa.Column("withdrawal_ends_on", sa.Date(), nullable=True))
    op.create_table(
        "early_termination_quote",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("bound_until", sa.Date(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('none', 'fixed', 'percentage', 'months', 'rerate', 'forbidden')",
            name=op.f("ck_early_termination_quote_kind"),
        ),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_early_termination_quote_no_credit")),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["subscription.id"],
            name=op.f("fk_early_termination_quote_subscription_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_early_termination_quote")),
    )
    op.create_index(
        "ix_early_termination_quote_tenant_subscription_id",
        "early_termination_quote",
        ["tenant", "subscription_id"],
        unique=False,
    )
    op.create_table(
        "receipt",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("declared_by", sa.Text(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('cancellation', 'withdrawal')", name=op.f("ck_receipt_kind")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_receipt_subscription_id_subscription")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
    )
    op.create_index(
        "ix_receipt_tenant_subscription_id", "receipt", ["tenant", "subscription_id"], unique=False
    )
    for statement in (
        *protect("early_termination_quote", writes="SELECT, INSERT, UPDATE"),
        *protect("receipt", writes="SELECT, INSERT"),
    ):
        op.execute(statement)


def _keep_usage_balances() -> None:
    op.create_table(
        "usage_balance",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("period_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("window_version", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "aggregation IN ('count', 'sum', 'max')", name=op.f("ck_usage_balance_aggregation")
        ),
        sa.PrimaryKeyConstraint("item_id", "period_index", name=op.f("pk_usage_balance")),
    )
    op.create_index(
        "ix_usage_balance_tenant_subscription_id",
        "usage_balance",
        ["tenant", "subscription_id", "period_start"],
        unique=False,
    )
    for statement in protect("usage_balance", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)
