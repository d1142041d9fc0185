"""Running sums beyond what is added up: the last event, levels and members of a bucket, and buckets made again.

Whoever makes a bucket again from its events keeps the tenant's writers out, or has locked the bucket's row before the
statement that reads the events began. Bounds are bounds of buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from services.metering.application.ports import Computed
from services.metering.domain.aggregation import BucketSums, TouchedBucket

EPOCH = "'1970-01-01 00:00:00+00'::timestamptz"
_INSTANT = "to_timestamp(us / 1000000) + (us % 1000000) * interval '1 microsecond'"

_LAST = f"""
    UPDATE usage_bucket b SET latest_at = g.at, latest_key = g.key, latest_value = g.value
    FROM (
        SELECT meter_id, subject, to_timestamp(seconds) AS starts, group_key, {_INSTANT} AS at, key, value
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::uuid[], $7::numeric[])
            AS u(meter_id, subject, seconds, group_key, us, key, value)
    ) g
    WHERE (b.meter_id, b.subject, b.bucket_start, b.group_key) = (g.meter_id, g.subject, g.starts, g.group_key)
      AND (b.latest_at IS NULL OR (b.latest_at, b.latest_key) < (g.at, g.key))
"""
_LEVELS = f"""
    UPDATE usage_bucket b SET first_at = least(b.first_at, g.at), area = coalesce(b.area, 0) + g.area
    FROM (
        SELECT meter_id, subject, to_timestamp(seconds) AS starts, group_key, {_INSTANT} AS at, area
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::numeric[])
            AS u(meter_id, subject, seconds, group_key, us, area)
    ) g
    WHERE (b.meter_id, b.subject, b.bucket_start, b.group_key) = (g.meter_id, g.subject, g.starts, g.group_key)
"""
_MEMBERS = f"""
    INSERT INTO usage_member AS m
        (tenant, meter_id, subject, bucket_start, group_key, member, last_at, last_key, is_in)
    SELECT $1::uuid, meter_id, subject, to_timestamp(seconds), group_key, member, {_INSTANT}, key, is_in
    FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::uuid[], $9::boolean[])
        AS u(meter_id, subject, seconds, group_key, member, us, key, is_in)
    ON CONFLICT (tenant, meter_id, subject, bucket_start, group_key, member) DO UPDATE SET
        last_at = excluded.last_at, last_key = excluded.last_key, is_in = excluded.is_in
    WHERE (m.last_at, m.last_key) < (excluded.last_at, excluded.last_key)
"""
_KEEP = """
    INSERT INTO usage_measurement (tenant, meter_id, key, occurred_at, group_key, value, member, is_in)
    SELECT $1::uuid, * FROM unnest($2::text[], $3::uuid[], $4::timestamptz[], $5::text[], $6::numeric[], $7::text[],
                                   $8::boolean[])
    ON CONFLICT (meter_id, key) DO NOTHING
"""

# The events of buckets, of one meter within a time, or of buckets that are named; each with how long its level lasted.
OF_TIME = f"""
    SELECT e.*, date_bin(make_interval(secs => e.bucket_s), e.occurred_at, {EPOCH}) AS starts
    FROM usage_measured e
    WHERE e.meter_id = $1 AND e.occurred_at >= $2 AND e.occurred_at < coalesce($3::timestamptz, 'infinity')
"""


def _of_buckets(meters: str = "true") -> str:
    """The events of the buckets that are named, of those meters."""
    return f"""
    SELECT e.*, g.starts
    FROM (
        SELECT DISTINCT m.id AS meter_id, u.subject, b.starts, b.starts + make_interval(secs => m.bucket_s) AS ends
        FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) AS u(meter, subject, starts, ends)
        JOIN meter m ON m.code = u.meter AND {meters}
        CROSS JOIN LATERAL generate_series(
            date_bin(make_interval(secs => m.bucket_s), u.starts, {EPOCH}), u.ends - interval '1 microsecond',
            make_interval(secs => m.bucket_s)) AS b(starts)
    ) g CROSS JOIN LATERAL (
        SELECT * FROM usage_measured e
        WHERE e.meter_id = g.meter_id AND e.subject = g.subject AND e.occurred_at >= g.starts
          AND e.occurred_at < g.ends
        OFFSET 0
    ) e
