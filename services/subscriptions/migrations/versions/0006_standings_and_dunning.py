"""Movements of recurring revenue, what customers owe, and how unpaid invoices are told of."""

import sqlalchemy as sa
from alembic import op

from libs.common.access.tenancy import let_finder_claim, protect

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _keep_revenue_movements()
    _keep_customer_invoices()
    _tell_invoices_of_each_round()


def _keep_revenue_movements() -> None:
    for table in ("item_segment", "plan_move"):
        op.add_column(
            table, sa.Column("is_indexation", sa.Boolean(), server_default=sa.text("false"), nullable=False)
        )
    op.create_table(
        "revenue_movement",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("on_date", sa.Date(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("part IN ('agreement', 'indexation')", name=op.f("ck_revenue_movement_part")),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_revenue_movement_moves")),
        sa.CheckConstraint(
            "cause IN ('started', 'renewed', 'changed', 'paused', 'resumed', 'ended', 'filled')",
            name=op.f("ck_revenue_movement_cause"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revenue_movement")),
    )
    op.create_index(
        "ix_revenue_movement_tenant_customer_id_on_date",
        "revenue_movement",
        ["tenant", "customer_id", "on_date"],
        unique=False,
    )
    op.create_index(
        "ix_revenue_movement_tenant_subscription_id",
        "revenue_movement",
        ["tenant", "subscription_id"],
        unique=False,
    )
    op.create_table(
        "revenue_fill",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revenue_fill")),
    )
    # What came before is written in the background, from what was agreed on when.
    op.execute(
        "INSERT INTO revenue_fill (id, tenant, due_at) "
        "SELECT id, tenant, clock_timestamp() FROM subscription WHERE period_index IS NOT NULL"
    )
    for statement in (
        *protect("revenue_movement", writes="SELECT, INSERT"),
        *protect("revenue_fill", writes="SELECT, UPDATE"),
        *let_finder_claim("revenue_fill", extra_columns=("attempts",)),
    ):
        op.execute(statement)


def _keep_customer_invoices() -> None:
    op.create_table(
        "customer_invoice",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("owed_minor", sa.BigInteger(), nullable=True),
        *(
            sa.Column(f"{name}_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
            for name in ("credited", "paid", "reopened")
        ),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("open_round", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("paid_round", sa.Integer(), server_default=sa.text("-1"), nullable=False),
        sa.Column("is_void", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("paid_round >= -1 AND open_round >= 0", name=op.f("ck_customer_invoice_rounds")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_customer_invoice")),
    )
    op.create_index(
        "ix_customer_invoice_owed",
        "customer_invoice",
        ["tenant", "customer_id"],
        unique=False,
        postgresql_where=sa.text("paid_round < open_round AND NOT is_void"),
    )
    for statement in protect("customer_invoice", writes="SELECT, INSERT, UPDATE"):
        op.execute(statement)


def _tell_invoices_of_each_round() -> None:
    """An invoice that was paid may be due again, and agreements may end over one."""
    op.add_column(
        "subscription_invoice", sa.Column("round", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.drop_constraint(op.f("ck_subscription_invoice_standing"), "subscription_invoice")
    op.create_check_constraint(
        op.f("ck_subscription_invoice_standing"),
        "subscription_invoice",
        "standing IN ('overdue', 'given_up', 'never_paid', 'paid')",
    )
    op.drop_index("ix_subscription_invoice_overdue", "subscription_invoice")
    op.create_index(
        "ix_subscription_invoice_overdue",
        "subscription_invoice",
        ["tenant", "subscription_id"],
        postgresql_where=sa.text("standing IN ('overdue', 'given_up', 'never_paid')"),
    )
