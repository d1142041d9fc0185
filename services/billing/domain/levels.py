"""How many of a thing there are over time: what is agreed on and what has been charged, held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

Level = (
    Decimal | None
)  # None: nothing, which is not the same as none of it (a flat fee is owed for any quantity)


class Point(NamedTuple):
    """Where a level changes: `at` is from when that counts, `told` the instant at which it happened.

    `is_date`: it counts from the start of the local date `on`, and so does the part of the period in days.
    """

    at: datetime
    on: date
    is_date: bool
    told: datetime


class Stretch(NamedTuple):
    start: Point
    end: Point
    before: Level
    after: Level


@dataclass(slots=True)
class Levels:
    """A level for every instant from `start` until before `end`: nothing at all, until it is put."""

    start: Point
    end: Point
    steps: list[tuple[Point, Level]]

    @classmethod
    def of_nothing(cls, start: Point, end: Point) -> Levels:
        return cls(start, end, [(start, None)])

    def copy(self) -> Levels:
        return Levels(self.start, self.end, [*self.steps])

    def at(self, instant: datetime) -> Level:
        level: Level = None
        for point, found in self.steps:
            if point.at > instant:
                break
            level = found
        return level

    def put(self, start: Point, level: Level, end: Point | None = None) -> None:
        """From `start` on, until `end` or for good, there are `level`, whatever was put before."""
        end = self.end if end is None or end.at > self.end.at else end
        start = self.start if start.at < self.start.at else start
        if start.at >= end.at:
            return
        after = self.at(end.at)
        steps = [step for step in self.steps if step[0].at < start.at]
        steps.append((start, level))
        if end.at < self.end.at:
            steps.append((end, after))
        steps += [step for step in self.steps if step[0].at > end.at]
        self.steps = steps

    def raise_until(self, end: Point, by: Decimal) -> None:
        """From the beginning until `end`, there are `by` more."""
        self.put(end, self.at(end.at))
        self.steps = [
            (point, (level or Decimal(0)) + by if point.at < end.at else level) for point, level in self.steps
        ]


def differences(before: Levels, after: Levels) -> Iterator[Stretch]:
    """The longest stretches over which the one level differs from the other, each in the same way from end to end."""
    points = {point.at: point for point, _ in before.steps}
    points |= {point.at: point for point, _ in after.steps}
    ordered = [points[at] for at in sorted(points)] + [after.end]
    open_stretch: Stretch | None = None
    for start, end in pairwise(ordered):
        one, other = before.at(start.at), after.at(start.at)
        if one == other:
            if open_stretch is not None:
                yield open_stretch
            open_stretch = None
        elif open_stretch is not None and (open_stretch.before, open_stretch.after) == (one, other):
            open_stretch = open_stretch._replace(end=end)
        else:
            if open_stretch is not None:
                yield open_stretch
            open_stretch = Stretch(start, end, one, other)
    if open_stretch is not None:
        yield open_stretch
