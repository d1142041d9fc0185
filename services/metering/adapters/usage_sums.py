"""Usage of a stretch of time: whole buckets from the running sums, cut ones from raw events.

Two questions share their heart (`usage_facts`): one sums the items of many windows at once, the other answers what was
used, cut by time and dimension. Both say first which spans are wanted: a meter by its code, a subject, from, until.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.base import raw
from services.metering.adapters.reading_sums import NO_READINGS, sum_readings
from services.metering.adapters.usage_facts import (
    NO_CUTS,
    SPANS_OF_BINDINGS,
    SPANS_OF_SUBJECT,
    SPANS_OF_WINDOWS,
    statement_for,
)
from services.metering.adapters.usage_levels import integrated
from services.metering.adapters.usage_retention import telling_what_is_gone
from services.metering.application.reads import UsageRow
from services.metering.domain.aggregation import NO_USAGE, Sums, Usage, bucket_start, usage_of
from services.metering.domain.meter import ADDED_UP, Aggregation, Meter, MeterOptions
from services.metering.domain.usage_window import UsageTotal, UsageWindow


@dataclass(frozen=True, slots=True)
class _Kind:
    aggregation: Aggregation
    options: MeterOptions
    takes_readings: bool


async def sum_windows(
    connection: AsyncConnection,
    windows: Sequence[UsageWindow],
    *,
    until: Mapping[str, datetime] | None = None,
) -> Mapping[str, Sequence[UsageTotal]]:
    """The totals of all measured items of all windows, in one statement for each kind of meter; no usage is zero.

    `until` says of windows under way, by id, how far their levels have come.

    The spans of an item share a number: what they hold is added up, or combined as its meter does.
    """
    wanted = [(window, item) for window in windows for item in window.measured_items]
    kinds = await _kinds(connection, {item.meter for _, item in wanted})
    spans: dict[Aggregation, list[tuple[int, str, str, datetime, datetime]]] = defaultdict(list)
    read: list[tuple[int, str, str, datetime, datetime]] = []
    base = 0
    for window in windows:
        for place, start, end in window.spans():
            item = window.measured_items[place]
            kind = kinds.get(item.meter)
            if kind is not None:
                alike: Aggregation = "sum" if kind.aggregation in ADDED_UP else kind.aggregation
                spans[alike].append((base + place, item.item_id, item.meter, start, end))
                if kind.takes_readings:
                    read.append(spans[alike][-1])
        base += len(window.measured_items)
    sums: dict[int, Usage] = {}
    for alike, found in spans.items():
        rows = await _fetch_windows(connection, alike, found)
        if alike == "time_weighted":
            sums.update(await _levels_of_windows(connection, rows, wanted, kinds, until or {}))
        else:
            for row in rows:
                sums[row["n"]] = _usage(kinds[wanted[row["n"]][1].meter].aggregation, row)
    of_readings = await sum_readings(connection, read)
    totals: dict[str, list[UsageTotal]] = {window.id: [] for window in windows}
    for n, (window, item) in enumerate(wanted):
        usage = sums.get(n, NO_USAGE)
        totals[window.id].append(
            UsageTotal(
                item.item_id,
                item.meter,
                usage.quantity,
                usage.event_count,
                item.price_id,
                *of_readings.get(n, NO_READINGS),
            )
        )
    return totals


async def _kinds(connection: AsyncConnection, codes: Iterable[str]) -> Mapping[str, _Kind]:
    """What all versions of a meter have in common. A meter that is not defined yet has none."""
    driver = await raw(connection)
    found = await driver.fetch(
        "SELECT DISTINCT ON (code) code, aggregation, options, counter FROM meter WHERE code = ANY($1::text[]) "
        "ORDER BY code, version DESC",
        sorted(codes),
    )
    return {
        row["code"]: _Kind(row["aggregation"], MeterOptions(**row["options"]), row["counter"] is not None)
        for row in found
    }


async def _fetch_windows(
    connection: AsyncConnection, aggregation: Any, spans: Sequence[tuple[int, str, str, datetime, datetime]]
) -> Sequence[Any]:
    statement = statement_for(aggregation, SPANS_OF_WINDOWS, cuts=NO_CUTS, names="'{}'", allowed="'{}'")
    columns = [list(column) for column in zip(*spans, strict=True)]
    with telling_what_is_gone():
        found: Sequence[Any] = await (await raw(connection)).fetch(statement, *columns)
    return found


async def _levels_of_windows(
    connection: AsyncConnection,
    rows: Sequence[Any],
    wanted: Sequence[tuple[UsageWindow, Any]],
    kinds: Mapping[str, _Kind],
    until: Mapping[str, datetime],
) -> dict[int, Usage]:
    """Each window is a slice of its own, from end to end: a mean is one over the whole window."""
    zones = await _zones(connection, {window.subscription_id for window, _ in wanted})
    found: dict[int, Usage] = {}
    for n, of_item in groupby(rows, key=lambda row: row["n"]):
        window, item = wanted[n]
        bounds = [window.window_start, window.window_end]
        zone = zones.get(window.subscription_id, "UTC")
        told = integrated(kinds[item.meter].options, list(of_item), bounds, zone, until=until.get(window.id))
        found[n] = told.get((0, ()), NO_USAGE)
    return found


async def _zones(connection: AsyncConnection, subscription_ids: Iterable[str]) -> Mapping[str, str]:
    found = await (await raw(connection)).fetch(
        "SELECT id, zone FROM metered_subscription WHERE id = ANY($1::text[])", sorted(subscription_ids)
    )
    return {row["id"]: row["zone"] for row in found}


async def sum_usage(
    connection: AsyncConnection,
    versions: Sequence[Meter],
    bounds: Sequence[datetime],
    *,
    subject: str | None,
    item_ids: Sequence[str] | None,
    rows_max: int,
    asset_id: str | None = None,
    dimensions: Sequence[str] = (),
    filters: Mapping[str, Sequence[str | None]] | None = None,
    zone: str = "UTC",
    until: datetime | None = None,
) -> list[UsageRow]:
    """Usage between each two neighbouring `bounds`: of what was bound to the items or the asset, or all of a subject's.

    With a subject and one of the others, it is the usage of the subject as far as it was bound to them. `versions` are
    those of one meter; `dimensions` and the keys of `filters` are names of theirs. A level lasts `until` then at most.
    At most `rows_max` + 1 rows, so that a cut answer is noticed; sorted by slice and group.
    """
    meter = versions[-1]
    sliced = meter.aggregation not in ADDED_UP and meter.aggregation != "time_weighted"
    slices = bounds if sliced else (bounds[0], bounds[-1])
    inner = () if sliced else bounds[1:-1]
    cuts = sorted(
        {cut for at in inner for version in versions if (cut := bucket_start(at, version.bucket_s)) != at}
    )
    parameters: list[Any] = [meter.code, list(slices[:-1]), list(slices[1:]), list(dimensions)]
    parameters.append(json.dumps(dict(filters or {})))
    if item_ids is None and asset_id is None:
        assert subject is not None, "one of them says whose usage is asked for"
        spans = SPANS_OF_SUBJECT
        parameters.append(subject)
    else:
        spans = SPANS_OF_BINDINGS
        parameters += [None if item_ids is None else list(item_ids), subject, asset_id]
    parameters.append(cuts)
    places = {"cuts": f"${len(parameters)}::timestamptz[]", "names": "$4", "allowed": "$5"}
    if meter.aggregation in ADDED_UP:
        parameters.append(list(bounds))
        places["slice"] = f"width_bucket(at, ${len(parameters)}::timestamptz[]) - 1"
    statement = statement_for(meter.aggregation, spans, **places)
    driver = await raw(connection)
    if meter.aggregation == "time_weighted":
        with telling_what_is_gone():
            rows = await driver.fetch(statement, *parameters)
        told = integrated(meter.options, rows, bounds, zone, until=until)
        found = [UsageRow(n, group, usage) for (n, group), usage in told.items()]
        found.sort(key=lambda row: (row.slice, [(part is None, part or "") for part in row.group]))
        return found[: rows_max + 1]
    statement = f"SELECT * FROM ({statement}) AS answered ORDER BY n, dimension_values LIMIT {rows_max + 1}"
    with telling_what_is_gone():
        rows = await driver.fetch(statement, *parameters)
    return [
        UsageRow(row["n"], tuple(row["dimension_values"]), _usage(meter.aggregation, row)) for row in rows
    ]


def _usage(aggregation: Aggregation, row: Any) -> Usage:
    if aggregation in ADDED_UP:
        sums = Sums(row["event_count"], row["total"], row["minimum"], row["maximum"])
    else:
        sums = Sums(row["event_count"], found=row["found"])
    return usage_of(aggregation, sums)
