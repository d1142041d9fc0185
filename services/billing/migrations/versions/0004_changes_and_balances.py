"""Changes at any moment, and what is owed to customers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = "SELECT, INSERT"


# A credit gives back no more than was charged. What a commitment takes off was charged by prices of its own.
CREDITS_WITHIN_CHARGES = """
CREATE FUNCTION credits_within_charges() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tenant, item_id, price_id, period_index, kind FROM inserted
                     WHERE amount_minor < 0 AND quantity_before IS NOT NULL AND kind <> 'commitment') n
        JOIN charge c USING (tenant, item_id, price_id, period_index, kind)
        GROUP BY tenant, item_id, price_id, period_index, kind HAVING sum(c.amount_minor) < 0
    ) THEN
        RAISE EXCEPTION 'a credit exceeds what was charged' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
CREDITS_ARE_CHECKED = """
CREATE TRIGGER credits_within_charges AFTER INSERT ON charge REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION credits_within_charges()
"""


def upgrade() -> None:
    customers_in_full()
    payment_methods_told_of()
    charges_of_changes()
    customer_balances()


def charges_of_changes() -> None:
    """What is agreed on for a period, and what a charge for a change is derived from."""
    op.create_table(
        "period_terms",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("period_index", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_settled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", "period_index", name=op.f("pk_period_terms")),
    )
    for column in (
        sa.Column("quantity_before", sa.Numeric(), nullable=True),
        sa.Column("is_end", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("counted_by", sa.Text(), nullable=True),
        sa.Column("most_minor", sa.BigInteger(), nullable=True),
        sa.Column("allowance", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.Column("whole", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    ):
        op.add_column("charge", column)
    for name, which in (("ix_charge_waiting", "invoice_id IS NULL"), ("ix_charge_once", "kind = 'once'")):
        op.create_index(name, "charge", ["tenant", "subscription_id"], postgresql_where=sa.text(which))
    for statement in (
        *protect("period_terms", writes="SELECT, INSERT, UPDATE"),
        CREDITS_WITHIN_CHARGES,
        CREDITS_ARE_CHECKED,
    ):
        op.execute(statement)


def customers_in_full() -> None:
    """What the law wants on an invoice, and what was agreed on. What a customer's clock is, his agreements know."""
    for column in (
        sa.Column("legal_name", sa.Text(), nullable=True),
        sa.Column("vat_id", sa.Text(), nullable=True),
        sa.Column("address", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("payment_terms_days", sa.Integer(), nullable=True),
        sa.Column("is_erased", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("clock_id", sa.Text(), nullable=True),
    ):
        op.add_column("customer", column)
    op.execute(
        """UPDATE customer SET clock_id = known.clock_id
           FROM (SELECT DISTINCT ON (customer_id) tenant, customer_id, clock_id FROM agreement
                 WHERE clock_id IS NOT NULL ORDER BY customer_id, id) AS known
           WHERE known.tenant = customer.tenant AND known.customer_id = customer.id"""
    )


def payment_methods_told_of() -> None:
    """They can be removed. Those that there are by now are told of: nobody has heard of them yet."""
    op.add_column("payment_method", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_payment_method_removed_is_no_default"),
        "payment_method",
        "NOT is_default OR removed_at IS NULL",
    )
    op.create_index("ix_payment_method_tenant_customer", "payment_method", ["tenant", "customer_id"])
    op.execute(
        """INSERT INTO outbox (id, type, tenant, aggregate_id, aggregate_version, occurred_at, test_clock, data)
           SELECT 'evt_' || substr(method.id, 4), 'perennial.billing.payment_method.changed.v1', method.tenant,
                  method.customer_id, 1, method.created_at, customer.clock_id,
                  convert_to(jsonb_strip_nulls(jsonb_build_object(
                      'tenant', method.tenant, 'occurred_at', method.created_at, 'test_clock', customer.clock_id,
                      'customer_id', method.customer_id, 'has_payment_method', true))::text, 'UTF8')
           FROM payment_method AS method
           LEFT JOIN customer ON customer.id = method.customer_id AND customer.tenant = method.tenant
           WHERE method.is_default ORDER BY method.created_at, method.id"""
    )


def customer_balances() -> None:
    op.create_table(
        "customer_balance",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("balance_minor >= 0", name=op.f("ck_customer_balance_not_below_zero")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_balance")),
        sa.UniqueConstraint("tenant", "customer_id", "currency", name="uq_customer_balance_customer"),
    )
    op.create_index(
        "ix_customer_balance_tenant_created_at", "customer_balance", ["tenant", "created_at", "id"]
    )
    op.create_table(
        "customer_balance_entry",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("balance_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("after_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("after_minor >= 0", name=op.f("ck_customer_balance_entry_not_below_zero")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_balance_entry")),
        sa.UniqueConstraint("tenant", "balance_id", "ordinal", name="uq_customer_balance_entry_ordinal"),
    )
    op.create_index(
        "uq_customer_balance_entry_invoice",
        "customer_balance_entry",
        ["tenant", "invoice_id"],
        unique=True,
        postgresql_where=sa.text("invoice_id IS NOT NULL"),
    )
    op.create_index(
        "ix_customer_balance_entry_adjustment",
        "customer_balance_entry",
        ["tenant", "recorded_at", "id"],
        postgresql_where=sa.text("kind = 'adjustment'"),
    )
    op.create_index(
        "ix_customer_balance_entry_recorded_at",
        "customer_balance_entry",
        ["tenant", "balance_id", "recorded_at"],
    )
    op.add_column(
        "invoice",
        sa.Column("balance_applied_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    for name, rule in (
        ("paid_within_total", "paid_minor BETWEEN 0 AND greatest(total_minor - balance_applied_minor, 0)"),
        ("paid_in_full", "status <> 'paid' OR paid_minor + balance_applied_minor = total_minor"),
    ):
        op.drop_constraint(op.f(f"ck_invoice_{name}"), "invoice")
        op.create_check_constraint(op.f(f"ck_invoice_{name}"), "invoice", rule)
    op.create_check_constraint(
        op.f("ck_invoice_balance_within_total"),
        "invoice",
        "balance_applied_minor BETWEEN least(total_minor, 0) AND greatest(total_minor, 0)",
    )
    op.alter_column("ledger_entry", "invoice_id", nullable=True)
    op.add_column("ledger_entry", sa.Column("balance_entry_id", sa.Text(), nullable=True))
    for table, writes in (
        ("customer_balance", "SELECT, INSERT, UPDATE"),
        ("customer_balance_entry", APPEND_ONLY),
    ):
        for statement in protect(table, writes=writes):
            op.execute(statement)
