"""The table of dunnings: which step of which invoice is due when, and what lies behind."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Date, Index, Integer, Table, Text, text

from libs.common.persistence.base import (
    due_columns,
    id_column,
    instant,
    json_column,
    tenant_column,
    version_column,
)
from services.billing.adapters.rows import metadata

# Made when the first try fails, or when an invoice is issued that nobody tries to collect; its invoice is locked then.
# One of an invoice that was paid stays as it was: its next step finds nothing due, and comes to rest.
dunning = Table(
    "dunning",
    metadata,
    tenant_column(),
    id_column(),
    Column("invoice_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reopened_count", Integer, nullable=False),
    Column("counted_from", Date, nullable=False),
    Column("zone", Text, nullable=False),
    json_column("agreements"),
    json_column("retry_days"),
    Column("is_collected", Boolean, nullable=False),
    json_column("behind", server_default=text("'[]'")),
    instant("retries_ended_at", nullable=True),
    Column("delay_days", Integer, nullable=False, server_default=text("0")),
    instant("paused_at", nullable=True),
    instant("paused_until", nullable=True),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    instant("retry_held_at", nullable=True),
    version_column(),
    instant("created_at"),
    *due_columns(),
    CheckConstraint("state IN ('running', 'paused', 'exhausted')", name="state_known"),
    CheckConstraint("(state = 'paused') = (paused_at IS NOT NULL)", name="paused_since"),
    Index("uq_dunning_invoice", "tenant", "invoice_id", unique=True),
    Index("ix_dunning_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_dunning_tenant_customer", "tenant", "customer_id", "created_at", "id"),
)
