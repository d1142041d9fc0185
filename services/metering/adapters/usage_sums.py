"""Usage of a stretch of time: whole buckets from the running sums, cut ones from raw events.

Two statements share their heart: one sums the items of many windows at once, the other answers a question,
cut by time and dimension. Both first say which spans are wanted (a meter, a subject, from, until); a span that
begins or ends inside a bucket leaves that bucket to the raw events, so that the fast answer is the slow one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.base import raw
from services.metering.application.reads import UsageRow
from services.metering.domain.aggregation import NO_USAGE, Usage, bucket_start, usage_of
from services.metering.domain.meter import Meter
from services.metering.domain.usage_window import ItemSpan, UsageTotal, UsageWindow

EPOCH = "'1970-01-01 00:00:00+00'::timestamptz"

# `span` must give: n, meter_id, subject, starts, ends. `cuts` is an array of bucket starts that are to be read raw.
_FACTS = f"""
    sized AS MATERIALIZED (
        SELECT span.n, span.subject, span.starts, span.ends, m.id AS meter_id, m.event_type, m.value_path,
               m.dimensions, m.filters, make_interval(secs => m.bucket_s) AS size
        FROM span JOIN meter m ON m.id = span.meter_id
        WHERE span.starts < span.ends
    ), cut AS MATERIALIZED (
        SELECT DISTINCT s.*, c.bucket
        FROM sized s CROSS JOIN LATERAL (
            SELECT date_bin(s.size, edge, {EPOCH}) AS bucket FROM (VALUES (s.starts), (s.ends)) AS e(edge)
            WHERE date_bin(s.size, edge, {EPOCH}) <> edge
            UNION
            SELECT bucket FROM unnest({{cuts}}) AS u(bucket) WHERE bucket < s.ends AND bucket + s.size > s.starts
        ) c
    ), fact AS (
        SELECT s.n, f.at, f.group_key, f.event_count, f.total, f.maximum
        FROM sized s CROSS JOIN LATERAL (
            SELECT b.bucket_start AS at, b.group_key, b.event_count, b.total, b.maximum
            FROM usage_bucket b
            WHERE b.meter_id = s.meter_id AND b.subject = s.subject
              AND b.bucket_start >= s.starts AND b.bucket_start <= s.ends - s.size
              AND b.bucket_start <> ALL ({{cuts}})
            OFFSET 0
        ) f
        UNION ALL
        SELECT c.n, f.occurred_at, f.group_key, 1, f.value, f.value
        FROM cut c CROSS JOIN LATERAL (
            SELECT e.occurred_at, usage_group(e.data, c.dimensions) AS group_key,
                   usage_value(e.data, c.value_path) AS value
            FROM usage_event e
            WHERE e.subject = c.subject AND e.type = c.event_type
              AND e.occurred_at >= greatest(c.bucket, c.starts)
              AND e.occurred_at < least(c.bucket + c.size, c.ends)
              AND usage_matches(e.data, c.filters)
            OFFSET 0
        ) f
        WHERE c.value_path IS NULL OR f.value IS NOT NULL
    )
"""

_NO_CUTS = "'{}'::timestamptz[]"

_WINDOWS = f"""
    WITH wanted AS (
        SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
            AS w(n, item_id, meter, starts, ends)
    ), span AS MATERIALIZED (
        SELECT w.n, m.id AS meter_id, b.subject,
               greatest(w.starts, b.bound_from) AS starts, least(w.ends, b.bound_until) AS ends
        FROM wanted w
        JOIN meter m ON m.code = w.meter
        JOIN subject_binding b ON b.item_id = w.item_id AND b.meter = w.meter
            AND b.bound_from < w.ends AND (b.bound_until IS NULL OR b.bound_until > w.starts)
    ), {_FACTS.format(cuts=_NO_CUTS)}
    SELECT n, sum(event_count)::bigint AS event_count, sum(total) AS total, max(maximum) AS maximum
    FROM fact GROUP BY n
"""

_SPANS_OF_SUBJECT = """
    SELECT 0 AS n, $1::text AS meter_id, $5::text AS subject, $3::timestamptz AS starts, $4::timestamptz AS ends
