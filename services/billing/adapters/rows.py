"""Billing's tables: columns, keys and constraints. Amounts are minor units of the row's currency."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from libs.common.persistence.base import (
    currency_column,
    decimal_column,
    due_columns,
    id_column,
    instant,
    json_column,
    minor,
    new_metadata,
    tenant_column,
    version_column,
)
from libs.common.persistence.machinery import machinery

metadata = new_metadata()
shared = machinery(metadata)

seller = Table(
    "seller",
    metadata,
    tenant_column(),
    id_column(),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("address", Text),
    Column("tax_number", Text),
    Column("number_prefix", Text, nullable=False),
    Column("payment_terms_days", Integer, nullable=False),
    Column("is_default", Boolean, nullable=False),
    version_column(),
    instant("created_at"),
    UniqueConstraint("tenant", "code"),
    Index("uq_seller_default", "tenant", unique=True, postgresql_where=text("is_default")),
)

customer = Table(
    "customer",
    metadata,
    tenant_column(),
    id_column(),
    version_column(),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("external_id", Text),
    Column("country", Text),
    Column("legal_name", Text),
    Column("vat_id", Text),
    json_column("address", nullable=True),
    Column("payment_terms_days", Integer),
    Column("is_erased", Boolean, nullable=False, server_default=text("false")),
    Column("clock_id", Text),
)

# The agreement as the newest event told it. It is locked before anything of the subscription is reconciled, so
# that a second worker computes again and finds nothing to add.
agreement = Table(
    "agreement",
    metadata,
    tenant_column(),
    id_column(),
    version_column(),
    Column("customer_id", Text, nullable=False),
    json_column("snapshot"),
    Column("clock_id", Text),
)

charge = Table(
    "charge",
    metadata,
    tenant_column(),
    id_column(),
    Column("subscription_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("price_id", Text, nullable=False),
    Column("period_index", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("invoice_id", Text),
    json_column("price"),
    decimal_column("quantity"),
    decimal_column("fraction_numerator"),
    decimal_column("fraction_denominator"),
    instant("service_start"),
    instant("service_end"),
    Column("service_start_on", Date, nullable=False),
    Column("service_end_on", Date, nullable=False),
    minor("amount_minor"),
    currency_column(),
    Column("usage_window_id", Text),
    Column("event_count", BigInteger),
    instant("created_at"),
    decimal_column("quantity_before", nullable=True),
    Column("is_end", Boolean, nullable=False, server_default=text("false")),
    Column("counted_by", Text),
    minor("most_minor", nullable=True),
    json_column("allowance", nullable=True),
    Column("basis", Text),
    json_column("whole", nullable=True),
    UniqueConstraint(
        "tenant", "item_id", "price_id", "period_index", "kind", "revision", name="uq_charge_identity"
    ),
    Index("ix_charge_invoice_id", "invoice_id"),
    Index("ix_charge_subscription", "tenant", "subscription_id", "period_index"),
    Index("ix_charge_waiting", "tenant", "subscription_id", postgresql_where=text("invoice_id IS NULL")),
    Index("ix_charge_once", "tenant", "subscription_id", postgresql_where=text("kind = 'once'")),
)

# What is agreed on for one period, as the newest event told it. `is_settled`: it has been held against the charges.
period_terms = Table(
    "period_terms",
    metadata,
    tenant_column(),
    Column("subscription_id", Text, primary_key=True),
    Column("period_index", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    json_column("terms"),
    Column("is_settled", Boolean, nullable=False),
)

invoice = Table(
    "invoice",
    metadata,
    tenant_column(),
    id_column(),
    Column("subscription_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    instant("boundary_at"),
    Column("document_kind", Text, nullable=False),
    Column("issue", Integer, nullable=False),
    Column("period_index", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("awaits_window", Boolean, nullable=False),
    Column("seller_id", Text),
    Column("series", Text, nullable=False),
    Column("number", Text),
    currency_column(),
    Column("zone", Text, nullable=False),
    minor("net_minor"),
    minor("tax_minor"),
    minor("total_minor"),
    minor("paid_minor"),
    Column("balance_applied_minor", BigInteger, nullable=False, server_default=text("0")),
    instant("issued_at", nullable=True),
    Column("due_on", Date),
    instant("paid_at", nullable=True),
    json_column("customer"),
    json_column("seller", nullable=True),
    version_column(),
    instant("created_at"),
    *due_columns(),
    UniqueConstraint(
        "tenant", "subscription_id", "boundary_at", "document_kind", "issue", name="uq_invoice_document"
    ),
    UniqueConstraint("tenant", "seller_id", "series", "number", name="uq_invoice_number"),
    CheckConstraint("net_minor + tax_minor = total_minor", name="adds_up"),
    CheckConstraint("(status IN ('draft', 'skipped')) = (number IS NULL)", name="numbered_once_final"),
    CheckConstraint(
        "paid_minor BETWEEN 0 AND greatest(total_minor - balance_applied_minor, 0)", name="paid_within_total"
    ),
    CheckConstraint(
        "status <> 'paid' OR paid_minor + balance_applied_minor = total_minor", name="paid_in_full"
    ),
    CheckConstraint(
        "balance_applied_minor BETWEEN least(total_minor, 0) AND greatest(total_minor, 0)",
        name="balance_within_total",
    ),
    Index("ix_invoice_tenant_customer", "tenant", "customer_id", "created_at"),
    Index("ix_invoice_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_invoice_no_seller", "tenant", postgresql_where=text("status_reason = 'no_seller'")),
)

invoice_line = Table(
    "invoice_line",
    metadata,
    tenant_column(),
    id_column(),
    Column("invoice_id", Text, nullable=False),
    Column("charge_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("tier", Integer),
    Column("description", Text, nullable=False),
    decimal_column("quantity"),
    decimal_column("unit_amount"),
    minor("net_minor"),
    currency_column(),
    Column("formula", Text, nullable=False),
    Column("service_start_on", Date, nullable=False),
    Column("service_end_on", Date, nullable=False),
    UniqueConstraint("tenant", "invoice_id", "ordinal", name="uq_invoice_line_ordinal"),
)

# What is owed to a customer in one currency. Its entries sum to it.
customer_balance = Table(
    "customer_balance",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    currency_column(),
    minor("balance_minor"),
    version_column(),
    instant("created_at"),
    UniqueConstraint("tenant", "customer_id", "currency", name="uq_customer_balance_customer"),
    CheckConstraint("balance_minor >= 0", name="not_below_zero"),
    Index("ix_customer_balance_tenant_created_at", "tenant", "created_at", "id"),
)

customer_balance_entry = Table(
    "customer_balance_entry",
    metadata,
    tenant_column(),
    id_column(),
    Column("balance_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    minor("amount_minor"),
    minor("after_minor"),
    currency_column(),
    instant("occurred_at"),
    Column("actor", Text, nullable=False),
    Column("invoice_id", Text),
    Column("reason", Text),
    Column("clock_id", Text),
    instant("recorded_at", server_default=text("clock_timestamp()")),
    UniqueConstraint("tenant", "balance_id", "ordinal", name="uq_customer_balance_entry_ordinal"),
    CheckConstraint("after_minor >= 0", name="not_below_zero"),
    Index(
        "uq_customer_balance_entry_invoice",
        "tenant",
        "invoice_id",
        unique=True,
        postgresql_where=text("invoice_id IS NOT NULL"),
    ),
    Index("ix_customer_balance_entry_recorded_at", "tenant", "balance_id", "recorded_at"),
    Index(
        "ix_customer_balance_entry_adjustment",
        "tenant",
        "recorded_at",
        "id",
        postgresql_where=text("kind = 'adjustment'"),
    ),
)

number_series = Table(
    "number_series",
    metadata,
    tenant_column(),
    Column("seller_id", Text, primary_key=True),
    Column("series", Text, primary_key=True),
    Column("next", BigInteger, nullable=False),
)

closed_window = Table(
    "closed_window",
    metadata,
    tenant_column(),
    id_column(),
    Column("subscription_id", Text, nullable=False),
    Column("period_index", Integer, nullable=False),
    instant("window_start"),
    instant("window_end"),
    instant("closed_at"),
    json_column("totals"),
    UniqueConstraint("tenant", "subscription_id", "period_index", name="uq_closed_window_period"),
)

# What a closed window came to later: the newest only. It may be told of before the window itself.
corrected_window = Table(
    "corrected_window",
    metadata,
    tenant_column(),
    id_column(),
    Column("subscription_id", Text, nullable=False),
    Column("period_index", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    json_column("totals"),
    Column("policy", Text, nullable=False, server_default="next_invoice"),
    Column("is_billable", Boolean, nullable=False, server_default=text("true")),
    Column("billable_revision", Integer, nullable=False, server_default=text("0")),
)

# What the catalog published, whole. It never changes.
plan_version = Table(
    "plan_version",
    metadata,
    tenant_column(),
    id_column(),
    Column("code", Text, nullable=False),
    Column("number", Integer, nullable=False),
    json_column("plan"),
    Index("ix_plan_version_tenant_code_number", "tenant", "code", "number"),
)

plan_overlay = Table("plan_overlay", metadata, tenant_column(), id_column(), json_column("overlay"))

ledger_entry = Table(
    "ledger_entry",
    metadata,
    tenant_column(),
    Column("posting_key", Text, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    minor("amount_minor"),
    currency_column(),
    instant("posted_at"),
    Column("invoice_id", Text),
    Column("attempt_id", Text),
    Column("balance_entry_id", Text),
    instant("recorded_at", server_default=text("clock_timestamp()")),
    Index("ix_ledger_entry_invoice_id", "tenant", "invoice_id"),
    Index("ix_ledger_entry_recorded_at", "tenant", "recorded_at"),
)

payment_method = Table(
    "payment_method",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("behaviour", Text, nullable=False),
    Column("is_default", Boolean, nullable=False),
    version_column(),
    instant("created_at"),
    instant("removed_at", nullable=True),
    CheckConstraint("NOT is_default OR removed_at IS NULL", name="removed_is_no_default"),
    Index(
        "uq_payment_method_default", "tenant", "customer_id", unique=True, postgresql_where=text("is_default")
    ),
    Index("ix_payment_method_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_payment_method_tenant_customer", "tenant", "customer_id"),
)

payment_attempt = Table(
    "payment_attempt",
    metadata,
    tenant_column(),
    id_column(),
    Column("invoice_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("payment_method_id", Text),
    minor("amount_minor"),
    currency_column(),
    Column("gateway_reference", Text),
    Column("reason", Text),
    instant("claimed_until", nullable=True),
    instant("ended_at", nullable=True),
    instant("created_at"),
    version_column(),
    *due_columns(),
    UniqueConstraint("tenant", "invoice_id", "number", name="uq_payment_attempt_number"),
    Index(
        "uq_payment_attempt_success",
        "tenant",
        "invoice_id",
        unique=True,
        postgresql_where=text("state = 'succeeded'"),
    ),
)

# The memory of the sandbox gateway, which stands for an outside party: written on a connection of its own,
# never in a transaction of ours.
sandbox_gateway_payment = Table(
    "sandbox_gateway_payment",
    metadata,
    Column("idempotency_key", Text, primary_key=True),
    Column("payment_method_id", Text, nullable=False),
    minor("amount_minor"),
    currency_column(),
    Column("succeeded", Boolean, nullable=False),
    Column("reason", Text),
    instant("created_at", server_default=text("clock_timestamp()")),
    Index("ix_sandbox_gateway_payment_method", "payment_method_id"),
)
