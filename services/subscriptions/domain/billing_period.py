"""Billing periods: numbered on from 0, they tile a subscription's time; their bounds are counted from the anchor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from libs.common.periods import (
    InstantOutsidePeriod,
    Interval,
    boundary,
    index_on,
    local_date,
    start_of_day,
)

PeriodKind = Literal["regular", "trial"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Half-open: local dates, and the instants they stand for."""

    start_on: date
    end_on: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class BillingPeriod:
    """Half-open: `start` and `start_on` belong to it, `end` and `end_on` to the next one.

    `full` are the bounds that it had before it was cut, or that it is a part of; None where it is the whole. Of a first
    period into which the part before the anchor's day was merged, `stub_end_on` is the day on which the whole part
    begins, and `stub_start_on` that on which the interval begins that the first part is a part of.
    """

    index: int
    start_on: date
    end_on: date
    start: datetime
    end: datetime
    kind: PeriodKind = "regular"
    full: Bounds | None = None
    stub_end_on: date | None = None
    stub_start_on: date | None = None

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.start_on, self.end_on, self.start, self.end)


@dataclass(frozen=True, slots=True)
class Calendar:
    """What periods are counted by: the anchor (a local date on which some period starts), the interval, the zone."""

    anchor_on: date
    interval: Interval
    zone: str

    def bounds_on(self, on: date) -> Bounds:
        """The whole interval, counted from the anchor, in which the local date lies."""
        step = index_on(self.anchor_on, self.interval, on)
        start_on = boundary(self.anchor_on, self.interval, step)
        end_on = boundary(self.anchor_on, self.interval, step + 1)
        return Bounds(start_on, end_on, start_of_day(start_on, self.zone), start_of_day(end_on, self.zone))

    def period_from(
        self, start_on: date, start: datetime, *, index: int, merges_stub: bool = False
    ) -> BillingPeriod:
        """The period that begins at `start`, on the local date `start_on`, and ends at the next boundary.

        Consecutive ones tile time: 31 Jan, 28 Feb, 31 Mar. A part before the anchor's day is a period of its own, or
        (`merges_stub`) goes with the whole one after it. Where that boundary is over by `start`, in a zone that is new by
        then, the period is empty.
        Raises: UnknownZone.
        """
        whole = self.bounds_on(start_on)
        if merges_stub and whole.start_on != start_on:
            after = self.bounds_on(whole.end_on)
            return BillingPeriod(
                index,
                start_on,
                after.end_on,
                start,
                max(after.end, start),
                stub_end_on=whole.end_on,
                stub_start_on=whole.start_on,
            )
        whole = replace(whole, end=max(whole.end, start))
        full = None if whole.start_on == start_on else whole
        return BillingPeriod(index, start_on, whole.end_on, start, whole.end, full=full)

    def after(self, period: BillingPeriod, *, merges_stub: bool = False) -> BillingPeriod:
        """The period that begins where this one ends."""
        return self.period_from(period.end_on, period.end, index=period.index + 1, merges_stub=merges_stub)

    def cut(self, period: BillingPeriod, at: datetime) -> BillingPeriod:
        """The part of `period` before `at`, empty when cut at its start; the day of the cut is no longer in use.

        Raises: InstantOutsidePeriod.
        """
        if at == period.end:
            return period
        if not period.start <= at < period.end:
            raise InstantOutsidePeriod("cannot cut", at=at, start=period.start, end=period.end)
        end_on = max(period.start_on, local_date(at, self.zone))
        return replace(period, end=at, end_on=end_on, full=period.full or period.bounds)

    def moved(self, period: BillingPeriod, zone: str, at: datetime) -> BillingPeriod:
        """The period with the end that its last day has in another zone, from `at` on: its dates stay.

        Where that instant is over by then, the period ends at `at`: every instant belongs to one period.
        """
        end = max(start_of_day(period.end_on, zone), at)
        full = period.full
        if full is not None:
            full = replace(full, end=max(start_of_day(full.end_on, zone), end))
        return replace(period, end=end, full=full)
