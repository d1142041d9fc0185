"""The steps of a level: how long each level held, and what it contributes to the figure.

What the steps contribute adds up to the figure to its last decimal: each is told as the difference between what all
steps up to it come to, rounded, and what those before it do.
Units: areas are the level's unit times microseconds, or times local days for a meter that weighs by day.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import ClassVar, NamedTuple

from libs.common.errors import RuleViolation
from libs.common.periods import DAY, MICROSECOND, days_between, local_date
from services.metering.domain.exactly import EXACT, quotient
from services.metering.domain.levels import PER_US, last_day
from services.metering.domain.meter import MeterOptions

STEPS_MAX = 50_000


class TooManySteps(RuleViolation):
    code: ClassVar[str] = "too_many_steps"
    title: ClassVar[str] = "The level has too many steps to be listed"


class LevelEvent(NamedTuple):
    """What happens to a level: it is set to `value`, or changed by it. `key` tells events of one instant apart."""

    at: datetime
    key: bytes
    value: Decimal


@dataclass(frozen=True, slots=True)
class LevelSpan:
    """The level of one subject and group from `start` until `end`, with what it was before.

    `is_handed_on`: from `end` on it counts for another, the day of which it is, too.
    """

    start: datetime
    end: datetime
    key: bytes
    carried: Decimal
    events: Sequence[LevelEvent]
    is_handed_on: bool = False


@dataclass(frozen=True, slots=True)
class LevelStep:
    """The level after an event, for how long it held (or, weighed by day, on how many days the change counts), and what
    that contributes to the figure."""

    level: Decimal
    contribution: Decimal
    seconds: Decimal | None = None
    days: int | None = None


class PlacedStep(NamedTuple):
    """`event_key` is None for the level that was there before; `span` is the place of its span."""

    at: datetime
    key: bytes
    event_key: bytes | None
    span: int
    step: LevelStep


class _Held(NamedTuple):
    """A level and its weight, in microseconds or days."""

    at: datetime
    key: bytes
    event_key: bytes | None
    span: int
    level: Decimal
    weighed: Decimal
    weight: int


def steps_of(
    options: MeterOptions,
    spans: Iterable[LevelSpan],
    *,
    start: datetime,
    end: datetime,
    zone: str,
    after: tuple[datetime, bytes] | None = None,
    limit: int = STEPS_MAX,
) -> list[PlacedStep]:
    """The first `limit` steps behind `after`, in order of time, of the figure from `start` until `end`.

    What was there before and holds no time has no step.
    Rounding: what all steps up to one come to, to 12 decimals, half away from zero; never a step for itself.
    """
    weigh = _by_day if options.by_day else _by_time
    held = sorted(
        (each for place, span in enumerate(spans) for each in weigh(options, place, span, zone)),
        key=_order,
    )
    areas = [Decimal(0)]
    for each in held:
        areas.append(EXACT.add(areas[-1], EXACT.multiply(each.weighed, Decimal(each.weight))))
    first = 0 if after is None else bisect_right(held, after, key=_order)
    last = min(first + limit, len(held))
    divisor = _divisor(options, start, end, zone)
    reached = [quotient(area, divisor) for area in areas[first : last + 1]]
    return [
        PlacedStep(
            each.at,
            each.key,
            each.event_key,
            each.span,
            LevelStep(
                level=each.level,
                contribution=EXACT.subtract(to, from_),
                seconds=None if options.by_day else EXACT.divide(Decimal(each.weight), Decimal(1_000_000)),
                days=each.weight if options.by_day else None,
            ),
        )
        for each, (from_, to) in zip(held[first:last], pairwise(reached), strict=True)
    ]


def _order(held: _Held) -> tuple[datetime, bytes]:
    return held.at, held.key


def _by_time(options: MeterOptions, place: int, span: LevelSpan, zone: str) -> Iterator[_Held]:
    level = span.carried
    ends = [*(event.at for event in span.events), span.end]
    before = (ends[0] - span.start) // MICROSECOND
    if before:
        yield _Held(span.start, span.key, None, place, level, level, before)
    for event, until in zip(span.events, ends[1:], strict=True):
        level = event.value if options.level == "absolute" else EXACT.add(level, event.value)
        yield _Held(event.at, event.key, event.key, place, level, level, (until - event.at) // MICROSECOND)


def _by_day(options: MeterOptions, place: int, span: LevelSpan, zone: str) -> Iterator[_Held]:
    """A change weighs for each local day from its own to the last of the span."""

    def weight(at: datetime) -> int:
        last = last_day(span.start, span.end, zone, is_handed_on=span.is_handed_on)
        return days_between(local_date(at, zone), last + DAY, zone)

    level = span.carried
    if level:
        yield _Held(span.start, span.key, None, place, level, level, weight(span.start))
    for event in span.events:
        level = EXACT.add(level, event.value)
        yield _Held(event.at, event.key, event.key, place, level, event.value, weight(event.at))


def _divisor(options: MeterOptions, start: datetime, end: datetime, zone: str) -> Decimal:
    if options.by_day:
        return Decimal(days_of(start, end, zone) or 1)
    assert options.per is not None, "a level is integrated by something"
    return Decimal((end - start) // MICROSECOND if options.per == "window" else PER_US[options.per])


def days_of(start: datetime, end: datetime, zone: str) -> int:
    """The local days of that time, those of its ends included."""
    return days_between(local_date(start, zone), local_date(end - MICROSECOND, zone) + DAY, zone)
