"""Levels as the database tells them, integrated over slices of time and added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Any

from services.metering.domain.aggregation import Usage
from services.metering.domain.exactly import EXACT, quotient
from services.metering.domain.levels import LevelPart, area_by_days, integrate, weighted
from services.metering.domain.meter import MeterOptions


def integrated(
    options: MeterOptions,
    rows: Sequence[Any],
    bounds: Sequence[datetime],
    zone: str,
    *,
    until: datetime | None = None,
) -> dict[tuple[int, tuple[str | None, ...]], Usage]:
    """The levels of all subjects and groups, integrated over each slice and added up, by slice and dimensions.

    A group that has a level in a slice has a row there, if nothing has happened to it since. A level lasts `until` then
    at most, which is now, where what is asked for is not over; a mean is one over the whole slice nevertheless.
    """
    areas: dict[tuple[int, tuple[str | None, ...]], tuple[Decimal, int]] = {}

    def add(place: int, group: tuple[str | None, ...], area: Decimal, event_count: int) -> None:
        known, counted = areas.get((place, group), (Decimal(0), 0))
        areas[place, group] = EXACT.add(known, area), counted + event_count

    keyed = groupby(rows, key=lambda row: (row["n"], row["subject"], row["group_key"], row["span_starts"]))
    for _, found in keyed:
        of_level = list(found)
        group = tuple(of_level[0]["dimension_values"])
        starts, ends = of_level[0]["span_starts"], _earlier(of_level[0]["span_ends"], until)
        if starts >= ends:
            continue
        carried = of_level[0]["level"] if of_level[0]["event_count"] < 0 else Decimal(0)
        parts = [
            LevelPart(row["starts_at"], row["ends_at"], row["event_count"], row["level"], row["area"])
            for row in of_level
            if row["event_count"] >= 0 and row["starts_at"] < ends
        ]
        first = max(place for place, bound in enumerate(bounds[:-1]) if bound <= starts)
        inner = [starts, *(bound for bound in bounds if starts < bound < ends), ends]
        if options.by_day:
            is_handed_on = ends not in bounds and ends != until
            for place, area, event_count in _weighed_by_day(carried, parts, inner, zone, is_handed_on):
                add(first + place, group, area, event_count)
            continue
        assert options.level is not None, "a level is set or changed"
        for place, told in enumerate(integrate(options.level, carried, parts, inner)):
            if told.event_count or told.area:
                add(first + place, group, told.area, told.event_count)
    usage: dict[tuple[int, tuple[str | None, ...]], Usage] = {}
    for (place, group), (area, event_count) in areas.items():
        start, end = bounds[place], bounds[place + 1]
        if options.by_day:
            _, days = area_by_days(Decimal(0), (), start, end, zone)
            quantity = quotient(area, Decimal(days or 1))
        else:
            quantity = weighted(options, area, start, end)
        usage[place, group] = Usage(quantity, event_count)
    return usage


def _earlier(one: datetime, other: datetime | None) -> datetime:
    return one if other is None else min(one, other)


def _weighed_by_day(
    carried: Decimal, parts: Sequence[LevelPart], inner: Sequence[datetime], zone: str, is_handed_on: bool
) -> Iterable[tuple[int, Decimal, int]]:
    """By slice: each change from its local day on; what was there before from the first."""
    level = carried
    for place, (start, end) in enumerate(pairwise(inner)):
        mine = [part for part in parts if start <= part.start < end]
        area, _ = area_by_days(
            level,
            [(part.start, part.level) for part in mine],
            start,
            end,
            zone,
            is_handed_on=is_handed_on and end == inner[-1],
        )
        for part in mine:
            level = EXACT.add(level, part.level)
        if area or mine:
            yield place, area, sum(part.event_count for part in mine)
