"""From the segments of an item to what is owed for: how many at which price, from when until when, as changes count.

By `day` a boundary counts from the start of its local date, by `second` at its instant: the state after it is owed for
from there on. By `none` it moves nothing: what was owed for goes on to the end of the period. By `full` what begins is
owed for whole, and what ends stays owed for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from libs.common.periods import MICROSECOND, Interval, Period, local_date, start_of_day
from services.billing.domain.agreement import Agreement, Bounds
from services.billing.domain.levels import Levels, Point
from services.billing.domain.proration import fraction_in_use, measured_against
from services.billing.domain.rating.price import Price, Proration
from services.billing.domain.terms import PeriodTerms, TermSegment

DAY = timedelta(days=1)
HALF_A_DAY = timedelta(hours=12)
ONE, NONE_OF_IT = Decimal(1), Decimal(0)


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole billing period, as counted from the anchor, of which everything in it is a part.

    `is_first_part`: the agreement begins inside of it.
    """

    bounds: Bounds
    zone: str
    agreement: Agreement
    is_first_part: bool = False

    @property
    def start(self) -> Point:
        return Point(self.bounds.start, self.bounds.start_on, True, self.bounds.start)

    @property
    def end(self) -> Point:
        return Point(self.bounds.end, self.bounds.end_on, True, self.bounds.end)

    def on(self, on: date, told: datetime) -> Point:
        """The point at which a local date begins.

        Where the zone was changed, the dates of the period stay: as it counts days now, some may begin before the period
        did, or after its end. Each still comes after the one before it, so that none is lost.
        """
        begins = start_of_day(on, self.zone)
        counted = local_date(begins, self.zone)  # a date that the zone skipped begins with the next one
        if counted <= self.bounds.start_on or on <= self.bounds.start_on:
            return self.start
        if counted >= self.bounds.end_on:
            return self.end
        earliest = self.bounds.start + (counted - self.bounds.start_on).days * MICROSECOND
        latest = self.bounds.end - (self.bounds.end_on - counted).days * MICROSECOND
        return Point(min(max(begins, earliest), latest), on, True, told)

    def at(self, at: datetime, on: date) -> Point:
        """The point of an instant."""
        if at <= self.bounds.start:
            return self.start
        if at >= self.bounds.end or on >= self.bounds.end_on:
            return self.end
        return Point(at, on, False, at)

    def date_of(self, begins: datetime) -> date:
        """The local date that begins at this instant: in its zone, or in the one before, in which the period began."""
        on = local_date(begins, self.zone)
        if start_of_day(on, self.zone) == begins:
            return on
        return self.bounds.start_on + ((begins - self.bounds.start + HALF_A_DAY) // DAY) * DAY

    def holds(self, on: date) -> bool:
        return self.bounds.start_on <= on < self.bounds.end_on

    def fraction(self, start: Point, end: Point) -> Fraction:
        """What the time between two points is of the whole: in days where both are dates, by time elapsed where both are
        instants. Between a date and an instant lies what is left, so that parts that follow each other sum to the whole.

        Units: an exact fraction from 0 to 1.
        """
        if start.is_date and end.is_date:
            used = Period.between(start.on, end.on, self.zone)
            full = Period.between(self.bounds.start_on, self.bounds.end_on, self.zone)
            return fraction_in_use(
                used=used, full=self._measured(used, full), method="day", options=self.agreement.proration
            )
        if any(point.is_date and point not in (self.start, self.end) for point in (start, end)):
            return max(self.fraction(start, self.end) - self.fraction(end, self.end), Fraction(0))
        used = Period(start.at, end.at, self.zone)
        full = Period(self.bounds.start, self.bounds.end, self.zone)
        return fraction_in_use(used=used, full=self._measured(used, full), method="second")

    def _measured(self, used: Period, full: Period) -> Period:
        interval: Interval | None = self.agreement.interval
        if not self.is_first_part or interval is None or used.start <= full.start:
            return full
        return measured_against(used=used, full=full, interval=interval, options=self.agreement.proration)


class Part(NamedTuple):
    """The segments of one item in one frame, in the order of time."""

    frame: Frame
    segments: tuple[TermSegment, ...]


def parts_of(terms: PeriodTerms, agreement: Agreement) -> dict[str, list[Part]]:
    """By item; only what is charged by time."""
    found: dict[str, dict[Bounds, list[TermSegment]]] = {}
    for segment in terms.segments:
        if segment.price.kind == "recurring":
            bounds = segment.whole or terms.period.whole
            found.setdefault(segment.item_id, {}).setdefault(bounds, []).append(segment)
    return {
        item_id: [
            Part(frame_of(bounds, terms, agreement), tuple(sorted(segments, key=_by_start)))
            for bounds, segments in by_frame.items()
        ]
        for item_id, by_frame in found.items()
    }


def frame_of(bounds: Bounds, terms: PeriodTerms, agreement: Agreement) -> Frame:
    return Frame(bounds, agreement.zone, agreement, is_first_part=bounds.start_on < terms.period.start_on)


def _by_start(segment: TermSegment) -> datetime:
    return segment.start


@dataclass(slots=True)
class _Begun:
    """Since when a price is owed for, and how it stood before. `stands`: what was charged for it stays charged."""

    point: Point
    levels: Levels
    kept: Decimal | None
    stands: bool = False


@dataclass(slots=True)
class _Owed:
    """What is owed for of one item, as one boundary after another is passed.

    `held` is what is agreed on and owed for, `begun` since when, `kept` what has ended and stays owed for to the end of
    the period. `forgets`: something is owed for nothing, since it was not charged before it was known to end.
    """

    part: Part
    held: dict[str, Decimal] = field(default_factory=dict)
    kept: dict[str, Decimal] = field(default_factory=dict)
    begun: dict[str, _Begun] = field(default_factory=dict)
    levels: dict[str, Levels] = field(default_factory=dict)
    forgets: bool = False

    def end(self, point: Point, method: Proration) -> None:
        if method == "none":
            return
        for price_id, quantity in self.held.items():
            if method == "full":
                self.kept[price_id] = self.kept.get(price_id, NONE_OF_IT) + quantity
            else:
                self.levels[price_id].put(point, self.kept.get(price_id))
        self.held.clear()

    def begin(self, price: Price, quantity: Decimal, point: Point, method: Proration) -> None:
        if method == "none":
            return
        levels = self._levels_of(price)
        if price.id not in self.held:
            self.begun[price.id] = _Begun(point, levels.copy(), self.kept.get(price.id))
        before = self.held.get(price.id, NONE_OF_IT)
        added = quantity - before
        kept = self.kept.get(price.id, NONE_OF_IT)
        again = min(max(added, NONE_OF_IT), kept)  # what stays owed for is not owed for twice
        if method == "full":
            if added > again:
                levels.raise_until(point, added - again)
            kept += max(-added, NONE_OF_IT)
        kept -= again
        self.held[price.id] = quantity
        self._keep(price.id, kept or None)
        levels.put(point, quantity + kept)

    def change(self, price: Price, quantity: Decimal, point: Point, method: Proration) -> None:
        """Another quantity at the same price; whatever else was still owed for in its stead is so no longer."""
        if method in ("day", "second"):
            for other in [id for id in self.held if id != price.id]:
                del self.held[other]
                self.levels[other].put(point, self.kept.get(other))
        self.begin(price, quantity, point, method)

    def stand_or_forget(self, price: Price, charged: Levels | None, anyway: Levels | None) -> None:
        """It stays owed for if it was charged where it began, and else is owed for nothing.

        Not for what is owed there `anyway` (in full for something that comes later): else it would stand as soon as that
        is charged, and be owed for beside it.
        """
        begun = self.begun[price.id]
        at, quantity = begun.point.at, self.held[price.id]
        was = None if charged is None else charged.at(at)
        other = None if anyway is None else anyway.at(at)
        if was is not None and (other is None or min(was, quantity) > other):
            begun.stands = True
        if not begun.stands:
            del self.held[price.id]
            self.levels[price.id] = begun.levels
            self._keep(price.id, begun.kept)
            self.forgets = True

    def _keep(self, price_id: str, quantity: Decimal | None) -> None:
        if quantity is None:
            self.kept.pop(price_id, None)
        else:
            self.kept[price_id] = quantity

    def _levels_of(self, price: Price) -> Levels:
        frame = self.part.frame
        return self.levels.setdefault(price.id, Levels.of_nothing(frame.start, frame.end))


def agreed_levels(part: Part, *, charged: Mapping[str, Levels]) -> dict[str, Levels]:
    """What is owed for of an item in a frame, by the id of the price; `charged` is what has been charged so far.

    A price that prorates by `none` is owed for nothing where it is known, before it is charged, to end inside the period;
    what was charged stands.
    """
    least = _passed(part, charged={}, anyway={})
    if not least.forgets:
        return least.levels
    return _passed(part, charged=charged, anyway=least.levels).levels


def _passed(part: Part, *, charged: Mapping[str, Levels], anyway: Mapping[str, Levels]) -> _Owed:
    """All of its segments, one after the other."""
    owed = _Owed(part)
    before: TermSegment | None = None
    for segment in part.segments:
        if before is not None and before.end == segment.start:
            _pass_change(owed, before, segment)
        else:
            if before is not None:
                _pass_end(owed, before, charged, anyway)
            _pass_start(owed, segment)
        before = segment
    if before is not None:
        _pass_end(owed, before, charged, anyway)
    return owed


def _pass_start(owed: _Owed, segment: TermSegment) -> None:
    """A start is a date of its own, and no change from something else."""
    frame = owed.part.frame
    if segment.start_on <= frame.bounds.start_on and segment.start <= frame.bounds.start:
        owed.begin(segment.price, _quantity(segment), frame.start, "day")
        return
    method = segment.start_proration or segment.price.proration
    point = (
        frame.on(segment.start_on, segment.start)
        if method == "day"
        else frame.at(segment.start, segment.start_on)
    )
    owed.begin(segment.price, _quantity(segment), point, method)


def _pass_change(owed: _Owed, before: TermSegment, after: TermSegment) -> None:
    begins = after.start_proration or after.price.proration
    if before.price.id == after.price.id:
        owed.change(after.price, _quantity(after), _change_point(owed, after, begins), begins)
        return
    ends = before.end_proration or before.price.proration
    owed.end(_change_point(owed, after, ends), ends)
    owed.begin(after.price, _quantity(after), _change_point(owed, after, begins), begins)


def _change_point(owed: _Owed, after: TermSegment, method: Proration) -> Point:
    frame = owed.part.frame
    if method != "day":
        return frame.at(after.start, after.start_on)
    takes_day = frame.agreement.proration.change_day == "old"
    return frame.on(after.start_on + DAY if takes_day else after.start_on, after.start)


def _pass_end(
    owed: _Owed, segment: TermSegment, charged: Mapping[str, Levels], anyway: Mapping[str, Levels]
) -> None:
    frame = owed.part.frame
    if segment.end >= frame.bounds.end or segment.end_on >= frame.bounds.end_on:
        return
    options, ends_at = frame.agreement.proration, frame.agreement.ends_at
    is_last = ends_at is not None and segment.end >= ends_at
    method = segment.end_proration or segment.price.proration
    if is_last and segment.end_proration == "none" and segment.price.timing == "arrears":
        # Nothing was charged that could stay charged: it is owed for while it lasted.
        method = segment.price.proration
    if method == "none" and segment.end_proration is None:
        if segment.price.id in owed.held:
            owed.stand_or_forget(segment.price, charged.get(segment.price.id), anyway.get(segment.price.id))
        return
    if method != "day":
        owed.end(frame.at(segment.end, segment.end_on), method)
        return
    takes_day = options.end_day == "used" if is_last else options.change_day == "old"
    owed.end(frame.on(segment.end_on + DAY if takes_day else segment.end_on, segment.end), method)


def _quantity(segment: TermSegment) -> Decimal:
    return ONE if segment.quantity is None else segment.quantity


def limited(
    levels: Levels, frame: Frame, price: Price, *, since: datetime | None, until: datetime | None
) -> Levels:
    """The levels after `since` and before `until` only; by the day, but of a price that is prorated by the second."""
    if since is not None:
        levels.put(frame.start, None, _limit(since, frame.date_of(since), frame, price))
    if until is not None:
        levels.put(_limit(until, local_date(until, frame.zone), frame, price), None)
    return levels


def _limit(at: datetime, on: date, frame: Frame, price: Price) -> Point:
    return frame.at(at, on) if price.proration == "second" else frame.on(on, at)


def hull(part: Part, price_id: str) -> Iterator[TermSegment]:
    """The first and the last segment of a price: between them it is in use."""
    mine: Sequence[TermSegment] = [s for s in part.segments if s.price.id == price_id]
    yield mine[0]
    yield mine[-1]