"""


# What is being filled differs from its events, and so do the versions that it takes the place of; that is no fault. What
# happened before raw events are kept is left out on both sides.
IS_COMPARED = """
    NOT EXISTS (SELECT FROM meter n WHERE n.tenant = m.tenant AND n.code = m.code AND n.filled_at IS NULL)
    AND {at} >= coalesce((SELECT k.kept_from FROM kept_by_tenant k WHERE k.tenant = m.tenant), '-infinity')
"""
KEPT_BY_TENANT = """
    kept_by_tenant AS MATERIALIZED (
        SELECT tenant, usage_kept_from(tenant) AS kept_from FROM (SELECT DISTINCT tenant FROM meter) t
    )
"""
OF_ALL = f"""
    SELECT e.*, date_bin(make_interval(secs => e.bucket_s), e.occurred_at, {EPOCH}) AS starts
    FROM usage_measured e JOIN meter m ON m.tenant = e.tenant AND m.id = e.meter_id
    WHERE {IS_COMPARED.format(at="e.occurred_at")}
"""
COLUMNS = """tenant, meter_id, subject, bucket_start, group_key, event_count, total, minimum, maximum,
    latest_at, latest_key, latest_value, first_at, area"""


def made_of(events: str) -> str:
    """The running sums of these events, each with what its meter needs, in the order of `COLUMNS`."""
    return f"""
    SELECT e.tenant, e.meter_id, e.subject, e.starts, e.group_key, count(*),
           CASE WHEN e.aggregation IN ('sum', 'average', 'peak', 'time_weighted') AND NOT e.is_set THEN sum(e.value) END,
           CASE WHEN e.aggregation = 'min' THEN min(e.value) END,
           CASE WHEN e.aggregation = 'max' THEN max(e.value) END,
           CASE WHEN e.aggregation = 'latest' OR e.is_set THEN max(e.occurred_at) END,
           CASE WHEN e.aggregation = 'latest' OR e.is_set
                THEN (array_agg(e.key ORDER BY e.occurred_at DESC, e.key DESC))[1] END,
           CASE WHEN e.aggregation = 'latest' OR e.is_set
                THEN (array_agg(e.value ORDER BY e.occurred_at DESC, e.key DESC))[1] END,
           CASE WHEN e.aggregation = 'time_weighted' THEN min(e.occurred_at) END,
           CASE WHEN e.aggregation = 'time_weighted'
                THEN sum(e.value * trunc(extract(epoch FROM e.lasts) * 1000000)) END
    FROM (
        SELECT e.*, coalesce(m.options ->> 'level' = 'absolute', false) AS is_set,
               CASE WHEN m.options ->> 'level' = 'absolute' THEN coalesce(
                    lead(e.occurred_at) OVER (PARTITION BY e.meter_id, e.subject, e.starts, e.group_key
                                              ORDER BY e.occurred_at, e.key),
                    e.starts + make_interval(secs => e.bucket_s))
               ELSE e.starts + make_interval(secs => e.bucket_s) END - e.occurred_at AS lasts
        FROM (WITH taken AS MATERIALIZED ({events}) SELECT * FROM taken) e JOIN meter m ON m.id = e.meter_id
    ) e
    GROUP BY e.tenant, e.meter_id, e.aggregation, e.is_set, e.subject, e.starts, e.group_key
"""


def members_of(events: str) -> str:
    """What was said last of each member, in the order of the table's columns."""
    return f"""
    SELECT DISTINCT ON (e.meter_id, e.subject, e.starts, e.group_key, e.member)
           e.tenant, e.meter_id, e.subject, e.starts, e.group_key, e.member, e.occurred_at, e.key, e.is_in
    FROM ({events}) e WHERE e.aggregation = 'unique'
    ORDER BY e.meter_id, e.subject, e.starts, e.group_key, e.member, e.occurred_at DESC, e.key DESC
"""


