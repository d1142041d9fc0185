"""The table of the tax rates that businesses keep themselves."""

from __future__ import annotations

from sqlalchemy import Column, Date, Index, Table, Text

from libs.common.persistence.base import decimal_column, id_column, instant, tenant_column
from services.billing.adapters.rows import metadata

# Written once. Those that ship with the program are no rows.
tax_rate = Table(
    "tax_rate",
    metadata,
    tenant_column(),
    id_column(),
    Column("country", Text, nullable=False),
    Column("category", Text, nullable=False),
    decimal_column("percent", nullable=True),
    Column("valid_from", Date, nullable=False),
    Column("source", Text, nullable=False),
    instant("created_at"),
    Index("ix_tax_rate_tenant_created_at", "tenant", "created_at", "id"),
)
