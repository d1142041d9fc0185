"""Periods of time: half-open, on local dates of a zone, with the UTC instants at which those dates begin.

Periods are counted from their anchor, never from the period before, so that month ends do not drift. A local
day starts at the first instant whose local date is not earlier: where midnight is skipped, a little later; a
date that a zone skipped altogether has length zero. Zones come from the pinned `tzdata` package, never from
the machine.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal, Self
from zoneinfo import ZoneInfo

from libs.common.errors import RuleViolation

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)

IntervalUnit = Literal["day", "week", "month", "year"]

_SECOND = timedelta(seconds=1)
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


class UnknownZone(RuleViolation):
    code = "unknown_zone"
    title = "Unknown time zone"


class InvalidInterval(RuleViolation):
    code = "invalid_interval"
    title = "Not a billing interval"


class PeriodReversed(RuleViolation):
    code = "period_reversed"
    title = "A period that ends before it starts"


class InstantOutsidePeriod(RuleViolation):
    code = "instant_outside_period"
    title = "Outside the period"


@cache
def zone_names() -> frozenset[str]:
    """Every IANA zone of the pinned tzdata."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@cache
def load_zone(zone: str) -> ZoneInfo:
    """The zone's rules.

    Raises: UnknownZone.
    """
    if zone not in zone_names():
        raise UnknownZone("not an IANA time zone", remedy="name a zone such as Europe/Amsterdam")
    with files("tzdata.zoneinfo").joinpath(*zone.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=zone)