"""
_SPANS_OF_ITEMS = """
    SELECT 0 AS n, $1::text AS meter_id, b.subject,
           greatest($3::timestamptz, b.bound_from) AS starts, least($4::timestamptz, b.bound_until) AS ends
    FROM subject_binding b
    WHERE b.item_id = ANY($5::text[]) AND b.meter = $6 AND ($7::text IS NULL OR b.subject = $7)
      AND b.bound_from < $4 AND (b.bound_until IS NULL OR b.bound_until > $3)
"""
# The group is cut down to the dimensions asked for, which are numbers of the meter's own.
_QUESTION = """
    WITH span AS MATERIALIZED ({spans}), {facts}
    SELECT width_bucket(at, $2::timestamptz[]) AS slice,
           ARRAY(SELECT group_key::jsonb ->> d FROM unnest({dimensions}::int[]) AS u(d)) AS dimension_values,
           sum(event_count)::bigint AS event_count, sum(total) AS total, max(maximum) AS maximum
    FROM fact GROUP BY 1, 2 ORDER BY 1, 2 LIMIT {limit}
"""


async def sum_windows(
    connection: AsyncConnection, windows: Sequence[UsageWindow]
) -> Mapping[str, Sequence[UsageTotal]]:
    """The totals of all measured items of all windows, in one statement; no usage is zero.

    The spans of an item share a number: what they hold is added up, or combined by its meter's maximum.
    """
    wanted = [(window, item) for window in windows for item in window.measured_items]
    numbers: list[int] = []
    spans: list[ItemSpan] = []
    first = 0
    for window in windows:
        found_spans = list(window.spans())
        numbers += [first + span.place for span in found_spans]
        spans += found_spans
        first += len(window.measured_items)
    driver = await raw(connection)
    found = await driver.fetch(
        _WINDOWS,
        numbers,
        [wanted[number][1].item_id for number in numbers],
        [wanted[number][1].meter for number in numbers],
        [span.start for span in spans],
        [span.end for span in spans],
    )
    sums = {row["n"]: row for row in found}
    codes = sorted({item.meter for _, item in wanted})
    kinds = await driver.fetch("SELECT code, aggregation FROM meter WHERE code = ANY($1::text[])", codes)
    aggregations: dict[str, Any] = {row["code"]: row["aggregation"] for row in kinds}
    totals: dict[str, list[UsageTotal]] = {window.id: [] for window in windows}
    for n, (window, item) in enumerate(wanted):
        usage = _usage(aggregations[item.meter], sums[n]) if n in sums else NO_USAGE
        totals[window.id].append(
            UsageTotal(item.item_id, item.meter, usage.quantity, usage.event_count, item.price_id)
        )
    return totals


async def sum_usage(
    connection: AsyncConnection,
    meter: Meter,
    bounds: Sequence[datetime],
    *,
    subject: str | None,
    item_ids: Sequence[str] | None,
    dimensions: Sequence[int],
    rows_max: int,
) -> list[UsageRow]:
    """Usage between each two neighbouring `bounds`: of what was bound to the items, or all of a subject's.

    With both, it is the usage of the subject as far as it was bound to the items.
    `dimensions` are numbers of the meter's own. At most `rows_max` + 1 rows, so that a cut answer is noticed.
    """
    inner = [at for at in bounds[1:-1] if bucket_start(at, meter.bucket_s) != at]
    cuts = sorted({bucket_start(at, meter.bucket_s) for at in inner})
    starts_at, ends_at = bounds[0], bounds[-1]
    parameters: list[Any] = [meter.id, list(bounds[:-1]), starts_at, ends_at]
    if item_ids is None:
        assert subject is not None, "one of the two says whose usage is asked for"
        spans, parameters = _SPANS_OF_SUBJECT, [*parameters, subject]
    else:
        spans, parameters = _SPANS_OF_ITEMS, [*parameters, list(item_ids), meter.code, subject]
    parameters += [cuts, list(dimensions)]
    place = len(parameters)
    statement = _QUESTION.format(
        spans=spans,
        facts=_FACTS.format(cuts=f"${place - 1}::timestamptz[]"),
        dimensions=f"${place}",
        limit=rows_max + 1,
    )
    driver = await raw(connection)
    return [
        UsageRow(row["slice"] - 1, tuple(row["dimension_values"]), _usage(meter.aggregation, row))
        for row in await driver.fetch(statement, *parameters)
    ]


def _usage(aggregation: Any, row: Any) -> Usage:
    return usage_of(aggregation, event_count=row["event_count"], total=row["total"], maximum=row["maximum"])
