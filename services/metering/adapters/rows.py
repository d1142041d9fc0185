"""Metering's tables. Usage keys and raw events are partitioned; the partitions lie in a schema of their own."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Numeric, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from libs.common.persistence.base import (
    due_columns,
    id_column,
    instant,
    json_column,
    new_metadata,
    tenant_column,
    version_column,
)
from libs.common.persistence.machinery import machinery

metadata = new_metadata()
shared = machinery(metadata)

meter = Table(
    "meter",
    metadata,
    id_column(),
    tenant_column(),
    Column("code", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("aggregation", Text, nullable=False),
    Column("value_path", ARRAY(Text)),
    json_column("dimensions"),
    json_column("filters"),
    Column("unit", Text),
    Column("description", Text),
    Column("bucket_s", Integer, nullable=False),
    instant("created_at"),
    UniqueConstraint("tenant", "code"),
    Index("ix_meter_tenant_created_at", "tenant", "created_at", "id"),
)

# 16-byte hash of (tenant, source, id), 16-byte digest of the payload, and the place of the raw event.
usage_key = Table(
    "usage_key",
    metadata,
    tenant_column(),
    Column("key", UUID(as_uuid=False), primary_key=True),
    Column("digest", UUID(as_uuid=False), nullable=False),
    instant("occurred_at"),
    postgresql_partition_by="HASH (key)",
)

usage_event = Table(
    "usage_event",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    instant("occurred_at", primary_key=True),
    Column("key", UUID(as_uuid=False), primary_key=True),
    instant("arrived_at"),
    Column("batch_id", UUID(as_uuid=False), nullable=False),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    json_column("data", nullable=True),
    Index("ix_usage_event_tenant_subject", "tenant", "subject", "type", "occurred_at"),
    postgresql_partition_by="RANGE (occurred_at)",
)

usage_bucket = Table(
    "usage_bucket",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("meter_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    instant("bucket_start", primary_key=True),
    Column("group_key", Text, primary_key=True),
    Column("event_count", BigInteger, nullable=False),
    Column("total", Numeric),
    Column("maximum", Numeric),
)

usage_reject = Table(
    "usage_reject",
    metadata,
    id_column(),
    tenant_column(),
    Column("event_id", Text),
    Column("source", Text),
    Column("type", Text),
    Column("subject", Text),
    Column("payload", Text, nullable=False),
    json_column("reasons"),
    Column("seen_count", Integer, nullable=False),
    instant("first_seen_at"),
    instant("last_seen_at"),
    Index("ix_usage_reject_tenant_first_seen_at", "tenant", "first_seen_at", "id"),
)

usage_conflict = Table(
    "usage_conflict",
    metadata,
    id_column(),
    tenant_column(),
    Column("key", UUID(as_uuid=False), nullable=False),
    Column("first_digest", UUID(as_uuid=False), nullable=False),
    Column("other_digest", UUID(as_uuid=False), nullable=False),
    Column("event_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("seen_count", Integer, nullable=False),
    instant("first_seen_at"),
    instant("last_seen_at"),
    Index("ix_usage_conflict_tenant_first_seen_at", "tenant", "first_seen_at", "id"),
)

subject_binding = Table(
    "subject_binding",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("subject", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    instant("bound_from"),
    instant("bound_until", nullable=True),
    Index("ix_subject_binding_tenant_item_id", "tenant", "item_id", "meter"),
    Index("ix_subject_binding_tenant_subject", "tenant", "subject", "meter", "bound_from"),
)

metered_subscription = Table(
    "metered_subscription",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("customer_id", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("clock_id", Text),
    Index("ix_metered_subscription_tenant_customer_id", "tenant", "customer_id"),
)

metered_item = Table(
    "metered_item",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("subscription_id", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Index("ix_metered_item_tenant_subscription_id", "tenant", "subscription_id"),
)

usage_window = Table(
    "usage_window",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("subscription_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("period_index", Integer, nullable=False),
    Column("state", Text, nullable=False),
    instant("window_start"),
    instant("window_end"),
    json_column("items"),
    json_column("awaited", nullable=True),
    Column("awaited_usage", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    json_column("totals"),
    Column("revision", Integer, nullable=False, server_default=text("0")),
    Column("terms_version", Integer, nullable=False, server_default=text("0")),
    instant("closed_at", nullable=True),
    instant("created_at"),
    *due_columns(),
    UniqueConstraint("tenant", "subscription_id", "period_index"),
    Index("ix_usage_window_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_usage_window_tenant_settled", "tenant", "window_end", postgresql_where=text("state <> 'open'")),
)

late_usage = Table(
    "late_usage",
    metadata,
    id_column(),
    tenant_column(),
    Column("window_id", Text, nullable=False),
    instant("noted_at", server_default=text("clock_timestamp()")),
    *due_columns(),
)

# What was said last of the usage of an item, whose id it has. It is due by the wall, whatever clock its customer has.
usage_balance = Table(
    "usage_balance",
    metadata,
    id_column(),
    tenant_column(),
    Column("version", Integer, nullable=False, server_default=text("0")),
    Column("window_id", Text),
    Column("quantity", Numeric),
    instant("said_at", nullable=True),
    *due_columns(),
)

# How far the usage topic is stored, by partition; changed in the transaction that stores. Machinery: no tenant.
usage_offset = Table(
    "usage_offset",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)

# What became of the events of one request that travelled in one record of the usage topic.
usage_batch = Table(
    "usage_batch",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("batch_id", UUID(as_uuid=False), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("batch_event_count", Integer, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("duplicate", Integer, nullable=False),
    Column("conflict", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    instant("arrived_at"),
    instant("settled_at"),
    instant("expires_at", index=True),
)

# An accepted event that was not stored. `place` is its place in the request.
usage_result = Table(
    "usage_result",
    metadata,
    id_column(),
    tenant_column(),
    Column("batch_id", UUID(as_uuid=False), nullable=False),
    Column("place", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("event_id", Text),
    Column("source", Text),
    json_column("reasons"),
    instant("settled_at"),
    Index("ix_usage_result_tenant_settled_at", "tenant", "settled_at", "id"),
    Index("ix_usage_result_tenant_batch_id", "tenant", "batch_id", "settled_at", "id"),
)

DUE_TABLES = (usage_window, late_usage)