@lru_cache(maxsize=16384)
def start_of_day(on: date, zone: str) -> datetime:
    """The first instant whose local date in `zone` is not earlier than `on`, in UTC.

    Raises: UnknownZone.
    """
    rules = load_zone(zone)
    midnight = datetime.combine(on, time.min, tzinfo=rules)
    earlier, later = sorted(midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if _is_on_or_after(earlier, on, rules):
        return earlier
    return _first_instant(earlier, later, on, rules)


def local_date(instant: datetime, zone: str) -> date:
    """The local day in which `instant` lies: the last one that has started.

    Where clocks are put back over midnight, the hour that the old date gets back belongs to the new day.
    Raises: UnknownZone.
    """
    on = instant.astimezone(load_zone(zone)).date()
    while start_of_day(on + DAY, zone) <= instant:
        on += DAY
    return on


def days_between(start_on: date, end_on: date, zone: str) -> int:
    """How many local days there are from `start_on` until before `end_on`.

    Units: days, zero when `end_on` is not later. A date that the zone skipped is no day.
    """
    span = start_of_day(end_on, zone) - start_of_day(start_on, zone) if end_on > start_on else timedelta(0)
    if abs(span - (end_on - start_on)) < DAY // 2:
        return max(0, (end_on - start_on).days)
    return sum(1 for on in _dates(start_on, end_on) if start_of_day(on, zone) < start_of_day(on + DAY, zone))


@dataclass(frozen=True, slots=True)
class Period:
    """Time from `start` until before `end`, both in UTC, in the zone whose local dates it is billed by.

    Raises: PeriodReversed, UnknownZone.
    """

    start: datetime
    end: datetime
    zone: str

    def __post_init__(self) -> None:
        for instant in (self.start, self.end):
            assert instant.utcoffset() == timedelta(0), "instants are aware and in UTC"
        if self.end < self.start:
            raise PeriodReversed("a period ends no earlier than it starts", start=self.start, end=self.end)
        load_zone(self.zone)

    @classmethod
    def between(cls, start_on: date, end_on: date, zone: str) -> Self:
        """The days from `start_on` until before `end_on`."""
        return cls(start_of_day(start_on, zone), start_of_day(end_on, zone), zone)

    @property
    def start_on(self) -> date:
        return local_date(self.start, self.zone)

    @property
    def end_on(self) -> date:
        """The local date of `end`: the day after the last one when the period ends where a day starts."""
        return local_date(self.end, self.zone)

    @property
    def length_us(self) -> int:
        return (self.end - self.start) // MICROSECOND

    def contains(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def overlap(self, other: Self) -> Self | None:
        """The time that both have, None where they only touch or lie apart."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return type(self)(start, end, self.zone) if start < end else None

    def split(self, instant: datetime) -> tuple[Self, Self]:
        """What lies before `instant` and what lies after; one of them is empty at the period's own ends.

        Raises: InstantOutsidePeriod.
        """
        if not self.start <= instant <= self.end:
            raise InstantOutsidePeriod("cannot split", instant=instant, start=self.start, end=self.end)
        return type(self)(self.start, instant, self.zone), type(self)(instant, self.end, self.zone)


def days_in_use(period: Period) -> int:
    """The local days that `period` counts for by the day: the one it starts in, but not the one it ends in.

    Source: a day of change belongs to the new state; the day of return is no longer in use.
    """
    return days_between(period.start_on, period.end_on, period.zone)


@dataclass(frozen=True, slots=True)
class Interval:
    """How long one billing period is, in calendar steps: a month is not 30 days.

    Raises: InvalidInterval.
    """

    unit: IntervalUnit
    count: int = 1

    def __post_init__(self) -> None:
        if self.unit not in _DAYS and self.unit not in _MONTHS:
            raise InvalidInterval("the unit is day, week, month or year", unit=self.unit)
        if self.count < 1:
            raise InvalidInterval("a period has at least one step", count=self.count)


def boundary(anchor_on: date, interval: Interval, index: int) -> date:
    """The local date on which period `index` starts: 0 on the anchor, negative ones before it.

    Counted from the anchor: 31 January, 28 February, 31 March. Short months use their last day.
    Source: RFC 7529, SKIP=BACKWARD.
    """
    steps = interval.count * index
    if interval.unit in _DAYS:
        return anchor_on + steps * _DAYS[interval.unit] * DAY
    return _months_later(anchor_on, steps * _MONTHS[interval.unit])


def index_on(anchor_on: date, interval: Interval, on: date) -> int:
    """The index of the period in which the local date `on` lies: the last whose boundary is not later."""
    if interval.unit in _DAYS:
        return (on - anchor_on).days // (_DAYS[interval.unit] * interval.count)
    months = (on.year - anchor_on.year) * 12 + on.month - anchor_on.month
    index = months // (_MONTHS[interval.unit] * interval.count)
    return index if boundary(anchor_on, interval, index) <= on else index - 1


def nth_period(anchor_on: date, interval: Interval, zone: str, index: int) -> Period:
    """Period `index`, counted from the anchor. Consecutive indexes tile time without gap or overlap."""
    start_on = boundary(anchor_on, interval, index)
    return Period.between(start_on, boundary(anchor_on, interval, index + 1), zone)


def period_at(anchor_on: date, interval: Interval, zone: str, instant: datetime) -> Period:
    """The period, counted from the anchor, in which `instant` lies."""
    return nth_period(anchor_on, interval, zone, index_on(anchor_on, interval, local_date(instant, zone)))


def _months_later(on: date, months: int) -> date:
    year, month = divmod(on.year * 12 + on.month - 1 + months, 12)
    return date(year, month + 1, min(on.day, monthrange(year, month + 1)[1]))


def _is_on_or_after(instant: datetime, on: date, rules: ZoneInfo) -> bool:
    return instant.astimezone(rules).date() >= on


def _first_instant(before: datetime, after: datetime, on: date, rules: ZoneInfo) -> datetime:
    """The second between `before` and `after` at which clocks skip to `on` or beyond; found by halving."""
    low, high = 0, (after - before) // _SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if _is_on_or_after(before + middle * _SECOND, on, rules):
            high = middle
        else:
            low = middle
    return before + high * _SECOND


def _dates(start_on: date, end_on: date) -> Iterator[date]:
    return (start_on + days * DAY for days in range((end_on - start_on).days))
