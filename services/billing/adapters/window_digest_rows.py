"""The table of what seals closed windows, as metering said it."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text

from libs.common.persistence.base import id_column, instant, json_column, tenant_column
from services.billing.adapters.rows import metadata

# One row for each seal; only ever added to. The highest seal of a revision is its newest.
window_digest = Table(
    "window_digest",
    metadata,
    tenant_column(),
    id_column(),
    Column("window_id", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("period_index", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("seal", Integer, nullable=False),
    json_column("digests"),
    instant("sealed_at"),
    Index("ix_window_digest_tenant_window_id", "tenant", "window_id", "seal"),
)
