"""What was used, from all facts each time anew: no sums are kept, nothing is remembered, every number is a fraction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from tests.model.calendar import DAY, day_begins, day_of
from tests.model.usage.history import Binding, Data, Fact
from tests.model.usage.local_windows import Window

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVER, NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
ZERO = Fraction(0)
DECIMALS = 12
LENGTHS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": DAY,
}

Group = tuple[str | None, ...]


class Reading(NamedTuple):
    """What a meter sees in one fact: a number, or a name that comes (`is_in`) or goes; and the fact's group."""

    at: datetime
    order: bytes
    subject: str
    group: Group
    number: Fraction
    name: str | None
    is_in: bool


@dataclass(frozen=True)
class Meter:
    """How facts become quantities: `number`, `name`, `is_in`, `counts` and the dimensions are functions of the data.

    What `number` makes None of does not count.
    """

    aggregation: Literal["count", "sum", "min", "max", "average", "latest", "unique", "time_weighted", "peak"]
    number: Callable[[Data], Fraction | None] = lambda data: ZERO
    name: Callable[[Data], str | None] = lambda data: None
    is_in: Callable[[Data], bool] = lambda data: True
    counts: Callable[[Data], bool] = lambda data: True
    dimensions: Mapping[str, Callable[[Data], str | None]] = field(default_factory=dict)
    keeps: bool = False
    level: Literal["absolute", "change"] = "absolute"
    per: Literal["second", "minute", "hour", "day", "window"] = "hour"
    by_day: bool = False
    peak_of: timedelta = timedelta(minutes=15)
    valid_from: datetime = EVER
    valid_until: datetime = NEVER


Versions = Sequence[Meter]


class Used(NamedTuple):
    """`quantity` in the meter's unit; so many facts of the time itself stand behind it."""

    quantity: Fraction
    fact_count: int


class Stay(NamedTuple):
    """From when until before when a subject's usage is meant."""

    subject: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Part:
    """What one version reads, of all time, and the stays that it is asked for."""

    version: Meter
    seen: Sequence[Reading]
    stays: Sequence[Stay]

    def inside(self) -> list[Reading]:
        return [
            r
            for r in self.seen
            if any(r.subject == s.subject and s.start <= r.at < s.end for s in self.stays)
        ]


def stays_of(bindings: Iterable[Binding], start: datetime, end: datetime) -> list[Stay]:
    found = [
        Stay(b.subject, max(start, b.start), end if b.end is None else min(end, b.end)) for b in bindings
    ]
    return [stay for stay in found if stay.start < stay.end]


def dimensions_of(meter: Versions) -> list[str]:
    """Of all versions; one that lacks a dimension has nothing there."""
    return list(dict.fromkeys(name for version in meter for name in version.dimensions))


def read(meter: Versions, facts: Sequence[Fact]) -> list[list[Reading]]:
    """What each version makes of all facts, whenever they were."""
    return [_read(version, facts, dimensions_of(meter)) for version in meter]


def _read(version: Meter, facts: Sequence[Fact], names: Sequence[str]) -> list[Reading]:
    found = []
    for fact in facts:
        number, name = version.number(fact.data), version.name(fact.data)
        is_missing = name is None if version.aggregation == "unique" else number is None
        if is_missing or not version.counts(fact.data):
            continue
        own = {name: dimension(fact.data) for name, dimension in version.dimensions.items()}
        group = tuple(own.get(name) for name in names)
        is_in = version.is_in(fact.data)
        found.append(Reading(fact.at, fact.order, fact.subject, group, number or ZERO, name, is_in))
    return found


def used(
    meter: Versions,
    seen: Sequence[Sequence[Reading]],
    stays: Sequence[Stay],
    span: Window,
    *,
    zone: str = "UTC",
    where: Callable[[Mapping[str, str | None]], bool] = lambda group: True,
) -> Used:
    """What `stays` come to within `span`. `seen` is what the versions `read`; `where` looks at dimensions, by name."""
    names = dimensions_of(meter)
    parts = []
    for version, of_version in zip(meter, seen, strict=True):
        start, end = max(span[0], version.valid_from), min(span[1], version.valid_until)
        meant = [r for r in of_version if where(dict(zip(names, r.group, strict=True)))]
        held = [Stay(s.subject, max(s.start, start), min(s.end, end)) for s in stays]
        parts.append(Part(version, meant, [stay for stay in held if stay.start < stay.end]))
    inside = sorted((r for part in parts for r in part.inside()), key=lambda r: (r.at, r.order))
    return Used(_quantity(meter[-1], parts, inside, span, zone), len(inside))