_SETTLE = f"""
    UPDATE usage_bucket b SET event_count = m.event_count, latest_at = m.latest_at, latest_key = m.latest_key,
        latest_value = m.latest_value, first_at = m.first_at, area = m.area
    FROM ({
    made_of('''
        SELECT e.*, g.starts
        FROM (SELECT DISTINCT meter_id, subject, to_timestamp(seconds) AS starts
              FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u(meter_id, subject, seconds)) g
        JOIN meter of_bucket ON of_bucket.id = g.meter_id
        CROSS JOIN LATERAL (
            SELECT * FROM usage_measured e WHERE e.meter_id = g.meter_id AND e.subject = g.subject
              AND e.occurred_at >= g.starts
              AND e.occurred_at < g.starts + make_interval(secs => of_bucket.bucket_s)
            OFFSET 0
        ) e''')
}) AS m ({COLUMNS})
    WHERE (b.meter_id, b.subject, b.bucket_start, b.group_key)
        = (m.meter_id, m.subject, m.bucket_start, m.group_key)
"""
_DROP = """
    DELETE FROM {table} b USING (
        SELECT m.id AS meter_id, u.subject, date_bin(make_interval(secs => m.bucket_s), u.starts, {epoch}) AS starts,
               u.ends
        FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) AS u(meter, subject, starts, ends)
        JOIN meter m ON m.code = u.meter OFFSET 0
    ) g
    WHERE b.meter_id = g.meter_id AND b.subject = g.subject AND b.bucket_start >= g.starts AND b.bucket_start < g.ends
"""
_TABLES = ("usage_bucket", "usage_member")


async def add_special_sums(driver: Any, tenant: str, sums: BucketSums) -> None:
    """What is not simply added up, of buckets whose rows this transaction has just written, and so locked."""
    last = sums.last()
    if last:
        columns = [list(column) for column in zip(*last, strict=True)]
        columns[5] = [UUID(key) for key in columns[5]]
        await driver.execute(_LAST, *columns)
    levels = sums.levels()
    if levels:
        await driver.execute(_LEVELS, *(list(column) for column in zip(*levels, strict=True)))
    members = sums.members()
    if members:
        columns = [list(column) for column in zip(*members, strict=True)]
        columns[6] = [UUID(key) for key in columns[6]]
        await driver.execute(_MEMBERS, tenant, *columns)
    unsettled = sums.unsettled()
    if unsettled:
        meters, subjects, seconds, _ = zip(*unsettled, strict=True)
        await driver.execute(_SETTLE, list(meters), list(subjects), list(seconds))


async def keep_measurements(driver: Any, tenant: str, computed: Sequence[Computed]) -> None:
    """What expressions made of events, beside them. Kept once: the same event is never worked out twice."""
    if not computed:
        return
    await driver.execute(
        _KEEP,
        tenant,
        [c.meter_id for c in computed],
        [UUID(c.key) for c in computed],
        [c.occurred_at for c in computed],
        [c.measured.group for c in computed],
        [c.measured.value for c in computed],
        [c.measured.member for c in computed],
        [c.measured.is_in for c in computed],
    )


UNIQUE = "m.aggregation = 'unique'"  # no others have members


async def rebuild_buckets(driver: Any, touched: Sequence[TouchedBucket]) -> None:
    """Make the buckets of these meters and subjects again from the events that count, of all versions and groups."""
    if not touched:
        return
    columns = [list(column) for column in zip(*touched, strict=True)]
    for table in _TABLES:
        await driver.execute(_DROP.format(table=table, epoch=EPOCH), *columns)
    await driver.execute(f"INSERT INTO usage_bucket ({COLUMNS}) {made_of(_of_buckets())}", *columns)
    await driver.execute(f"INSERT INTO usage_member {members_of(_of_buckets(UNIQUE))}", *columns)
