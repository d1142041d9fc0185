"""Tables of billing runs and of spend thresholds."""

from __future__ import annotations

from sqlalchemy import CHAR, BigInteger, Boolean, CheckConstraint, Column, Index, Integer, Table, Text, text

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

# What a tenant says of its runs. It has the id of the tenant.
billing_run_settings = Table(
    "billing_run_settings",
    metadata,
    tenant_column(),
    id_column(),
    decimal_column("run_limit_multiple", nullable=True),
    Column("requires_run", Boolean, nullable=False),
    Column("gathering_hours", Integer, nullable=False),
    version_column(),
)

billing_run = Table(
    "billing_run",
    metadata,
    tenant_column(),
    id_column(),
    instant("until"),
    Column("is_dry", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("is_gathered", Boolean, nullable=False),
    Column("invoice_count", Integer, nullable=False),
    json_column("totals"),
    json_column("exceeded"),
    Column("decided_by", Text),
    instant("decided_at", nullable=True),
    Column("reason", Text),
    instant("finished_at", nullable=True),
    instant("created_at"),
    version_column(),
    *due_columns(),
    Index("ix_billing_run_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_billing_run_finished", "tenant", "finished_at", postgresql_where=text("state = 'finished'")),
)

# One document of a run. While `holds`, no other run and no scheduler may finalize it.
billing_run_document = Table(
    "billing_run_document",
    metadata,
    tenant_column(),
    id_column(),
    Column("run_id", Text, nullable=False),
    Column("invoice_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    currency_column(),
    Column("is_dry", Boolean, nullable=False),
    Column("holds", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    minor("total_minor", nullable=True),
    Column("line_count", Integer),
    Column("reason", Text),
    instant("created_at"),
    *due_columns(),
    CheckConstraint("NOT (holds AND is_dry)", name="dry_holds_nothing"),
    Index("ix_billing_run_document_run", "tenant", "run_id", "created_at", "id"),
    Index("uq_billing_run_document_run", "run_id", "invoice_id", unique=True),
    Index(
        "uq_billing_run_document_held",
        "tenant",
        "invoice_id",
        unique=True,
        postgresql_where=text("holds"),
    ),
)

# At which amount of usage that is not invoiced yet a subscription is billed at once. It has the subscription's id.
spend_threshold = Table(
    "spend_threshold",
    metadata,
    tenant_column(),
    id_column(),
    Column("customer_id", Text, nullable=False),
    Column("amount_minor", BigInteger),
    Column("currency", CHAR(3)),
    instant("checked_at", nullable=True),
    instant("created_at"),
    version_column(),
    *due_columns(),
    CheckConstraint("amount_minor > 0", name="above_zero"),
    CheckConstraint("(amount_minor IS NULL) = (currency IS NULL)", name="amount_has_currency"),
    Index("ix_spend_threshold_tenant_created_at", "tenant", "created_at", "id"),
)