def groups_of(meter: Versions, seen: Sequence[Sequence[Reading]], by: Sequence[str]) -> set[Group]:
    """Every combination of these dimensions that ever was."""
    places = [dimensions_of(meter).index(name) for name in by]
    return {tuple(reading.group[place] for place in places) for of_version in seen for reading in of_version}


def _quantity(
    meter: Meter, parts: Sequence[Part], inside: Sequence[Reading], span: Window, zone: str
) -> Fraction:
    """`inside` are the readings of the time itself, in its order."""
    numbers = [reading.number for reading in inside]
    match meter.aggregation:
        case "count":
            return Fraction(len(inside))
        case "sum":
            return sum(numbers, ZERO)
        case "min":
            return min(numbers, default=ZERO)
        case "max":
            return max(numbers, default=ZERO)
        case "average":
            return rounded(sum(numbers, ZERO) / len(numbers)) if numbers else ZERO
        case "latest":
            return numbers[-1] if numbers else ZERO
        case "unique":
            return Fraction(len(_names(parts, inside)))
        case "peak":
            return _peak(meter, inside)
        case "time_weighted" if meter.by_day:
            days = len(_days(*span, zone))
            return rounded(
                sum((_by_days(part, stay, span, zone) for part in parts for stay in part.stays), ZERO) / days
            )
        case "time_weighted":
            area = sum((_area(part, stay) for part in parts for stay in part.stays), ZERO)
            return rounded(area / _us(span[1] - span[0] if meter.per == "window" else LENGTHS[meter.per]))


def _names(parts: Sequence[Part], inside: Sequence[Reading]) -> set[str | None]:
    """Those whose last word was that they are there."""
    words = list(inside)
    for part in parts:
        if part.version.keeps:
            words += [
                r for r in part.seen if any(r.subject == s.subject and r.at < s.start for s in part.stays)
            ]
    last: dict[str | None, bool] = {}
    for word in sorted(words, key=lambda word: (word.at, word.order)):
        last[word.name] = word.is_in
    return {name for name, is_in in last.items() if is_in}


def _peak(meter: Meter, inside: Sequence[Reading]) -> Fraction:
    """Whole stretches counted from 1970, of which the bounds cut the first and the last."""
    sums: dict[int, Fraction] = {}
    for reading in inside:
        stretch = (reading.at - EPOCH) // meter.peak_of
        sums[stretch] = sums.get(stretch, ZERO) + reading.number
    return max(sums.values(), default=ZERO)


def _area(part: Part, stay: Stay) -> Fraction:
    """The level, of each group by itself, over one stay, in its unit times microseconds."""
    own = [reading for reading in part.seen if reading.subject == stay.subject and reading.at < stay.end]
    area = ZERO
    for group in {reading.group for reading in own}:
        steps = [reading for reading in own if reading.group == group]
        marks = sorted({stay.start, stay.end, *(r.at for r in steps if r.at > stay.start)})
        for begins, ends in pairwise(marks):
            until_now = [reading.number for reading in steps if reading.at <= begins]
            level = ZERO
            if until_now:
                level = until_now[-1] if part.version.level == "absolute" else sum(until_now, ZERO)
            area += level * _us(ends - begins)
    return area


def _by_days(part: Part, stay: Stay, span: Window, zone: str) -> Fraction:
    """The level of all days of a stay, added up; on the day of a change the new level holds.

    The day on which a stay ends before the time asked for does belongs to whoever follows, if anybody does.
    """
    own = [reading for reading in part.seen if reading.subject == stay.subject]
    days = _days(stay.start, stay.end, zone)
    if stay.end != span[1]:
        days = [day for day in days if day[1] <= stay.end]
    return sum(
        (r.number for _, ends in days for r in own if r.at < min(ends, stay.end)),
        ZERO,
    )


def _days(start: datetime, end: datetime, zone: str) -> list[Window]:
    """The local days of which some part lies in a stretch of time."""
    on, found = day_of(start, zone), []
    while day_begins(on, zone) < end:
        day = day_begins(on, zone), day_begins(on + DAY, zone)
        if day[0] < day[1]:  # a date that the zone skipped is none
            found.append(day)
        on += DAY
    return found


def _us(length: timedelta) -> int:
    return length // MICROSECOND


def rounded(number: Fraction) -> Fraction:
    """To 12 decimals, half away from zero."""
    scaled = abs(number) * 10**DECIMALS
    whole = scaled.numerator // scaled.denominator
    if 2 * (scaled - whole) >= 1:
        whole += 1
    return Fraction(whole if number >= 0 else -whole, 10**DECIMALS)


def number_of(value: Any) -> Fraction | None:
    """A JSON number, or a string that holds a plain one."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value)
    digits = text.removeprefix("-").replace(".", "", 1)
    return Fraction(text) if digits.isdecimal() and digits.isascii() and not text.endswith(".") else None
