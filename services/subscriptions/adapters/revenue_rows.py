"""Tables of recurring revenue, and of the invoices that customers are heard to owe."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import UUID

from libs.common.persistence.base import (
    currency_column,
    decimal_column,
    due_columns,
    id_column,
    instant,
    minor,
    tenant_column,
)
from services.subscriptions.adapters.rows import metadata

# Append-only: what a change of the past makes of it is added, dated when that took effect.
revenue_movement = Table(
    "revenue_movement",
    metadata,
    id_column(),
    tenant_column(),
    Column("customer_id", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("on_date", Date, nullable=False),
    currency_column(),
    Column("part", Text, nullable=False),
    decimal_column("amount"),
    Column("cause", Text, nullable=False),
    Column("clock_id", Text),
    instant("recorded_at"),
    CheckConstraint("part IN ('agreement', 'indexation')", name="part"),
    CheckConstraint("amount <> 0", name="moves"),
    CheckConstraint(
        "cause IN ('started', 'renewed', 'changed', 'paused', 'resumed', 'ended', 'filled')", name="cause"
    ),
    Index("ix_revenue_movement_tenant_customer_id_on_date", "tenant", "customer_id", "on_date"),
    Index("ix_revenue_movement_tenant_subscription_id", "tenant", "subscription_id"),
)

# One for each subscription from before there were movements, by its id, until those of its past are written.
revenue_fill = Table("revenue_fill", metadata, id_column(), tenant_column(), *due_columns())

# What billing told of an invoice, in any order: the least that says whether it is paid, and since when it should be.
# `open_round` is the greatest that was opened (again, after a payment was taken back), `paid_round` that was paid.
# `owed_minor` is null until the invoice itself was told of; `customer_id` is who pays.
customer_invoice = Table(
    "customer_invoice",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    currency_column(),
    minor("owed_minor", nullable=True),
    minor("credited_minor", server_default=text("0")),
    minor("paid_minor", server_default=text("0")),
    minor("reopened_minor", server_default=text("0")),
    Column("due_on", Date),
    Column("open_round", Integer, nullable=False, server_default=text("0")),
    Column("paid_round", Integer, nullable=False, server_default=text("-1")),
    Column("is_void", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("paid_round >= -1 AND open_round >= 0", name="rounds"),
    Index(
        "ix_customer_invoice_owed",
        "tenant",
        "customer_id",
        postgresql_where=text("paid_round < open_round AND NOT is_void"),
    ),
)
