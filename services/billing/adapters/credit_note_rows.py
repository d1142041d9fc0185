"""Tables of what corrects an issued invoice, of money that is to be given back, and of what is left as security."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Date, Index, Integer, Table, Text, UniqueConstraint

from libs.common.persistence.base import (
    currency_column,
    decimal_column,
    due_columns,
    id_column,
    instant,
    json_column,
    minor,
    tenant_column,
    version_column,
)
from services.billing.adapters.rows import metadata

# Written once, with its lines.
credit_note = Table(
    "credit_note",
    metadata,
    tenant_column(),
    id_column(),
    Column("invoice_id", Text, nullable=False),
    Column("invoice_number", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    json_column("customer"),
    Column("seller_id", Text, nullable=False),
    json_column("seller"),
    Column("series", Text, nullable=False),
    Column("number", Text, nullable=False),
    currency_column(),
    Column("zone", Text, nullable=False),
    Column("reason", Text, nullable=False),
    minor("net_minor"),
    minor("tax_minor"),
    minor("total_minor"),
    minor("to_invoice_minor"),
    minor("to_balance_minor"),
    minor("to_refund_minor"),
    json_column("taxes"),
    instant("issued_at"),
    Column("issued_on", Date, nullable=False),
    instant("created_at"),
    Column("clock_id", Text),
    UniqueConstraint("tenant", "seller_id", "series", "number", name="uq_credit_note_number"),
    CheckConstraint("net_minor + tax_minor = total_minor AND total_minor > 0", name="adds_up"),
    CheckConstraint(
        "least(to_invoice_minor, to_balance_minor, to_refund_minor) >= 0 AND "
        "to_invoice_minor + to_balance_minor + to_refund_minor = total_minor",
        name="goes_somewhere",
    ),
    Index("ix_credit_note_invoice", "tenant", "invoice_id"),
    Index("ix_credit_note_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_credit_note_tenant_customer", "tenant", "customer_id", "created_at"),
)

credit_note_line = Table(
    "credit_note_line",
    metadata,
    tenant_column(),
    id_column(),
    Column("credit_note_id", Text, nullable=False),
    Column("invoice_line_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("description", Text, nullable=False),
    decimal_column("quantity"),
    decimal_column("unit_amount"),
    minor("amount_minor"),
    minor("paid_minor"),
    minor("net_minor"),
    currency_column(),
    Column("tax_category", Text, nullable=False),
    decimal_column("tax_percent"),
    Column("tax_behavior", Text, nullable=False),
    Column("tax_reason_code", Text),
    Column("tax_reason", Text),
    Column("service_start_on", Date, nullable=False),
    Column("service_end_on", Date, nullable=False),
    UniqueConstraint("tenant", "credit_note_id", "ordinal", name="uq_credit_note_line_ordinal"),
    Index("ix_credit_note_line_invoice_line", "tenant", "invoice_line_id"),
)

# Money that is to be given back, of a credit note or of a deposit.
refund = Table(
    "refund",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    minor("amount_minor"),
    currency_column(),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("credit_note_id", Text),
    Column("invoice_id", Text),
    Column("deposit_id", Text),
    Column("clock_id", Text),
    version_column(),
    instant("created_at"),
    CheckConstraint("amount_minor > 0", name="of_something"),
    CheckConstraint(
        "(deposit_id IS NULL) = (credit_note_id IS NOT NULL) AND "
        "(credit_note_id IS NULL) = (invoice_id IS NULL)",
        name="for_one_thing",
    ),
    Index("ix_refund_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_refund_tenant_customer", "tenant", "customer_id", "created_at"),
    Index("ix_refund_invoice", "tenant", "invoice_id"),
    Index("ix_refund_deposit", "tenant", "deposit_id"),
)

# What is left as security. `due_at` is when what is held expires.
deposit = Table(
    "deposit",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    Column("subscription_id", Text),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    minor("amount_minor"),
    minor("collected_minor"),
    minor("applied_minor"),
    minor("released_minor"),
    currency_column(),
    Column("set_off", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("invoice_id", Text),
    instant("expires_at", nullable=True),
    version_column(),
    instant("created_at"),
    *due_columns(),
    CheckConstraint(
        "amount_minor > 0 AND collected_minor BETWEEN 0 AND amount_minor AND applied_minor >= 0 "
        "AND released_minor >= 0 AND applied_minor + released_minor <= collected_minor",
        name="within_amount",
    ),
    CheckConstraint("(kind = 'collected') = (invoice_id IS NOT NULL)", name="asked_for_by_document"),
    Index("ix_deposit_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_deposit_tenant_customer", "tenant", "customer_id", "created_at"),
)
