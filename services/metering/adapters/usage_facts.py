"""The heart of all sums of usage: whole buckets from the running sums, cut ones from raw events, for given spans.

A statement cuts spans where one version of a meter follows another, and leaves a bucket that a span or a slice cuts to
the raw events, so that the fast answer is the slow one. Where those are no longer kept, it raises.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.metering.domain.meter import ADDED_UP, Aggregation

EPOCH = "'1970-01-01 00:00:00+00'::timestamptz"
NO_CUTS = "'{}'::timestamptz[]"
_PEAK = "CASE m.options ->> 'peak_of' WHEN '1h' THEN 3600 WHEN '30m' THEN 1800 ELSE 900 END"

# `span` must give: n, meter (a code), subject, starts, ends. `names` are the dimensions asked for, `allowed` is a JSON
# object of those that are filtered by. A version that has no such dimension has null there.
SIZED = f"""
    sized AS MATERIALIZED (
        SELECT span.n, span.subject, greatest(span.starts, m.valid_from) AS starts,
               least(span.ends, m.valid_until) AS ends, m.id AS meter_id, m.options,
               make_interval(secs => m.bucket_s) AS size, make_interval(secs => {_PEAK}) AS peak,
               ARRAY(SELECT usage_place(m.dimensions, u.name) FROM unnest({{names}}::text[]) WITH ORDINALITY AS u(name, o)
                     ORDER BY o) AS places,
               (SELECT jsonb_agg(jsonb_build_object('place', usage_place(m.dimensions, a.name), 'values', a.found))
                FROM jsonb_each({{allowed}}::jsonb) AS a(name, found)) AS allowed
        FROM span JOIN meter m ON m.code = span.meter
            AND (m.valid_until IS NULL OR m.valid_until > span.starts)
            AND (m.valid_from IS NULL OR m.valid_from < span.ends)
        WHERE span.starts < span.ends
    ), cut AS MATERIALIZED (
        SELECT DISTINCT ON (s.n, s.meter_id, s.subject, s.starts, s.ends, c.bucket) s.*, c.bucket
        FROM sized s CROSS JOIN LATERAL (
            SELECT date_bin(s.size, edge, {EPOCH}) AS bucket FROM (VALUES (s.starts), (s.ends)) AS e(edge)
            WHERE date_bin(s.size, edge, {EPOCH}) <> edge
            UNION
            SELECT bucket FROM unnest({{cuts}}) AS u(bucket) WHERE bucket < s.ends AND bucket + s.size > s.starts
        ) c
        WHERE usage_must_be_kept(c.bucket, (SELECT usage_kept_from()))
    )
"""
_WHOLE = """
    b.meter_id = s.meter_id AND b.subject = s.subject AND b.bucket_start >= s.starts
    AND b.bucket_start <= s.ends - s.size AND b.bucket_start <> ALL ({cuts})
"""
_CUT = """
    e.meter_id = c.meter_id AND e.subject = c.subject AND e.occurred_at >= greatest(c.bucket, c.starts)
    AND e.occurred_at < least(c.bucket + c.size, c.ends)
"""
ASKED = """
    ({0}.allowed IS NULL OR NOT EXISTS (
        SELECT FROM jsonb_array_elements({0}.allowed) AS a
        WHERE NOT a -> 'values' @> coalesce(to_jsonb(group_key::jsonb ->> (a ->> 'place')::int), 'null'::jsonb)))
"""
_DIMENSIONS = """
    CASE WHEN {0}.places = '{{}}' THEN '{{}}'::text[]
         ELSE ARRAY(SELECT group_key::jsonb ->> place FROM unnest({0}.places) AS p(place)) END
"""


def _facts(of_bucket: str, of_event: str, *, cuts: str) -> str:
    """Rows of whole buckets and of the events of cut ones, alike in their columns."""
    return f"""
    fact AS (
        SELECT s.n, s.peak, f.*, {_DIMENSIONS.format("s")} AS dimension_values
        FROM sized s CROSS JOIN LATERAL (
            SELECT b.bucket_start AS at, b.subject, b.group_key, b.event_count, {of_bucket}
            FROM usage_bucket b WHERE {_WHOLE.format(cuts=cuts)}
            OFFSET 0
        ) f
        WHERE {ASKED.format("s")}
        UNION ALL
        SELECT c.n, c.peak, f.*, {_DIMENSIONS.format("c")}
        FROM cut c CROSS JOIN LATERAL (
            SELECT e.occurred_at AS at, e.subject, e.group_key, 1, {of_event}
            FROM usage_measured e WHERE {_CUT}
            OFFSET 0
        ) f
        WHERE {ASKED.format("c")}
    )
