"""Metering's tables. Usage keys and raw events are partitioned; the partitions lie in a schema of their own."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
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
    Column("value_expression", Text),
    Column("exclusions", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("filter_expression", Text),
    Column("options", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("operation_path", ARRAY(Text)),
    Column("is_computed", Boolean, nullable=False, server_default=text("false")),
    Column("counter", JSONB(none_as_null=True)),
    Column("version", Integer, nullable=False, server_default=text("1")),
    instant("valid_from", nullable=True),
    instant("valid_until", nullable=True),
    instant("filled_until", nullable=True),
    instant("filled_at", nullable=True),
    UniqueConstraint("tenant", "code", "version"),
    Index("ix_meter_tenant_created_at", "tenant", "created_at", "id"),
)

# How far the events that were there before a version of a meter are summed up. Its id is the version's.
meter_back_fill = Table(
    "meter_back_fill",
    metadata,
    id_column(),
    tenant_column(),
    Column("event_count", BigInteger, nullable=False),
    Column("events_total", BigInteger, nullable=False),
    instant("started_at", nullable=True),
    instant("done_at", nullable=True),
    *due_columns(),
)

# What the expressions of a meter made of an event.
usage_measurement = Table(
    "usage_measurement",
    metadata,
    tenant_column(),
    Column("meter_id", Text, primary_key=True),
    Column("key", UUID(as_uuid=False), primary_key=True),
    instant("occurred_at"),
    Column("group_key", Text, nullable=False),
    Column("value", Numeric),
    Column("member", Text),
    Column("is_in", Boolean, nullable=False, server_default=text("true")),
    Index("ix_usage_measurement_occurred_at", "occurred_at", postgresql_using="brin"),
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
    Column("minimum", Numeric),
    Column("maximum", Numeric),
    instant("latest_at", nullable=True),
    Column("latest_key", UUID(as_uuid=False)),
    Column("latest_value", Numeric),
    instant("first_at", nullable=True),
    Column("area", Numeric),
    postgresql_partition_by="RANGE (bucket_start)",
)

# What was said last, in a bucket, of each thing that is counted once.
usage_member = Table(
    "usage_member",
    metadata,
    Column("tenant", UUID(as_uuid=False), primary_key=True),
    Column("meter_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    instant("bucket_start", primary_key=True),
    Column("group_key", Text, primary_key=True),
    Column("member", Text, primary_key=True),
    instant("last_at"),
    Column("last_key", UUID(as_uuid=False), nullable=False),
    Column("is_in", Boolean, nullable=False),
)

# What counts of an identity (the key of what was sent first) from its `revision` on: the raw event `key` no longer, the
# raw event `replacement_key` instead. `key` is null when nothing counted before, because it had been voided.
usage_correction = Table(
    "usage_correction",
    metadata,
    id_column(),
    tenant_column(),
    Column("kind", Text, nullable=False),
    Column("identity", UUID(as_uuid=False), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("key", UUID(as_uuid=False)),
    instant("occurred_at"),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("replacement_key", UUID(as_uuid=False)),
    instant("replacement_occurred_at", nullable=True),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    instant("corrected_at"),
    CheckConstraint("kind IN ('void', 'amendment')", name="kind"),
    CheckConstraint("(kind = 'amendment') = (replacement_key IS NOT NULL)", name="replacement"),
    UniqueConstraint("key"),
    UniqueConstraint("replacement_key"),
    UniqueConstraint("identity", "revision"),
    Index("ix_usage_correction_tenant_corrected_at", "tenant", "corrected_at", "id"),
    Index("ix_usage_correction_tenant_source", "tenant", "source", "event_id"),
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
    Column("resolution", Text),
    instant("resolved_at", nullable=True),
    Column("resolved_by", Text),
    Column("resolved_note", Text),
    CheckConstraint("resolution IN ('stored', 'duplicate', 'dismissed')", name="resolution"),
    Index("ix_usage_reject_tenant_first_seen_at", "tenant", "first_seen_at", "id"),
    Index(
        "ix_usage_reject_tenant_open",
        "tenant",
        "first_seen_at",
        "id",
        postgresql_where=text("resolution IS NULL"),
    ),
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
    Column("asset_id", Text),
    Index("ix_subject_binding_tenant_asset_id", "tenant", "asset_id", "meter"),
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
    Column("late_usage_policy", Text, nullable=False, server_default="next_invoice"),
    Column("late_usage_days", Integer),
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
    Column("held_by", ARRAY(Text), nullable=False, server_default="{}"),
    instant("whole_start", nullable=True),
    instant("whole_end", nullable=True),
    json_column("recount_refusal", nullable=True),
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
    Column("cause", Text),
    Column("event_keys", ARRAY(UUID(as_uuid=False))),
    instant("business_noted_at", nullable=True),
    *due_columns(),
    Index("ix_late_usage_tenant_window_id", "tenant", "window_id"),
)

# Each correction of a closed window, as it was said.
usage_window_correction = Table(
    "usage_window_correction",
    metadata,
    id_column(),
    tenant_column(),
    Column("window_id", Text, nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("period_index", Integer, nullable=False),
    instant("window_start"),
    instant("window_end"),
    Column("revision", Integer, nullable=False),
    json_column("before"),
    json_column("totals"),
    json_column("differences"),
    json_column("events"),
    Column("changed_event_count", Integer, nullable=False),
    Column("policy", Text, nullable=False),
    Column("is_billable", Boolean, nullable=False),
    instant("corrected_at"),
    instant("created_at", server_default=text("clock_timestamp()")),
    UniqueConstraint("tenant", "window_id", "revision"),
    Index("ix_usage_window_correction_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_usage_window_correction_tenant_subscription_id", "tenant", "subscription_id", "created_at"),
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

# How long a tenant keeps raw events, and from when on they are there. The id is the tenant's.
usage_retention = Table(
    "usage_retention",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("kept_days", Integer),
    instant("kept_from", nullable=True),
    instant("noted_at", nullable=True),
    *due_columns(),
    UniqueConstraint("tenant"),
)

# From when on raw events of anybody are there: one row. Machinery: no tenant.
usage_kept = Table(
    "usage_kept",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    instant("kept_from"),
    instant("noted_at"),
)

# A usage alert is never changed. It is due when it must be looked at for another reason than usage that was stored.
usage_alert = Table(
    "usage_alert",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("subscription_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("item_id", Text),
    Column("meter", Text, nullable=False),
    Column("limit_quantity", Numeric),
    json_column("marks"),
    Column("name", Text),
    instant("created_at"),
    *due_columns(),
    Index("ix_usage_alert_tenant_created_at", "tenant", "created_at", "id"),
    Index("ix_usage_alert_tenant_subscription_id", "tenant", "subscription_id", "meter"),
)

# The id is derived from alert, window and mark: whoever comes second finds it there.
usage_alert_firing = Table(
    "usage_alert_firing",
    metadata,
    id_column(),
    tenant_column(),
    Column("alert_id", Text, nullable=False),
    Column("window_id", Text, nullable=False),
    Column("place", Integer, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("period_index", Integer, nullable=False),
    Column("threshold", Numeric, nullable=False),
    Column("percent", Numeric),
    Column("quantity", Numeric, nullable=False),
    instant("fired_at"),
    Index("ix_usage_alert_firing_tenant_alert_id", "tenant", "alert_id", "fired_at", "id"),
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

# What counters showed. The id is derived from the identity of a reading, so that it is taken once for ever.
meter_reading = Table(
    "meter_reading",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("meter", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sent_id", Text),
    Column("sent_digest", Text, nullable=False),
    Column("device", Text),
    instant("read_at"),
    Column("value", Numeric, nullable=False),
    Column("quality", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("register_digits", Integer),
    Column("old_end", Numeric),
    Column("new_start", Numeric),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("is_certain", Boolean, nullable=False),
    Column("replaces", Text),
    Column("author", Text, nullable=False),
    instant("received_at"),
    Index("ix_meter_reading_tenant_meter_subject", "tenant", "meter", "subject", "read_at", "id"),
    Index("ix_meter_reading_tenant_received_at", "tenant", "received_at", "id"),
    Index(
        "ix_meter_reading_tenant_held",
        "tenant",
        "meter",
        "subject",
        "read_at",
        postgresql_where=text("state = 'held'"),
    ),
)

# What a person has to look at: a reading that is kept aside, or one that is needed.
reading_exception = Table(
    "reading_exception",
    metadata,
    id_column(),
    tenant_column(),
    version_column(),
    Column("kind", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reading_id", Text),
    instant("needed_at", nullable=True),
    Column("told", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("resolution", Text),
    Column("reason", Text),
    Column("resolved_by", Text),
    instant("opened_at"),
    instant("resolved_at", nullable=True),
    Index("ix_reading_exception_tenant_opened_at", "tenant", "opened_at", "id"),
    Index(
        "ix_reading_exception_tenant_open",
        "tenant",
        "meter",
        "subject",
        "needed_at",
        postgresql_where=text("state = 'open'"),
    ),
    Index(
        "uq_reading_exception_reading_id", "reading_id", unique=True, postgresql_where=text("state = 'open'")
    ),
)

# What was made of readings: the usage event of this id says the same. Those without `voided_at` count.
reading_consumption = Table(
    "reading_consumption",
    metadata,
    id_column(),
    tenant_column(),
    Column("meter", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reading_id", Text, nullable=False),
    instant("starts_at"),
    instant("ends_at"),
    instant("counts_at"),
    Column("quantity", Numeric, nullable=False),
    Column("rule", Text, nullable=False),
    Column("is_estimated", Boolean, nullable=False),
    json_column("true_up", nullable=True),
    Column("behind", ARRAY(Text), nullable=False),
    instant("made_at"),
    instant("voided_at", nullable=True),
    Index("ix_reading_consumption_tenant_reading_id", "tenant", "reading_id"),
    Index(
        "ix_reading_consumption_tenant_counted",
        "tenant",
        "meter",
        "subject",
        "counts_at",
        "id",
        postgresql_where=text("voided_at IS NULL"),
    ),
)

# A closed window that is to be sealed. Notes are only ever added: whoever closes or corrects waits for nobody who seals.
usage_seal_note = Table(
    "usage_seal_note",
    metadata,
    id_column(),
    tenant_column(),
    Column("window_id", Text, nullable=False),
    *due_columns(),
    Index("ix_usage_seal_note_tenant_window_id", "tenant", "window_id"),
)

# What stands for the events behind each total of a sealed window; only ever added to. See domain/usage_seal.py.
usage_digest = Table(
    "usage_digest",
    metadata,
    id_column(),
    tenant_column(),
    Column("window_id", Text, nullable=False),
    Column("seal", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("price_id", Text),
    Column("meter", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("leaf_count", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("chunks", LargeBinary, nullable=False),
    instant("sealed_at"),
    Index("ix_usage_digest_tenant_window_id", "tenant", "window_id", "seal"),
)

DUE_TABLES = (usage_window, late_usage, usage_seal_note)
