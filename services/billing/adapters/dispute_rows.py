"""The table of payments that banks ask back."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Table, Text

from libs.common.persistence.base import (
    currency_column,
    id_column,
    instant,
    minor,
    tenant_column,
    version_column,
)
from services.billing.adapters.rows import metadata

dispute = Table(
    "dispute",
    metadata,
    tenant_column(),
    id_column(),
    Column("payment_id", Text, nullable=False),
    Column("customer_id", Text),
    Column("gateway", Text),
    Column("reference", Text),
    Column("state", Text, nullable=False),
    minor("amount_minor"),
    minor("returned_minor"),
    minor("taken_minor"),
    currency_column(),
    Column("reason", Text, nullable=False),
    minor("fee_minor", nullable=True),
    Column("fee_currency", Text),
    instant("opened_at"),
    instant("closed_at", nullable=True),
    Column("clock_id", Text),
    version_column(),
    instant("created_at"),
    CheckConstraint("state IN ('inquiry', 'open', 'accepted', 'won', 'lost')", name="state_known"),
    CheckConstraint(
        "amount_minor > 0 AND returned_minor BETWEEN 0 AND amount_minor AND taken_minor >= 0",
        name="within_amount",
    ),
    Index("ix_dispute_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_dispute_tenant_customer", "tenant", "customer_id", "created_at"),
    Index("ix_dispute_payment", "tenant", "payment_id"),
)