"""


_OF_NUMBERS = ("b.total, b.minimum, b.maximum", "e.value AS total, e.value AS minimum, e.value AS maximum")
_OF_LAST = ("b.latest_at, b.latest_key, b.latest_value", "e.occurred_at, e.key, e.value")
_OF_LEVELS = (
    """b.first_at AS starts_at, b.bucket_start + s.size AS ends_at, NULL::uuid AS key,
       CASE s.options ->> 'level' WHEN 'change' THEN b.total ELSE b.latest_value END AS level, b.area""",
    "e.occurred_at, e.occurred_at, e.key, e.value, 0",
)

# What was said last of each thing within the span, or of all time where what was there before it counts.
_MEMBERS = f"""
    , remembered AS (
        SELECT s.n, f.*, {_DIMENSIONS.format("s")} AS dimension_values
        FROM sized s CROSS JOIN LATERAL (
            SELECT b.group_key, b.member, b.last_at, b.last_key, b.is_in FROM usage_member b
            WHERE b.meter_id = s.meter_id AND b.subject = s.subject
              AND (coalesce((s.options ->> 'keeps')::boolean, false) OR b.bucket_start >= s.starts)
              AND b.bucket_start <= s.ends - s.size
            OFFSET 0
        ) f
        WHERE {ASKED.format("s")}
        UNION ALL
        SELECT c.n, f.*, {_DIMENSIONS.format("c")}
        FROM cut c CROSS JOIN LATERAL (
            SELECT e.group_key, e.member, e.occurred_at, e.key, e.is_in FROM usage_measured e
            WHERE e.meter_id = c.meter_id AND e.subject = c.subject
              AND (e.occurred_at >= c.starts OR coalesce((c.options ->> 'keeps')::boolean, false))
              AND e.occurred_at >= c.bucket
              AND e.occurred_at < least(c.bucket + c.size, c.ends)
            OFFSET 0
        ) f
        WHERE {ASKED.format("c")}
    ), known AS (
        SELECT DISTINCT ON (n, dimension_values, member) n, dimension_values, member, is_in FROM remembered
        ORDER BY n, dimension_values, member, last_at DESC, last_key DESC
    )
    SELECT n, dimension_values, coalesce(f.event_count, 0)::bigint AS event_count, coalesce(k.found, 0)::numeric AS found
    FROM (SELECT n, dimension_values, count(*) FILTER (WHERE is_in) AS found FROM known GROUP BY 1, 2) k
    FULL JOIN (SELECT n, dimension_values, sum(event_count) AS event_count FROM fact GROUP BY 1, 2) f
        USING (n, dimension_values)
"""
_NUMBERS = """
    SELECT {n} AS n, dimension_values, sum(event_count)::bigint AS event_count, sum(total) AS total,
           min(minimum) AS minimum, max(maximum) AS maximum
    FROM fact GROUP BY 1, 2
"""
_LAST = """
    SELECT n, dimension_values, sum(event_count)::bigint AS event_count,
           (array_agg(latest_value ORDER BY latest_at DESC, latest_key DESC))[1] AS found
    FROM fact GROUP BY 1, 2
"""
_PEAKS = f"""
    SELECT n, dimension_values, sum(event_count)::bigint AS event_count, max(total) AS found
    FROM (
        SELECT n, dimension_values, sum(event_count) AS event_count, sum(total) AS total
        FROM fact GROUP BY n, dimension_values, date_bin(peak, at, {EPOCH})
    ) of_peaks
    GROUP BY 1, 2
