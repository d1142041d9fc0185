"""Metering's first tables: meters, usage with its keys and running sums, windows, and copies of what others say."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import APP, let_finder_claim, protect
from libs.common.persistence.machinery import protect_machinery

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY_PARTITIONS = 16
PARTITIONS = "usage_partitions"

# Nobody but the owner may enter this schema: its tables are reached through their parents, and so by their policies.
PARTITION_STATEMENTS = [
    f"CREATE SCHEMA {PARTITIONS}",
    f"REVOKE ALL ON SCHEMA {PARTITIONS} FROM PUBLIC",
    *(
        f"CREATE TABLE {PARTITIONS}.usage_key_{n:02} PARTITION OF usage_key "
        f"FOR VALUES WITH (MODULUS {KEY_PARTITIONS}, REMAINDER {n})"
        for n in range(KEY_PARTITIONS)
    ),
    f"CREATE TABLE {PARTITIONS}.usage_event_before_2000 PARTITION OF usage_event "
    "FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00')",
]

# Runs as its owner, since the app may make no tables. The table is made first and attached then, which locks out
# neither readers nor writers of the others.
ENSURE_USAGE_MONTH = f"""
CREATE FUNCTION ensure_usage_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition_name text := 'usage_event_' || to_char(month, 'YYYY_MM');
    next_month date := (month + interval '1 month')::date;
BEGIN
    IF month <> date_trunc('month', month)::date OR month < '2000-01-01'
       OR month > (now() + interval '10 years')::date THEN
        RAISE EXCEPTION 'not a month that usage is kept for: %', month USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF to_regclass('{PARTITIONS}.' || partition_name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_usage_month', 0));
    -- Asked of the catalog itself: to_regclass would answer again what it has just remembered.
    IF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = '{PARTITIONS}'::regnamespace
               AND c.relname = partition_name) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE {PARTITIONS}.%I (LIKE public.usage_event)', partition_name);
    EXECUTE format(
        'ALTER TABLE public.usage_event ATTACH PARTITION {PARTITIONS}.%I FOR VALUES FROM (%L) TO (%L)',
        partition_name, month || ' 00:00:00+00', next_month || ' 00:00:00+00');
END $$
"""

# What a meter takes from an event, as services/metering/domain/measurement.py says it. A test compares the two.
READING_FUNCTIONS = [
    """
