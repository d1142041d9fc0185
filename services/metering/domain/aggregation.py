"""Running sums: time in buckets, and what a batch of events adds to them, exactly."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from services.metering.domain.exactly import EXACT, quotient
from services.metering.domain.measurement import Measurement, Value
from services.metering.domain.meter import ADDED_UP, Aggregation, Meter
from services.metering.domain.usage_event import EPOCH


def bucket_start(instant: datetime, bucket_s: int) -> datetime:
    """The start of the bucket in which an instant lies. Buckets are counted from 1970 in UTC.

    Every time zone in use is a whole number of 15 minutes from UTC, so that days and hours of all of them
    begin where a bucket does; where one did not (before about 1970), the cut bucket is read from raw events.
    """
    return EPOCH + (instant - EPOCH) // _length(bucket_s) * _length(bucket_s)


def plus(one: Value, other: Value) -> Value:
    """Exact, whatever the digits."""
    if type(one) is Decimal and type(other) is Decimal:
        return EXACT.add(one, other)
    if type(one) is int and type(other) is int:
        return one + other
    return EXACT.add(Decimal(one), Decimal(other))


def times(value: Value, factor: int) -> Value:
    """Exact, whatever the digits."""
    return value * factor if type(value) is int else EXACT.multiply(Decimal(value), Decimal(factor))


class BucketAddition(NamedTuple):
    """What is added to one running sum; what its meter does not need is None.

    `start_s` is when its bucket begins, in seconds since 1970: of a thousand buckets, none needs a datetime.
    """

    meter_id: str
    subject: str
    start_s: int
    group: str
    event_count: int
    total: Value | None
    minimum: Value | None
    maximum: Value | None


class LastAddition(NamedTuple):
    """The last event of a running sum: `at_us` in microseconds since 1970; of two at one instant, the greater key's."""

    meter_id: str
    subject: str
    start_s: int
    group: str
    at_us: int
    key: bytes
    value: Value


class LevelAddition(NamedTuple):
    """Changes of a level: when the first was, and what all of them come to until the bucket's end, times microseconds."""

    meter_id: str
    subject: str
    start_s: int
    group: str
    first_us: int
    area: Value


class MemberAddition(NamedTuple):
    """What was said last of one of the things that a running sum counts once."""

    meter_id: str
    subject: str
    start_s: int
    group: str
    member: str
    at_us: int
    key: bytes
    is_in: bool


class TouchedBucket(NamedTuple):
    """Usage of `subject` on the meter of this code has changed somewhere within [start, end)."""

    meter: str
    subject: str
    start: datetime
    end: datetime


class TouchedSubjects(NamedTuple):
    """Usage of these subjects, each with a meter's code, has changed somewhere within [start, end)."""

    subjects: frozenset[tuple[str, str]]
    start: datetime
    end: datetime


BucketKey = tuple[str, str, int, str]  # of a meter's id, subject, the bucket's number, and the group
_TOTALLED = frozenset({"sum", "average", "peak"})


