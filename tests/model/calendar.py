"""Local days and period bounds, found by trying instants: the slow way that cannot share a mistake with the quick one."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
QUARTER = timedelta(minutes=15)
SECOND = timedelta(seconds=1)


@lru_cache
def rules_of(zone: str) -> ZoneInfo:
    with files("tzdata.zoneinfo").joinpath(*zone.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=zone)


@lru_cache(maxsize=100_000)
def day_begins(on: date, zone: str) -> datetime:
    """The first instant whose local date is not earlier than `on`."""
    rules = rules_of(zone)
    at = datetime.combine(on, time.min, tzinfo=UTC) - timedelta(hours=16)
    while at.astimezone(rules).date() < on:
        at += QUARTER
    while (at - SECOND).astimezone(
        rules
    ).date() >= on:  # clocks that are set by less than a quarter of an hour
        at -= SECOND
    return at


def day_of(at: datetime, zone: str) -> date:
    """The last local day that has begun by `at`."""
    on = at.date() + 2 * DAY
    while day_begins(on, zone) > at:
        on -= DAY
    return on


def nth_day(anchor: date, unit: str, count: int, n: int) -> date:
    """The n-th boundary, counted from the anchor; a day that a month lacks is its last."""
    if unit in ("day", "week"):
        return anchor + n * count * (7 if unit == "week" else 1) * DAY
    months = anchor.year * 12 + anchor.month - 1 + n * count * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(anchor.day, monthrange(year, month)[1]))


def whole_around(anchor: date, unit: str, count: int, on: date) -> tuple[date, date]:
    """The boundaries before (or on) and after a date, found by stepping from the anchor."""
    length = {"day": 1, "week": 7, "month": 31, "year": 366}[unit] * count
    n = (on - anchor).days // length - 2
    while nth_day(anchor, unit, count, n) > on:
        n -= 8
    while nth_day(anchor, unit, count, n + 1) <= on:
        n += 1
    return nth_day(anchor, unit, count, n), nth_day(anchor, unit, count, n + 1)


@lru_cache(maxsize=100_000)
def days_between(start_on: date, end_on: date, zone: str) -> int:
    """How many days there are; a date that the zone skipped is none."""
    dates = (start_on + n * DAY for n in range((end_on - start_on).days))
    return sum(1 for on in dates if day_begins(on, zone) < day_begins(on + DAY, zone))
