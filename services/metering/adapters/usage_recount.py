"""The slow way to the totals of windows: every event of every binding, no running sum. For the audit alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from itertools import groupby
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.metering.adapters.usage_levels import integrated
from services.metering.domain.aggregation import Sums, Usage, usage_of
from services.metering.domain.exactly import EXACT
from services.metering.domain.meter import ADDED_UP, PEAK_LENGTHS, MeterOptions
from services.metering.domain.usage_event import EPOCH

_HELD = """
    FROM usage_window w
    CROSS JOIN jsonb_array_elements(w.items) WITH ORDINALITY AS i(item, place)
    CROSS JOIN LATERAL (
        SELECT greatest((span ->> 'start')::timestamptz, w.window_start) AS starts,
               least((span ->> 'end')::timestamptz, w.window_end) AS ends
        FROM jsonb_array_elements(coalesce(item -> 'spans', '[{}]')) AS span
    ) held
    JOIN meter m ON m.tenant = w.tenant AND m.code = item ->> 'meter'
        AND (m.valid_until IS NULL OR m.valid_until > held.starts)
        AND (m.valid_from IS NULL OR m.valid_from < held.ends)
    JOIN subject_binding b ON b.tenant = w.tenant AND b.item_id = item ->> 'item_id'
        AND b.meter = m.code AND b.bound_from < held.ends
        AND (b.bound_until IS NULL OR b.bound_until > held.starts)
    CROSS JOIN LATERAL (
        SELECT greatest(held.starts, b.bound_from, m.valid_from) AS starts,
               least(held.ends, b.bound_until, m.valid_until) AS ends
    ) bound
    JOIN usage_measured e ON e.tenant = w.tenant AND e.meter_id = m.id AND e.subject = b.subject
        AND e.occurred_at < bound.ends AND bound.starts < bound.ends
"""
_OF_NUMBERS = f"""
    SELECT w.id AS window_id, item ->> 'item_id' AS item_id, item ->> 'price_id' AS price_id, max(m.aggregation) AS kind,
           count(e.key) AS event_count, sum(e.value) AS total, min(e.value) AS minimum, max(e.value) AS maximum
    {_HELD} AND e.occurred_at >= bound.starts
    WHERE w.id = ANY($1) AND m.aggregation = ANY($2)
    GROUP BY w.id, item
"""
# Of levels, and of what is kept, what was there before counts too.
_OF_EVENTS = f"""
    SELECT w.id AS window_id, w.window_start, w.window_end, item ->> 'item_id' AS item_id,
           item ->> 'price_id' AS price_id, place, m.aggregation, m.options, s.zone, e.subject, e.group_key, bound.starts,
           bound.ends, e.occurred_at, e.key, e.value, e.member, e.is_in
    {_HELD} AND (e.occurred_at >= bound.starts OR m.aggregation = 'time_weighted' OR m.options ? 'keeps')
    LEFT JOIN metered_subscription s ON s.tenant = w.tenant AND s.id = w.subscription_id
    WHERE w.id = ANY($1) AND m.aggregation <> ALL ($2)
    ORDER BY w.id, place, e.subject, e.group_key, bound.starts, e.occurred_at, e.key
"""
ItemPrice = tuple[str, str | None]


async def recount(
    connection: AsyncConnection, window_ids: Sequence[str]
) -> Mapping[str, Mapping[ItemPrice, Usage]]:
    """By window, item and price, what was used. What was not used is left out."""
    found: dict[str, dict[ItemPrice, Usage]] = defaultdict(dict)
    parameters = (list(window_ids), sorted(ADDED_UP))
    for row in await connection.exec_driver_sql(_OF_NUMBERS, parameters):
        sums = Sums(row.event_count, row.total, row.minimum, row.maximum)
        found[row.window_id][row.item_id, row.price_id] = usage_of(row.kind, sums)
    rows = (await connection.exec_driver_sql(_OF_EVENTS, parameters)).all()
    for (window_id, item_id, price_id), of_item in groupby(
        rows, key=lambda row: (row.window_id, row.item_id, row.price_id)
    ):
        found[window_id][item_id, price_id] = _used(list(of_item))
    return found


def _used(rows: Sequence[Any]) -> Usage:
    """What the events of one item come to, by a meter that does not add up."""
    aggregation, options = rows[0].aggregation, MeterOptions(**rows[0].options)
    inside = [row for row in rows if row.starts <= row.occurred_at]
    if aggregation == "time_weighted":
        bounds = [rows[0].window_start, rows[0].window_end]
        told = integrated(options, _steps(rows, options), bounds, rows[0].zone or "UTC")
        return told.get((0, ()), Usage(Decimal(0), 0))
    if aggregation == "unique":
        last: dict[str, bool] = {}
        for row in sorted(rows, key=lambda row: (row.occurred_at, row.key.bytes)):
            last[row.member] = row.is_in
        quantity = Decimal(sum(last.values()))
    elif aggregation == "latest":
        quantity = max(inside, key=lambda row: (row.occurred_at, row.key.bytes)).value
    else:
        quantity = _peak(inside, timedelta(seconds=PEAK_LENGTHS[options.peak_of or "15m"]))
    return usage_of(aggregation, Sums(len(inside), found=quantity))


def _peak(rows: Sequence[Any], length: timedelta) -> Decimal:
    sums: dict[int, Decimal] = defaultdict(Decimal)
    for row in rows:
        stretch = (row.occurred_at - EPOCH) // length
        sums[stretch] = EXACT.add(sums[stretch], row.value)
    return max(sums.values())


def _steps(rows: Sequence[Any], options: MeterOptions) -> list[dict[str, Any]]:
    """Every event as a part of its own, after the level that was there before."""
    steps: list[dict[str, Any]] = []
    for _, of_level in groupby(rows, key=lambda row: (row.subject, row.group_key, row.starts)):
        mine = list(of_level)
        before = [row.value for row in mine if row.occurred_at < row.starts]
        if before:
            carried = before[-1] if options.level == "absolute" else reduce(EXACT.add, before)
            steps.append(_step(mine[0], mine[0].starts, carried, -1))
        steps += [_step(row, row.occurred_at, row.value, 1) for row in mine if row.occurred_at >= row.starts]
    return steps


def _step(row: Any, at: datetime, level: Decimal, event_count: int) -> dict[str, Any]:
    return {
        "n": 0,
        "subject": row.subject,
        "group_key": row.group_key,
        "span_starts": row.starts,
        "span_ends": row.ends,
        "starts_at": at,
        "ends_at": at,
        "event_count": event_count,
        "level": level,
        "area": Decimal(0),
        "dimension_values": (),
    }
