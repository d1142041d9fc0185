"""Running sums: time in buckets, and what a batch of events adds to them, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import lru_cache
from typing import Any, NamedTuple

from services.metering.domain.measurement import Measurement, Value
from services.metering.domain.meter import Aggregation, Meter
from services.metering.domain.usage_event import EPOCH

# The interpreter's own context rounds to 28 digits without a word; this one would raise.
EXACT = Context(prec=400, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])


def bucket_start(instant: datetime, bucket_s: int) -> datetime:
    """The start of the bucket in which an instant lies. Buckets are counted from 1970 in UTC.

    Every time zone in use is a whole number of 15 minutes from UTC, so that days and hours of all of them
    begin where a bucket does; where one did not (before about 1970), the cut bucket is read from raw events.
    """
    return EPOCH + (instant - EPOCH) // _length(bucket_s) * _length(bucket_s)


def plus(one: Value, other: Value) -> Value:
    """Exact, whatever the digits."""
    if type(one) is int and type(other) is int:
        return one + other
    return EXACT.add(Decimal(one), Decimal(other))


class BucketAddition(NamedTuple):
    """What is added to one running sum. `total` and `maximum` are None for meters that count.

    `start_s` is when its bucket begins, in seconds since 1970: of a thousand buckets, none needs a datetime.
    """

    meter_id: str
    subject: str
    start_s: int
    group: str
    event_count: int
    total: Value | None
    maximum: Value | None


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


class BucketSums:
    """What a set of events adds to the running sums. Order does not matter, nor how the set was cut."""

    __slots__ = ("_meters", "_sums")

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}
        self._sums: dict[tuple[str, str, int, str], list[Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, meter: Meter, subject: str, occurred_us: int, measured: Measurement) -> None:
        """`occurred_us`: microseconds since 1970."""
        number = occurred_us // (meter.bucket_s * 1_000_000)
        key = (meter.id, subject, number, measured.group)
        value = measured.value
        sums = self._sums.get(key)
        if sums is None:
            self._meters[meter.id] = meter
            self._sums[key] = [1, value, value]
            return
        sums[0] += 1
        if value is not None:
            sums[1] = plus(sums[1], value)
            if value > sums[2]:
                sums[2] = value

    def additions(self) -> list[BucketAddition]:
        """Sorted: whoever adds to several buckets takes their locks in this order."""
        return [
            BucketAddition(
                meter, subject, number * self._meters[meter].bucket_s, group, count, total, maximum
            )
            for (meter, subject, number, group), (count, total, maximum) in sorted(self._sums.items())
        ]

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


def usage_of(
    aggregation: Aggregation, *, event_count: int, total: Decimal | None, maximum: Decimal | None
) -> Usage:
    """The quantity that a meter's sums mean. Nothing used is zero, for a maximum too."""
    match aggregation:
        case "count":
            return Usage(Decimal(event_count), event_count)
        case "sum":
            return Usage(total or Decimal(0), event_count)
        case "max":
            return Usage(maximum or Decimal(0), event_count)
