"""The n-th billing period of a subscription, counted from its anchor in its zone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from libs.common.periods import (
    InstantOutsidePeriod,
    Interval,
    boundary,
    index_on,
    local_date,
    start_of_day,
)


@dataclass(frozen=True, slots=True)
class BillingPeriod:
    """Half-open: `start` and `start_on` belong to it, `end` and `end_on` to the next one."""

    index: int
    start_on: date
    end_on: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """What periods are counted by: the anchor (the local date on which period 0 starts), the interval, the zone."""

    anchor_on: date
    interval: Interval
    zone: str

    def nth_period(self, index: int) -> BillingPeriod:
        """Period `index`. Consecutive indexes tile time: 31 Jan, 28 Feb, 31 Mar.

        Raises: UnknownZone.
        """
        start_on = boundary(self.anchor_on, self.interval, index)
        end_on = boundary(self.anchor_on, self.interval, index + 1)
        return BillingPeriod(
            index=index,
            start_on=start_on,
            end_on=end_on,
            start=start_of_day(start_on, self.zone),
            end=start_of_day(end_on, self.zone),
        )

    def period_at(self, instant: datetime) -> BillingPeriod:
        """The period in which `instant` lies, also one that has not begun in the books yet."""
        return self.nth_period(index_on(self.anchor_on, self.interval, local_date(instant, self.zone)))

    def cut(self, period: BillingPeriod, at: datetime) -> BillingPeriod:
        """The part of `period` before `at`, empty when cut at its start; the day of the cut is no longer in use.

        Raises: InstantOutsidePeriod.
        """
        if at == period.end:
            return period
        if not period.start <= at < period.end:
            raise InstantOutsidePeriod("cannot cut", at=at, start=period.start, end=period.end)
        return replace(period, end=at, end_on=local_date(at, self.zone))
