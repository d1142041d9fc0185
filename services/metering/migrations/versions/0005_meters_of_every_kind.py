"""Meters of every kind and their versions, corrections of usage, and running sums that are partitioned by year."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from libs.common.access.tenancy import (
    APP,
    AUDIT,
    CURRENT_TENANT,
    FINDER,
    let_finder_claim,
    open_to_app,
    protect,
)

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PARTITIONS = "usage_partitions"

# What a meter takes from an event, as services/metering/domain/measurement.py says it. A test compares the two.
READING_FUNCTIONS = [
    """
CREATE OR REPLACE FUNCTION usage_matches(data jsonb, filters jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT filters = '[]'::jsonb OR NOT EXISTS (
        SELECT FROM jsonb_array_elements(filters) AS x(f)
        WHERE NOT coalesce(
            jsonb_exists(f -> 'values', usage_text(data, usage_path(f))), f -> 'values' @> 'null'::jsonb)
    )
$$""",
    """
CREATE FUNCTION usage_excluded(data jsonb, exclusions jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT exclusions <> '[]'::jsonb AND EXISTS (
        SELECT FROM jsonb_array_elements(exclusions) AS x(filters) WHERE usage_matches(data, filters)
    )
$$""",
    """
CREATE FUNCTION usage_dimension(data jsonb, path text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(usage_text(data, path)) <= 256 THEN usage_text(data, path) END
$$""",
    # At which place of a group a dimension stands; NULL for a version of the meter that has no such one.
    """
CREATE FUNCTION usage_place(dimensions jsonb, name text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (n - 1)::integer FROM jsonb_array_elements(dimensions) WITH ORDINALITY AS x(d, n) WHERE d ->> 'name' = name
$$""",
]

# Raw events without those that were voided or amended; and what each version of each meter takes of each of them.
VIEWS = [
    """
CREATE VIEW counted_event WITH (security_invoker = true) AS
    SELECT e.* FROM usage_event e
    -- OFFSET 0: each event is looked up by its key, whatever the planner thinks of a table that has just grown.
    WHERE NOT EXISTS (SELECT FROM usage_correction c WHERE c.key = e.key OFFSET 0)
""",
    """
CREATE VIEW usage_measured WITH (security_invoker = true) AS
    SELECT m.tenant, m.id AS meter_id, m.code AS meter, m.version AS meter_version, m.aggregation, m.bucket_s,
           e.subject, e.occurred_at, e.key, e.arrived_at, e.type, e.source, e.event_id, e.data,
           CASE WHEN m.is_computed THEN x.group_key ELSE usage_group(e.data, m.dimensions) END AS group_key,
           CASE WHEN m.is_computed THEN x.value
                WHEN m.aggregation <> 'unique' THEN usage_value(e.data, m.value_path) END AS value,
           CASE WHEN m.is_computed THEN x.member
                WHEN m.aggregation = 'unique' THEN usage_dimension(e.data, m.value_path) END AS member,
           CASE WHEN m.is_computed THEN x.is_in
                ELSE usage_text(e.data, m.operation_path) IS DISTINCT FROM 'remove' END AS is_in
    FROM meter m
    JOIN counted_event e ON e.tenant = m.tenant AND e.type = m.event_type
        AND (m.valid_from IS NULL OR e.occurred_at >= m.valid_from OR m.aggregation = 'time_weighted'
             OR m.options ? 'keeps')
        AND (m.valid_until IS NULL OR e.occurred_at < m.valid_until)
    LEFT JOIN usage_measurement x ON m.is_computed AND x.meter_id = m.id AND x.key = e.key
    WHERE CASE WHEN m.is_computed THEN x.key IS NOT NULL
               ELSE usage_matches(e.data, m.filters) AND NOT usage_excluded(e.data, m.exclusions)
                    AND CASE m.aggregation
                        WHEN 'count' THEN true
                        WHEN 'unique' THEN usage_dimension(e.data, m.value_path) IS NOT NULL
                            AND coalesce(usage_text(e.data, m.operation_path), 'add') IN ('add', 'remove')
                        ELSE usage_value(e.data, m.value_path) IS NOT NULL END
          END
""",
    *(
        f"GRANT SELECT ON {view} TO {role}"
        for view in ("counted_event", "usage_measured")
        for role in (APP, AUDIT)
    ),
]

# As before, and the year in which the sums of the month's events lie.
ENSURE_USAGE_MONTH = f"""
CREATE OR REPLACE FUNCTION ensure_usage_month(month date) RETURNS void
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
    PERFORM public.ensure_usage_year(extract(year FROM month)::int);
END $$
"""
ENSURE_USAGE_YEAR = f"""
CREATE FUNCTION ensure_usage_year(year int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition_name text := 'usage_bucket_' || year;
BEGIN
    IF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = '{PARTITIONS}'::regnamespace
               AND c.relname = partition_name) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TABLE {PARTITIONS}.%I (LIKE public.usage_bucket) WITH (fillfactor = 80)', partition_name);
    EXECUTE format(
        'ALTER TABLE public.usage_bucket ATTACH PARTITION {PARTITIONS}.%I FOR VALUES FROM (%L) TO (%L)',
        partition_name, year || '-01-01 00:00:00+00', (year + 1) || '-01-01 00:00:00+00');
END $$
"""


def upgrade() -> None:
    _widen_meters()
    _keep_corrections()
    _resolve_rejects()
    _partition_running_sums()
    _keep_window_corrections()
    _fill_meters_in_the_background()
    _watch_usage()
    _forget_raw_events()
    _take_readings()
    for statement in (*READING_FUNCTIONS, *VIEWS):
        op.execute(statement)


def _widen_meters() -> None:
    """One row for each version of a meter; those that are there are the first of theirs, and filled."""
    empty_list, no_options = sa.text("'[]'::jsonb"), sa.text("'{}'::jsonb")
    json = postgresql.JSONB(astext_type=sa.Text())
    for column in (
        sa.Column("value_expression", sa.Text(), nullable=True),
        sa.Column("exclusions", json, server_default=empty_list, nullable=False),
        sa.Column("filter_expression", sa.Text(), nullable=True),
        sa.Column("options", json, server_default=no_options, nullable=False),
        sa.Column("operation_path", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("is_computed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("counter", json, nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("filled_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("meter", column)
    op.execute("UPDATE meter SET filled_at = created_at")
    op.drop_constraint("uq_meter_tenant_code", "meter")
    op.create_unique_constraint("uq_meter_tenant_code_version", "meter", ["tenant", "code", "version"])
    op.execute(f"GRANT UPDATE (valid_until, filled_until, filled_at) ON meter TO {APP}")
    # What expressions made of an event, which the database cannot work out again.
    op.create_table(
        "usage_measurement",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("meter_id", sa.Text(), nullable=False),
        sa.Column("key", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=True),
        sa.Column("member", sa.Text(), nullable=True),
        sa.Column("is_in", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("meter_id", "key", name=op.f("pk_usage_measurement")),
    )
    for statement in protect("usage_measurement", writes="SELECT, INSERT"):
        op.execute(statement)


def _keep_corrections() -> None:
    op.create_table(
        "usage_correction",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("identity", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("key", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("replacement_key", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("replacement_occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('void', 'amendment')", name=op.f("ck_usage_correction_kind")),
        sa.CheckConstraint(
            "(kind = 'amendment') = (replacement_key IS NOT NULL)",
            name=op.f("ck_usage_correction_replacement"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_correction")),
        sa.UniqueConstraint("key", name=op.f("uq_usage_correction_key")),
        sa.UniqueConstraint("replacement_key", name=op.f("uq_usage_correction_replacement_key")),
        sa.UniqueConstraint("identity", "revision", name=op.f("uq_usage_correction_identity_revision")),
    )
    op.create_index(
        "ix_usage_correction_tenant_corrected_at",
        "usage_correction",
        ["tenant", "corrected_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_usage_correction_tenant_source",
        "usage_correction",
        ["tenant", "source", "event_id"],
        unique=False,
    )
    for statement in protect("usage_correction", writes="SELECT, INSERT"):
        op.execute(statement)


def _resolve_rejects() -> None:
    """A reject that was put right, or that nobody will; those that are there are open."""
    for column in (
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("resolved_note", sa.Text(), nullable=True),
    ):
        op.add_column("usage_reject", column)
    op.create_check_constraint(
        op.f("ck_usage_reject_resolution"),
        "usage_reject",
        "resolution IN ('stored', 'duplicate', 'dismissed')",
    )
    op.create_index(
        "ix_usage_reject_tenant_open",
        "usage_reject",
        ["tenant", "first_seen_at", "id"],
        unique=False,
        postgresql_where=sa.text("resolution IS NULL"),
    )


def _partition_running_sums() -> None:
    """The sums that are there move over; what is new is NULL where a meter does not need it."""
    op.execute("ALTER TABLE usage_bucket RENAME TO usage_bucket_before")
    op.execute("ALTER INDEX pk_usage_bucket RENAME TO pk_usage_bucket_before")
    op.create_table(
        "usage_bucket",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("meter_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("bucket_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=True),
        sa.Column("minimum", sa.Numeric(), nullable=True),
        sa.Column("maximum", sa.Numeric(), nullable=True),
        sa.Column("latest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("latest_key", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("latest_value", sa.Numeric(), nullable=True),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("area", sa.Numeric(), nullable=True),
        sa.PrimaryKeyConstraint(
            "tenant", "meter_id", "subject", "bucket_start", "group_key", name=op.f("pk_usage_bucket")
        ),
        postgresql_partition_by="RANGE (bucket_start)",
    )
    op.create_table(
        "usage_member",
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("meter_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("bucket_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_key", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("is_in", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant",
            "meter_id",
            "subject",
            "bucket_start",
            "group_key",
            "member",
            name=op.f("pk_usage_member"),
        ),
    )
    for statement in (
        *protect("usage_bucket"),
        *protect("usage_member"),
        f"CREATE TABLE {PARTITIONS}.usage_bucket_before_2000 PARTITION OF usage_bucket "
        "FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00') WITH (fillfactor = 80)",
        ENSURE_USAGE_YEAR,
        "REVOKE ALL ON FUNCTION ensure_usage_year(int) FROM PUBLIC",
        ENSURE_USAGE_MONTH,
        f"""SELECT ensure_usage_year(year::int) FROM (
            SELECT DISTINCT substring(c.relname FROM '^usage_event_([0-9]{{4}})_') AS year FROM pg_class c
            WHERE c.relnamespace = '{PARTITIONS}'::regnamespace
        ) years WHERE year IS NOT NULL ORDER BY year""",
        """INSERT INTO usage_bucket (tenant, meter_id, subject, bucket_start, group_key, event_count, total, maximum)
           SELECT tenant, meter_id, subject, bucket_start, group_key, event_count, total, maximum
           FROM usage_bucket_before""",
        "DROP TABLE usage_bucket_before",
    ):
        op.execute(statement)


def _keep_window_corrections() -> None:
    """What is noted of usage that changed late, by which terms it is billed, and each correction as it was said."""
    json = postgresql.JSONB(astext_type=sa.Text())
    for table, column in (
        ("late_usage", sa.Column("cause", sa.Text(), nullable=True)),
        ("late_usage", sa.Column("event_keys", postgresql.ARRAY(sa.UUID(as_uuid=False)), nullable=True)),
        ("late_usage", sa.Column("business_noted_at", sa.DateTime(timezone=True), nullable=True)),
        (
            "usage_window",
            sa.Column("held_by", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        ),
        (
            "metered_subscription",
            sa.Column("late_usage_policy", sa.Text(), server_default="next_invoice", nullable=False),
        ),
        ("metered_subscription", sa.Column("late_usage_days", sa.Integer(), nullable=True)),
        ("subject_binding", sa.Column("asset_id", sa.Text(), nullable=True)),
    ):
        op.add_column(table, column)
    op.create_index("ix_late_usage_tenant_window_id", "late_usage", ["tenant", "window_id"], unique=False)
    op.create_index(
        "ix_subject_binding_tenant_asset_id", "subject_binding", ["tenant", "asset_id", "meter"], unique=False
    )
    op.create_table(
        "usage_window_correction",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("period_index", sa.Integer(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("before", json, nullable=False),
        sa.Column("totals", json, nullable=False),
        sa.Column("differences", json, nullable=False),
        sa.Column("events", json, nullable=False),
        sa.Column("changed_event_count", sa.Integer(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("is_billable", sa.Boolean(), nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_window_correction")),
        sa.UniqueConstraint(
            "tenant",
            "window_id",
            "revision",
            name=op.f("uq_usage_window_correction_tenant_window_id_revision"),
        ),
    )
    op.create_index(
        "ix_usage_window_correction_tenant_created_at",
        "usage_window_correction",
        ["tenant", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_usage_window_correction_tenant_subscription_id",
        "usage_window_correction",
        ["tenant", "subscription_id", "created_at"],
        unique=False,
    )
    for statement in protect("usage_window_correction", writes="SELECT, INSERT"):
        op.execute(statement)


# Runs as its owner, since a process that begins knows no tenants: it changes when alerts are looked at, of all of them.
NOTE_ALL_ALERTS = """
CREATE FUNCTION note_all_usage_alerts() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE public.usage_alert SET due_at = statement_timestamp() + random() * interval '30 s' WHERE due_at IS NULL
$$
"""


def _due_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
    ]


def _watch_usage() -> None:
    """Alerts, and which of their marks have fired."""
    op.create_table(
        "usage_alert",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=True),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("limit_quantity", sa.Numeric(), nullable=True),
        sa.Column("marks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_due_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_alert")),
    )
    op.create_index(
        "ix_usage_alert_tenant_created_at", "usage_alert", ["tenant", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_usage_alert_tenant_subscription_id",
        "usage_alert",
        ["tenant", "subscription_id", "meter"],
        unique=False,
    )
    op.create_table(
        "usage_alert_firing",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("period_index", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Numeric(), nullable=False),
        sa.Column("percent", sa.Numeric(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_alert_firing")),
    )
    op.create_index(
        "ix_usage_alert_firing_tenant_alert_id",
        "usage_alert_firing",
        ["tenant", "alert_id", "fired_at", "id"],
        unique=False,
    )
    for statement in (
        *protect("usage_alert"),
        *let_finder_claim("usage_alert", extra_columns=("attempts",)),
        *protect("usage_alert_firing", writes="SELECT, INSERT, DELETE"),
        NOTE_ALL_ALERTS,
        "REVOKE ALL ON FUNCTION note_all_usage_alerts() FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION note_all_usage_alerts() TO {APP}",
    ):
        op.execute(statement)


def _take_readings() -> None:
    """What counters showed, what people have to look at of it, and what was used between readings."""
    op.create_table(
        "meter_reading",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sent_id", sa.Text(), nullable=True),
        sa.Column("sent_digest", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=False),
        sa.Column("quality", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("register_digits", sa.Integer(), nullable=True),
        sa.Column("old_end", sa.Numeric(), nullable=True),
        sa.Column("new_start", sa.Numeric(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("is_certain", sa.Boolean(), nullable=False),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_reading")),
    )
    op.create_index(
        "ix_meter_reading_tenant_meter_subject",
        "meter_reading",
        ["tenant", "meter", "subject", "read_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_meter_reading_tenant_received_at", "meter_reading", ["tenant", "received_at", "id"], unique=False
    )
    op.create_index(
        "ix_meter_reading_tenant_held",
        "meter_reading",
        ["tenant", "meter", "subject", "read_at"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_table(
        "reading_exception",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reading_id", sa.Text(), nullable=True),
        sa.Column("needed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_exception")),
    )
    op.create_index(
        "ix_reading_exception_tenant_opened_at",
        "reading_exception",
        ["tenant", "opened_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_reading_exception_tenant_open",
        "reading_exception",
        ["tenant", "meter", "subject", "needed_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "uq_reading_exception_reading_id",
        "reading_exception",
        ["reading_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "reading_consumption",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reading_id", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("is_estimated", sa.Boolean(), nullable=False),
        sa.Column("true_up", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("behind", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_consumption")),
    )
    op.create_index(
        "ix_reading_consumption_tenant_reading_id",
        "reading_consumption",
        ["tenant", "reading_id"],
        unique=False,
    )
    op.create_index(
        "ix_reading_consumption_tenant_counted",
        "reading_consumption",
        ["tenant", "meter", "subject", "counts_at", "id"],
        unique=False,
        postgresql_where=sa.text("voided_at IS NULL"),
    )
    for statement in (
        *protect("meter_reading", writes="SELECT, INSERT, UPDATE"),
        *protect("reading_exception", writes="SELECT, INSERT, UPDATE"),
        *protect("reading_consumption", writes="SELECT, INSERT"),
        f"GRANT UPDATE (voided_at) ON reading_consumption TO {APP}",
    ):
        op.execute(statement)


def _fill_meters_in_the_background() -> None:
    op.create_table(
        "meter_back_fill",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("events_total", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        *_due_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_back_fill")),
    )
    for statement in (
        *protect("meter_back_fill", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("meter_back_fill", extra_columns=("attempts",)),
    ):
        op.execute(statement)


# From when on raw events of a tenant are there, by default of the transaction's; NULL: from the first on.
KEPT_FROM = [
    """
CREATE FUNCTION usage_kept_from(of_tenant uuid) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest((SELECT max(kept_from) FROM usage_kept),
                    (SELECT kept_from FROM usage_retention WHERE tenant = of_tenant))
$$
""",
    f"""
CREATE FUNCTION usage_kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT usage_kept_from({CURRENT_TENANT})
$$
""",
]
# Whoever reads raw events where they may be gone is stopped: a wrong figure is never told.
MUST_BE_KEPT = """
CREATE FUNCTION usage_must_be_kept(instant timestamptz, kept_from timestamptz) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF instant < kept_from THEN
        RAISE EXCEPTION 'raw events are kept from % on', kept_from USING ERRCODE = 'PR001',
            DETAIL = to_char(kept_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
    END IF;
    RETURN true;
END $$
"""
# All run as their owner. The first and the second look at windows of all tenants and drop what the app may only add to:
# first it is noted from when on raw events are kept, and what lies before goes when whoever did not know that has ended.
# A window that has not closed, or is to be counted again, keeps what it needs.
KEEP_USAGE_FROM = """
CREATE FUNCTION keep_usage_from(wanted timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found timestamptz;
BEGIN
    SELECT date_trunc('month', least(wanted, now(), min(w.window_start)), 'UTC') INTO found
    FROM public.usage_window w
    WHERE w.state <> 'closed' OR EXISTS (SELECT FROM public.late_usage l WHERE l.window_id = w.id);
    INSERT INTO public.usage_kept AS k (id, kept_from, noted_at) VALUES (1, found, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET kept_from = excluded.kept_from, noted_at = excluded.noted_at
    WHERE k.kept_from < excluded.kept_from;
    RETURN found;
END $$
"""
DROP_USAGE_MONTHS = f"""
CREATE FUNCTION drop_usage_months(rested interval) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept timestamptz;
    partition record;
    dropped int := 0;
BEGIN
    SELECT kept_from INTO kept FROM public.usage_kept WHERE noted_at <= clock_timestamp() - rested FOR UPDATE;
    IF kept IS NULL THEN
        RETURN 0;
    END IF;
    FOR partition IN
        SELECT c.relname, to_date(substring(c.relname FROM '[0-9]{{4}}_[0-9]{{2}}$'), 'YYYY_MM') AS month
        FROM pg_class c
        WHERE c.relnamespace = '{PARTITIONS}'::regnamespace AND c.relkind = 'r'
          AND c.relname ~ '^usage_event_[0-9]{{4}}_[0-9]{{2}}$'
        ORDER BY c.relname
    LOOP
        IF (partition.month + interval '1 month') AT TIME ZONE 'UTC' <= kept THEN
            EXECUTE format('DROP TABLE {PARTITIONS}.%I', partition.relname);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    IF kept >= '2000-01-01 00:00:00+00' THEN
        EXECUTE 'TRUNCATE {PARTITIONS}.usage_event_before_2000';
    END IF;
    RETURN dropped;
END $$
"""
# Of the transaction's tenant, whose wish it was, and a bounded number of rows at a time.
DELETE_USAGE = """
CREATE FUNCTION delete_usage(rested interval, count_max int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    of_tenant uuid := nullif(current_setting('perennial.tenant', true), '')::uuid;
    kept timestamptz;
    deleted int;
BEGIN
    SELECT kept_from INTO kept FROM public.usage_retention
    WHERE tenant = of_tenant AND noted_at <= clock_timestamp() - rested;
    IF kept IS NULL THEN
        RETURN 0;
    END IF;
    WITH gone AS (
        SELECT e.occurred_at, e.key FROM public.usage_event e
        WHERE e.tenant = of_tenant AND e.occurred_at < kept ORDER BY e.occurred_at, e.key LIMIT count_max
    ), deleted_events AS (
        DELETE FROM public.usage_event e USING gone g
        WHERE e.tenant = of_tenant AND e.occurred_at = g.occurred_at AND e.key = g.key
        RETURNING e.key
    ), deleted_measurements AS (
        DELETE FROM public.usage_measurement x USING gone g, public.meter m
        WHERE m.tenant = of_tenant AND m.is_computed AND x.meter_id = m.id AND x.key = g.key
    )
    SELECT count(*) INTO deleted FROM deleted_events;
    RETURN deleted;
END $$
"""
# What expressions made of events that went with their month.
DELETE_MEASUREMENTS = """
CREATE FUNCTION delete_usage_measurements(count_max int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted int;
BEGIN
    WITH gone AS (
        SELECT x.meter_id, x.key FROM public.usage_measurement x, public.usage_kept k
        WHERE x.occurred_at < k.kept_from LIMIT count_max
    ), deleted_measurements AS (
        DELETE FROM public.usage_measurement x USING gone g
        WHERE x.meter_id = g.meter_id AND x.key = g.key
        RETURNING x.key
    )
    SELECT count(*) INTO deleted FROM deleted_measurements;
    RETURN deleted;
END $$
"""
# What concerns all tenants at once is the finder's, whom no process that answers requests can become.
AS_OWNER = {
    "keep_usage_from(timestamptz)": KEEP_USAGE_FROM,
    "drop_usage_months(interval)": DROP_USAGE_MONTHS,
    "delete_usage(interval, int)": DELETE_USAGE,
    "delete_usage_measurements(int)": DELETE_MEASUREMENTS,
}


def _forget_raw_events() -> None:
    """How long raw events are kept: of a tenant, by his own wish, and of everybody."""
    op.create_table(
        "usage_retention",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("kept_days", sa.Integer(), nullable=True),
        sa.Column("kept_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=True),
        *_due_columns(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_retention")),
        sa.UniqueConstraint("tenant", name=op.f("uq_usage_retention_tenant")),
    )
    op.create_table(
        "usage_kept",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kept_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_kept")),
    )
    for statement in (
        *protect("usage_retention", writes="SELECT, INSERT, UPDATE"),
        *let_finder_claim("usage_retention", extra_columns=("attempts",)),
        *open_to_app("usage_kept", rights="SELECT"),
        # What is deleted is found by its time; it goes in as time goes on, so that a summary of its pages is enough.
        "CREATE INDEX ix_usage_measurement_occurred_at ON usage_measurement USING brin (occurred_at)",
        *KEPT_FROM,
        MUST_BE_KEPT,
        *AS_OWNER.values(),
        *(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC" for function in AS_OWNER),
        f"GRANT EXECUTE ON FUNCTION delete_usage(interval, int) TO {APP}",
        *(
            f"GRANT EXECUTE ON FUNCTION {function} TO {FINDER}"
            for function in AS_OWNER
            if not function.startswith("delete_usage(")
        ),
    ):
        op.execute(statement)