"""
# Of each subject and group: the level before the span, and then what happened to it.
_LEVELS = f"""
    , carried AS (
        SELECT s.n, s.starts, f.subject, f.group_key, sum(f.net) AS net,
               (array_agg(f.level ORDER BY f.at DESC, f.key DESC))[1] AS last
        FROM sized s CROSS JOIN LATERAL (
            SELECT b.subject, b.group_key, b.total AS net, b.latest_value AS level, b.latest_at AS at,
                   b.latest_key AS key
            FROM usage_bucket b
            WHERE b.meter_id = s.meter_id AND b.subject = s.subject AND b.bucket_start <= s.starts - s.size
            UNION ALL
            SELECT e.subject, e.group_key, e.value, e.value, e.occurred_at, e.key
            FROM usage_measured e
            WHERE e.meter_id = s.meter_id AND e.subject = s.subject
              AND e.occurred_at >= date_bin(s.size, s.starts, {EPOCH}) AND e.occurred_at < s.starts
            OFFSET 0
        ) f
        WHERE {ASKED.format("s")}
        GROUP BY 1, 2, 3, 4
    )
    SELECT n, subject, group_key, starts AS span_starts, ends AS span_ends, starts_at, ends_at, event_count, level, area,
           dimension_values
    FROM (
        SELECT c.n, s.starts, s.ends, c.subject, c.group_key, c.starts AS starts_at, c.starts AS ends_at,
               NULL::uuid AS key, -1::bigint AS event_count,
               CASE s.options ->> 'level' WHEN 'change' THEN c.net ELSE c.last END AS level, 0 AS area,
               {_DIMENSIONS.format("s")} AS dimension_values
        FROM carried c JOIN sized s ON s.n = c.n AND s.subject = c.subject AND s.starts = c.starts
        UNION ALL
        SELECT f.n, s.starts, s.ends, f.subject, f.group_key, f.starts_at, f.ends_at, f.key, f.event_count, f.level,
               f.area, f.dimension_values
        FROM fact f JOIN sized s ON s.n = f.n AND s.subject = f.subject AND f.starts_at >= s.starts
            AND f.starts_at < s.ends
    ) of_levels
    ORDER BY n, subject, group_key, span_starts, event_count < 0 DESC, starts_at, key
"""
_KINDS: Mapping[str, tuple[tuple[str, str], str]] = {
    "latest": (_OF_LAST, _LAST),
    "peak": (_OF_NUMBERS, _PEAKS),
    "unique": (("NULL::text AS nothing", "NULL::text"), _MEMBERS),
    "time_weighted": (_OF_LEVELS, _LEVELS),
}
_ADDED_UP = (_OF_NUMBERS, _NUMBERS)


def statement_for(
    aggregation: Aggregation, spans: str, *, cuts: str, names: str, allowed: str, slice: str = "n"
) -> str:
    """`slice` says to which one a fact belongs, where sums of numbers are cut by time."""
    columns, finish = _KINDS.get(aggregation, _ADDED_UP)
    if aggregation in ADDED_UP:
        finish = finish.format(n=slice)
    sized = SIZED.format(cuts=cuts, names=names, allowed=allowed)
    return f"WITH {spans}, {sized}, {_facts(*columns, cuts=cuts)} {finish}"


SPANS_OF_WINDOWS = """
    wanted AS (
        SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
            AS w(n, item_id, meter, starts, ends)
    ), span AS MATERIALIZED (
        SELECT w.n, w.meter, b.subject,
               greatest(w.starts, b.bound_from) AS starts, least(w.ends, b.bound_until) AS ends
        FROM wanted w
        JOIN subject_binding b ON b.item_id = w.item_id AND b.meter = w.meter
            AND b.bound_from < w.ends AND (b.bound_until IS NULL OR b.bound_until > w.starts)
    )
"""
# Of a question: $1 the meter, $2 and $3 the slices (of sums of numbers one, from end to end), $4 and $5 what is asked.
SPANS_OF_SUBJECT = """
    slice AS (SELECT * FROM unnest($2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS u(starts, ends, n)),
    span AS MATERIALIZED (
        SELECT (slice.n - 1)::int AS n, $1::text AS meter, $6::text AS subject, slice.starts, slice.ends FROM slice
    )
"""
SPANS_OF_BINDINGS = """
    slice AS (SELECT * FROM unnest($2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS u(starts, ends, n)),
    span AS MATERIALIZED (
        SELECT (slice.n - 1)::int AS n, $1::text AS meter, b.subject,
               greatest(slice.starts, b.bound_from) AS starts, least(slice.ends, b.bound_until) AS ends
        FROM slice JOIN subject_binding b ON b.bound_from < slice.ends
            AND (b.bound_until IS NULL OR b.bound_until > slice.starts)
        WHERE b.meter = $1 AND ($6::text[] IS NULL OR b.item_id = ANY($6)) AND ($7::text IS NULL OR b.subject = $7)
          AND ($8::text IS NULL OR b.asset_id = $8)
    )
"""
