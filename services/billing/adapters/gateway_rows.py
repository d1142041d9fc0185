"""What gateways tell us without being asked: each event once, worked off in the background."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text, UniqueConstraint

from libs.common.persistence.base import due_columns, id_column, instant, tenant_column
from services.billing.adapters.rows import metadata

# Only what an event is about is kept, and nothing of what it says: the gateway is asked how that stands.
gateway_event = Table(
    "gateway_event",
    metadata,
    tenant_column(),
    id_column(),
    Column("gateway", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject_kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("our_id", Text),
    instant("happened_at"),
    instant("created_at"),
    instant("done_at", nullable=True),
    *due_columns(),
    UniqueConstraint("tenant", "gateway", "account", "event_id", name="uq_gateway_event_event_id"),
    Index("ix_gateway_event_tenant_created_at", "tenant", "created_at", "id"),
)