CREATE FUNCTION usage_value(data jsonb, path text[]) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(data #> path)
        WHEN 'number' THEN (data #>> path)::numeric
        WHEN 'string' THEN CASE
            WHEN length(data #>> path) <= 40 AND (data #>> path) ~ '^-?[0-9]+([.][0-9]+)?$'
            THEN (data #>> path)::numeric END
    END
$$""",
    """
CREATE FUNCTION usage_text(data jsonb, path text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN jsonb_typeof(data #> path) IN ('string', 'number', 'boolean') THEN data #>> path END
$$""",
    """
CREATE FUNCTION usage_path(step jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY(SELECT name FROM jsonb_array_elements_text(step -> 'path') WITH ORDINALITY AS p(name, n) ORDER BY n)
$$""",
    """
CREATE FUNCTION usage_group(data jsonb, dimensions jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN dimensions = '[]'::jsonb THEN '[]' ELSE (
        SELECT jsonb_agg(
            CASE WHEN octet_length(usage_text(data, usage_path(d))) <= 256 THEN usage_text(data, usage_path(d)) END
            ORDER BY n)::text
        FROM jsonb_array_elements(dimensions) WITH ORDINALITY AS x(d, n)
    ) END
$$""",
    """
CREATE FUNCTION usage_matches(data jsonb, filters jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT filters = '[]'::jsonb OR NOT EXISTS (
        SELECT FROM jsonb_array_elements(filters) AS x(f)
        WHERE NOT coalesce(jsonb_exists(f -> 'values', usage_text(data, usage_path(f))), false)
    )
$$""",
]


def upgrade() -> None:
    _create_machinery()
    _create_metering()
    _protect()


def _protect() -> None:
    statements = [
        *protect_machinery(),
        *protect("meter", writes="SELECT, INSERT"),
        *protect("usage_key", writes="SELECT, INSERT"),
        *protect("usage_event", writes="SELECT, INSERT"),
        *protect("usage_bucket", writes="SELECT, INSERT, UPDATE"),
        *protect("usage_reject", writes="SELECT, INSERT, UPDATE"),
        *protect("usage_conflict", writes="SELECT, INSERT, UPDATE"),
        *protect("subject_binding", writes="SELECT, INSERT, UPDATE"),
        *protect("metered_subscription", writes="SELECT, INSERT, UPDATE"),
        *protect("metered_item", writes="SELECT, INSERT, UPDATE"),
        *protect("usage_window", writes="SELECT, INSERT, UPDATE"),
        *protect("late_usage"),
        *let_finder_claim("usage_window"),
        *let_finder_claim("late_usage"),
        *PARTITION_STATEMENTS,
        "ALTER TABLE usage_bucket SET (fillfactor = 80)",  # sums change in place
        *READING_FUNCTIONS,
        ENSURE_USAGE_MONTH,
        "REVOKE ALL ON FUNCTION ensure_usage_month(date) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION ensure_usage_month(date) TO {APP}",
    ]
    for statement in statements:
        op.execute(statement)


def _create_metering() -> None:
    op.create_table(
        "meter",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("value_path", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("dimensions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("filters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("bucket_s", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter")),
        sa.UniqueConstraint("tenant", "code", name=op.f("uq_meter_tenant_code")),
    )
    op.create_index("ix_meter_tenant_created_at", "meter", ["tenant", "created_at", "id"], unique=False)
    op.create_table(
        "usage_key",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("key", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("digest", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_usage_key")),
        postgresql_partition_by="HASH (key)",
    )
    op.create_table(
        "usage_event",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("batch_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "occurred_at", "key", name=op.f("pk_usage_event")),
        postgresql_partition_by="RANGE (occurred_at)",
    )
    op.create_index(
        "ix_usage_event_tenant_subject",
        "usage_event",
        ["tenant", "subject", "type", "occurred_at"],
        unique=False,
    )
    op.create_table(
        "usage_bucket",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("meter_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("bucket_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=True),
        sa.Column("maximum", sa.Numeric(), nullable=True),
        sa.PrimaryKeyConstraint(
            "tenant", "meter_id", "subject", "bucket_start", "group_key", name=op.f("pk_usage_bucket")
        ),
    )
    op.create_table(
        "usage_reject",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seen_count", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_reject")),
    )
    op.create_index(
        "ix_usage_reject_tenant_first_seen_at",
        "usage_reject",
        ["tenant", "first_seen_at", "id"],
        unique=False,
    )
    op.create_table(
        "usage_conflict",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("key", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("first_digest", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("other_digest", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("seen_count", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_conflict")),
    )
    op.create_index(
        "ix_usage_conflict_tenant_first_seen_at",
        "usage_conflict",
        ["tenant", "first_seen_at", "id"],
        unique=False,
    )
    op.create_table(
        "subject_binding",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("bound_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bound_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject_binding")),
    )
    op.create_index(
        "ix_subject_binding_tenant_item_id", "subject_binding", ["tenant", "item_id", "meter"], unique=False
    )
    op.create_index(
        "ix_subject_binding_tenant_subject",
        "subject_binding",
        ["tenant", "subject", "meter", "bound_from"],
        unique=False,
    )
    op.create_table(
        "metered_subscription",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metered_subscription")),
    )
    op.create_index(
        "ix_metered_subscription_tenant_customer_id",
        "metered_subscription",
        ["tenant", "customer_id"],
        unique=False,
    )
    op.create_table(
        "metered_item",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metered_item")),
    )
    op.create_index(
        "ix_metered_item_tenant_subscription_id", "metered_item", ["tenant", "subscription_id"], unique=False
    )
    op.create_table(
        "usage_window",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("period_index", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("awaited", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("totals", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_window")),
        sa.UniqueConstraint(
            "tenant",
            "subscription_id",
            "period_index",
            name=op.f("uq_usage_window_tenant_subscription_id_period_index"),
        ),
    )
    op.create_index(
        "ix_usage_window_tenant_created_at", "usage_window", ["tenant", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_usage_window_tenant_settled",
        "usage_window",
        ["tenant", "window_end"],
        unique=False,
        postgresql_where=sa.text("state <> 'open'"),
    )
    op.create_table(
        "late_usage",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column(
            "noted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_late_usage")),
    )


def _create_machinery() -> None:
    op.create_table(
        "outbox",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("aggregate_version", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("test_clock", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_outbox")),
        sa.UniqueConstraint("id", name=op.f("uq_outbox_id")),
    )
    op.create_index(
        "ix_outbox_published_at",
        "outbox",
        ["published_at"],
        unique=False,
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["position"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "inbox",
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column(
            "handled_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("handler", "message_id", name=op.f("pk_inbox")),
    )
    op.create_index(op.f("ix_inbox_handled_at"), "inbox", ["handled_at"], unique=False)
    op.create_table(
        "message_failure",
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("test_clock", sa.Text(), nullable=True),
        sa.Column("dead", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column(
            "first_failed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "last_failed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("handler", "message_id", name=op.f("pk_message_failure")),
    )
    op.create_table(
        "change_log",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("aggregate_version", sa.Integer(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_change_log")),
    )
    op.create_index(
        "ix_change_log_tenant_aggregate_id", "change_log", ["tenant", "aggregate_id"], unique=False
    )
    op.create_table(
        "known_tenant",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_known_tenant")),
    )
    op.create_table(
        "known_clock",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("now", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_clock")),
    )
    op.create_table(
        "revoked_token",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_revoked_token")),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "route", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index(op.f("ix_idempotency_key_expires_at"), "idempotency_key", ["expires_at"], unique=False)
