"""The periods that are simulated, one after another, and how many of them make a longer interval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from libs.common.periods import Interval, Period, boundary, index_on
from services.billing.domain.intervals import YEAR, times


@dataclass(frozen=True, slots=True)
class Timetable:
    """`count` periods from `start_on` on, in local dates of `zone`, each an `interval` long.

    They are counted from `anchor_on`, so that month ends do not drift. Without an interval there is one period, as it
    is, until `end_on`: it stands for a billing period of whatever plan.
    """

    zone: str
    start_on: date
    anchor_on: date
    count: int = 1
    interval: Interval | None = None
    end_on: date | None = None

    def start_of(self, step: int) -> date:
        """The local date on which period `step` begins, 0 being the first; those after the last are counted on."""
        if self.interval is None:
            assert self.end_on is not None, "a period without an interval has an end"
            return self.end_on if step else self.start_on
        return boundary(self.anchor_on, self.interval, self._first + step)

    def span(self, start: int, end: int) -> Period:
        """The time from period `start` until before period `end`."""
        return Period.between(self.start_of(start), self.start_of(end), self.zone)

    def steps_in(self, interval: Interval, plan: Interval) -> int | None:
        """How many of the periods make one `interval` of a plan that is billed every `plan`; None if it does not fit."""
        if self.interval is not None:
            return times(interval, self.interval)
        return 1 if times(interval, plan) == 1 else None

    def steps_in_year(self) -> int | None:
        if self.interval is not None:
            return times(YEAR, self.interval)
        return 1 if boundary(self.start_on, YEAR, 1) == self.end_on else None

    @property
    def _first(self) -> int:
        assert self.interval is not None
        return index_on(self.anchor_on, self.interval, self.start_on)
