"""Tables of money that came. Amounts are minor units of the row's currency."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, Integer, Table, Text, text
from sqlalchemy import UniqueConstraint as Unique

from libs.common.persistence.base import (
    currency_column,
    id_column,
    instant,
    minor,
    tenant_column,
    version_column,
)
from services.billing.adapters.rows import metadata

# What is neither gone again, nor on an invoice or a balance, is unapplied: by the difference, and so never wrong.
payment = Table(
    "payment",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text),
    Column("way", Text, nullable=False),
    Column("state", Text, nullable=False),
    minor("amount_minor"),
    minor("reversed_minor"),
    minor("allocated_minor"),
    minor("to_balance_minor"),
    Column(
        "unapplied_minor",
        BigInteger,
        nullable=False,
        server_default=text("0"),
    ),
    currency_column(),
    Column("received_on", Date, nullable=False),
    instant("received_at"),
    Column("allocation_count", Integer, nullable=False),
    Column("attempt_id", Text),
    Column("entry_id", Text),
    Column("reference", Text),
    Column("payer", Text),
    Column("note", Text),
    Column("reversal_reason", Text),
    instant("reversed_at", nullable=True),
    Column("clock_id", Text),
    version_column(),
    CheckConstraint(
        "amount_minor > 0 AND reversed_minor >= 0 AND allocated_minor >= 0 AND to_balance_minor >= 0 "
        "AND unapplied_minor >= 0 "
        "AND reversed_minor + allocated_minor + to_balance_minor + unapplied_minor = amount_minor",
        name="adds_up",
    ),
    CheckConstraint("(state = 'reversed') = (reversed_minor = amount_minor)", name="reversed_whole"),
    CheckConstraint(
        "customer_id IS NOT NULL OR (allocated_minor = 0 AND to_balance_minor = 0)", name="of_somebody"
    ),
    Index("ix_payment_tenant_received_at", "tenant", "received_at", "id"),
    Index("ix_payment_tenant_customer", "tenant", "customer_id", "received_at"),
    Index(
        "uq_payment_attempt",
        "tenant",
        "attempt_id",
        unique=True,
        postgresql_where=text("attempt_id IS NOT NULL"),
    ),
    Index("ix_payment_entry", "tenant", "entry_id", postgresql_where=text("entry_id IS NOT NULL")),
)

# Each part that was put somewhere, or taken back; written once.
payment_allocation = Table(
    "payment_allocation",
    metadata,
    tenant_column(),
    id_column(),
    Column("payment_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("invoice_id", Text),
    minor("amount_minor"),
    currency_column(),
    instant("made_at"),
    Column("actor", Text, nullable=False),
    Column("takes_back_id", Text),
    CheckConstraint("amount_minor <> 0", name="of_something"),
    CheckConstraint("(amount_minor < 0) = (takes_back_id IS NOT NULL)", name="takes_back_something"),
    Unique("tenant", "payment_id", "ordinal", name="uq_payment_allocation_ordinal"),
    Index(
        "ix_payment_allocation_invoice",
        "tenant",
        "invoice_id",
        postgresql_where=text("invoice_id IS NOT NULL"),
    ),
)
