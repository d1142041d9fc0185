"""Cases of other billing systems for counting, summing and the greatest value, run through our meters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from services.metering.domain.aggregation import BucketSums, usage_of
from services.metering.domain.measurement import measure
from services.metering.domain.usage_event import EPOCH, MICROSECOND
from services.metering.domain.usage_slices import slice_bounds
from tests.cases.case_files import Case, cases_of
from tests.unit.metering.meters import a_meter

OFFERED = {"aggregate", "grouped", "windowed"}
NOT_OURS = {
    "exclude": "filters say what counts, not what does not",
    "period_days": "quantities are not prorated",
    "recurring": "usage belongs to its own period",
    "carry_in": "usage belongs to its own period",
}


def why_not(case: Case) -> str | None:
    given = case.given
    if case.kind not in OFFERED or given.get("function") not in ("count", "sum", "max"):
        return "the aggregation is not offered yet"
    if "dedup" in case.convention:
        return "of two payloads under one id the first stays, whatever their times"
    if "value" in case.expect and case.kind == "windowed":
        return None
    if any(None in values for values in given.get("filter", {}).values()):
        return "a filter names values"
    return next((reason for field, reason in NOT_OURS.items() if given.get(field)), None)


CASES = [case for case in cases_of("aggregation") if why_not(case) is None]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def counted(case: Case, start: datetime, end: datetime) -> dict[tuple[str, ...], tuple[Decimal, int]]:
    """(value, events) of each group, for events from start until before end."""
    given = case.given
    names = list(given.get("group_by", []))
    meter = a_meter(
        aggregation=given["function"],
        value="/value",
        group_by=names,
        filter={f"/{name}": values for name, values in given.get("filter", {}).items()},
    )
    seen: set[str] = set()
    sums: dict[str, BucketSums] = defaultdict(BucketSums)
    for event in given["events"]:
        at = instant(event["at"])
        if not start <= at < end or event.get("id") in seen:
            continue
        seen |= {event["id"]} if "id" in event else set()
        found = measure(meter, {**event.get("properties", {}), "value": event.get("value")})
        for _ in range(event.get("repeat", 1)) if found else ():
            assert found is not None
            sums[found.group].add(meter, "s", (at - EPOCH) // MICROSECOND, found)
    answers = {}
    for group, buckets in sums.items():
        parts = buckets.additions()
        usage = usage_of(
            meter.aggregation,
            event_count=sum(part.event_count for part in parts),
            total=sum((Decimal(part.total or 0) for part in parts), Decimal(0)),
            maximum=max((Decimal(part.maximum) for part in parts if part.maximum is not None), default=None),
        )
        answers[(group,)] = (usage.quantity, usage.event_count)
    return answers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case) -> None:
    period = case.given["period"]
    within = case.given.get("service_window", period)
    start = max(instant(period["from"]), instant(within["from"]))
    end = min(instant(period["to"]), instant(within["to"]))
    match case.kind:
        case "aggregate":
            [(value, count)] = counted(case, start, end).values() or [(Decimal(0), 0)]
            assert value == Decimal(case.expect["value"])
            assert count == case.expect.get("count", count)
        case "grouped":
            found = counted(case, start, end)
            assert found == {(_group(case, g["keys"]),): _told(g, found) for g in case.expect["groups"]}
        case "windowed":
            _check_windows(case, start, end)


def _check_windows(case: Case, start: datetime, end: datetime) -> None:
    zone = case.given.get("time_zone", "UTC")
    bounds = slice_bounds(start, end, case.given["window"], zone)
    found = {
        begin: value
        for begin, finish in pairwise(bounds)
        for value, _ in counted(case, begin, finish).values()
    }
    expected = {instant(window["from"]): Decimal(window["value"]) for window in case.expect["windows"]}
    assert found == {begin: value for begin, value in expected.items() if value or begin in found}


def _group(case: Case, keys: Mapping[str, Any]) -> str:
    data = {"value": "1", **{name: keys[name] for name in case.given["group_by"] if keys[name] is not None}}
    measured = measure(a_meter(aggregation="count", group_by=case.given["group_by"]), data)
    assert measured is not None
    return measured.group


def _told(group: Mapping[str, Any], found: Mapping[Any, tuple[Decimal, int]]) -> tuple[Decimal, int]:
    """A case that does not tell how many events there were accepts any number."""
    counts = [count for value, count in found.values() if value == Decimal(group["value"])]
    return Decimal(group["value"]), group.get("count", counts[0] if counts else 0)


def test_enough_cases_run() -> None:
    assert len(CASES) >= 15
