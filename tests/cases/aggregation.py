"""Aggregation cases in the words of metering: a meter, what it makes of each event, and the sums of a period."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from services.metering.domain.aggregation import NO_USAGE, BucketSums, Usage, usage_of
from services.metering.domain.measurement import measure
from services.metering.domain.meter import Meter, new_meter
from services.metering.domain.usage_event import EPOCH, MICROSECOND
from services.metering.domain.usage_slices import slice_bounds
from tests.cases.case_files import Case, as_instant
from tests.cases.comparison import AnyOrder
from tests.cases.quantities import rounded_quantity

KNOWN = {"function", "events", "period", "filter", "service_window", "window", "time_zone"}


def aggregate(case: Case) -> Mapping[str, Any]:
    usage = _used(case, *_bounds(case))
    return {"value": usage.quantity, "count": usage.event_count}


def windowed(case: Case) -> Mapping[str, Any]:
    """Windows with usage only; the value of the whole is that of all its events."""
    start, end = _bounds(case)
    windows = pairwise(slice_bounds(start, end, case.given["window"], case.zone))
    used = [(begin, finish, _used(case, begin, finish)) for begin, finish in windows]
    told = [
        {"from": b, "to": f, "value": u.quantity, "count": u.event_count} for b, f, u in used if u.event_count
    ]
    return {"windows": AnyOrder(told), "value": _used(case, start, end).quantity}


def quantity_rounding(case: Case) -> Mapping[str, Any]:
    given = case.given
    return {"units": rounded_quantity(case.number("units"), given.get("rounding"), given.get("precision"))}


def _bounds(case: Case) -> tuple[datetime, datetime]:
    """The period, and within it the time for which a priced item is there."""
    assert set(case.given) <= KNOWN, "events of a period, of which some count"
    period = case.given["period"]
    within = case.given.get("service_window") or period
    start = max(as_instant(each["from"]) for each in (period, within))
    return start, min(as_instant(each["to"]) for each in (period, within))


def _used(case: Case, start: datetime, end: datetime) -> Usage:
    """What the meter makes of the events from `start` until before `end`; of those with the same id, the first."""
    meter, seen = _meter(case), set()
    sums: dict[str, BucketSums] = defaultdict(BucketSums)
    for event in case.given["events"]:
        identity = (event.get("source"), event["id"]) if "id" in event else None
        at = as_instant(event["at"])
        if not start <= at < end or (identity is not None and identity in seen):
            continue
        seen.add(identity)
        found = measure(meter, {**(event.get("properties") or {}), "value": event.get("value")})
        for _ in range(event.get("repeat", 1)):
            if found is not None:
                sums[found.group].add(meter, "subject", (at - EPOCH) // MICROSECOND, found)
    if not sums:
        return NO_USAGE
    parts = [part for buckets in sums.values() for part in buckets.additions()]
    return usage_of(
        meter.aggregation,
        event_count=sum(part.event_count for part in parts),
        total=sum((Decimal(part.total or 0) for part in parts), start=Decimal(0)),
        maximum=max((Decimal(part.maximum) for part in parts if part.maximum is not None), default=None),
    )


def _meter(case: Case) -> Meter:
    function = case.given["function"]
    return new_meter(
        id="mtr_case",
        code="case",
        event_type="case",
        aggregation=function,
        value=None if function == "count" else "/value",
        group_by=(),
        filter={f"/{name}": values for name, values in (case.given.get("filter") or {}).items()},
        unit=None,
        description=None,
        bucket_s=900,
        created_at=datetime(2020, 1, 1, tzinfo=UTC),
    )


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "aggregate": aggregate,
    "windowed": windowed,
    "quantity_rounding": quantity_rounding,
}