class BucketSums:
    """What a set of events adds to the running sums. Order does not matter, nor how the set was cut.

    Levels that are set, and not changed, depend on the order: their buckets are `unsettled`, and are made again from
    all their events.
    """

    __slots__ = ("_last", "_levels", "_members", "_meters", "_sums", "_unsettled")

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}
        self._sums: dict[BucketKey, list[Any]] = {}
        self._last: dict[BucketKey, tuple[int, bytes, Value]] = {}
        self._levels: dict[BucketKey, tuple[int, Value]] = {}
        self._members: dict[tuple[BucketKey, str], tuple[int, bytes, bool]] = {}
        self._unsettled: set[BucketKey] = set()

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(
        self, meter: Meter, subject: str, occurred_us: int, measured: Measurement, event_key: bytes = b""
    ) -> None:
        """`occurred_us`: microseconds since 1970. `event_key` tells events of one instant apart."""
        number = occurred_us // (meter.bucket_s * 1_000_000)
        key = (meter.id, subject, number, measured.group)
        value, aggregation = measured.value, meter.aggregation
        sums = self._sums.get(key)
        if sums is None:
            self._meters[meter.id] = meter
            total = value if aggregation in _TOTALLED else None
            minimum = value if aggregation == "min" else None
            self._sums[key] = [1, total, minimum, value if aggregation == "max" else None]
        else:
            sums[0] += 1
            if aggregation in _TOTALLED:
                sums[1] = plus(sums[1], value)  # type: ignore[arg-type]
            elif aggregation == "max":
                sums[3] = max(sums[3], value)
            elif aggregation == "min":
                sums[2] = min(sums[2], value)
        if aggregation not in ADDED_UP:
            self._add_what_is_special(meter, key, occurred_us, measured, event_key)

    def _add_what_is_special(
        self, meter: Meter, key: BucketKey, occurred_us: int, measured: Measurement, event_key: bytes
    ) -> None:
        value = measured.value
        if measured.member is not None:
            place = key, measured.member
            told = (occurred_us, event_key, measured.is_in)
            self._members[place] = max(self._members.get(place, told), told)
        elif value is not None and meter.aggregation == "latest":
            last = (occurred_us, event_key, value)
            self._last[key] = max(self._last.get(key, last), last)
        elif value is not None and meter.options.level == "change":
            end_us = (key[2] + 1) * meter.bucket_s * 1_000_000
            area = times(value, end_us - occurred_us)
            sums = self._sums[key]
            sums[1] = value if sums[1] is None else plus(sums[1], value)
            first_us, known = self._levels.get(key, (occurred_us, 0))
            self._levels[key] = min(first_us, occurred_us), plus(known, area)
        elif meter.options.level == "absolute":
            self._unsettled.add(key)

    def meters(self) -> Collection[Meter]:
        """Those that anything was added for."""
        return self._meters.values()

    def additions(self) -> list[BucketAddition]:
        """Sorted: whoever adds to several buckets takes their locks in this order."""
        return [BucketAddition(*self._named(key), *sums) for key, sums in sorted(self._sums.items())]

    def last(self) -> list[LastAddition]:
        return [LastAddition(*self._named(key), *last) for key, last in sorted(self._last.items())]

    def levels(self) -> list[LevelAddition]:
        return [LevelAddition(*self._named(key), *level) for key, level in sorted(self._levels.items())]

    def members(self) -> list[MemberAddition]:
        return [
            MemberAddition(*self._named(key), member, *told)
            for (key, member), told in sorted(self._members.items())
        ]

    def unsettled(self) -> list[tuple[str, str, int, str]]:
        """Buckets, as additions name them, that are to be made again from all their events."""
        return [self._named(key) for key in sorted(self._unsettled)]

    def _named(self, key: BucketKey) -> tuple[str, str, int, str]:
        meter, subject, number, group = key
        return meter, subject, number * self._meters[meter].bucket_s, group

    def touched(self) -> list[TouchedBucket]:
        """Every bucket that changes, once, whatever its groups."""
        found = sorted({key[:3] for key in self._sums})
        return [
            TouchedBucket(
                meter=self._meters[meter].code,
                subject=subject,
                start=self._start(meter, number),
                end=self._start(meter, number + 1),
            )
            for meter, subject, number in found
        ]

    def subjects(self) -> TouchedSubjects:
        """Of whom usage changes, and on which meter; only where there is any."""
        changed = {key[:2] for key in self._sums}
        buckets = {(key[0], key[2]) for key in self._sums}
        return TouchedSubjects(
            frozenset((self._meters[meter].code, subject) for meter, subject in changed),
            min(self._start(meter, number) for meter, number in buckets),
            max(self._start(meter, number + 1) for meter, number in buckets),
        )

    def _start(self, meter: str, number: int) -> datetime:
        return EPOCH + number * _length(self._meters[meter].bucket_s)


@lru_cache(maxsize=64)
def _length(bucket_s: int) -> timedelta:
    return timedelta(seconds=bucket_s)


@dataclass(frozen=True, slots=True)
class Usage:
    """How much, and how many events stand behind it."""

    quantity: Decimal
    event_count: int


NO_USAGE = Usage(Decimal(0), 0)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the events of a span come to, as far as its meter needs it. `found`: what is no sum of numbers."""

    event_count: int
    total: Decimal | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    found: Decimal | None = None


def usage_of(aggregation: Aggregation, sums: Sums) -> Usage:
    """The quantity that a meter's sums mean. Nothing used is zero, whatever the meter does.

    Rounding: an average once, to 12 decimals, half away from zero.
    """
    match aggregation:
        case "count":
            quantity: Decimal | None = Decimal(sums.event_count)
        case "sum":
            quantity = sums.total
        case "min":
            quantity = sums.minimum
        case "max":
            quantity = sums.maximum
        case "average":
            quantity = quotient(sums.total or Decimal(0), Decimal(sums.event_count or 1))
        case _:
            quantity = sums.found
    return Usage(quantity or Decimal(0), sums.event_count)
