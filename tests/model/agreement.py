"""What a subscription is, told a second time: one list of facts, read slowly. Shares no code with the product.

All instants are UTC. A history is a list of steps: from `at` on an item is at this level, until the next step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from tests.model.calendar import DAY, day_begins, day_of, nth_day, whole_around

Kind = Literal["recurring", "usage", "one_time"]
Method = Literal["none", "day", "second", "full"]


class Refused(Exception):
    """The model would not do it either."""


@dataclass(frozen=True)
class Price:
    id: str
    kind: Kind


@dataclass(frozen=True)
class Plan:
    code: str
    unit: str
    count: int
    prices: Mapping[str, Price]


@dataclass(frozen=True)
class Level:
    price: Price
    quantity: Decimal | None


@dataclass(frozen=True)
class Step:
    """`on` is the local date, as it was then."""

    at: datetime
    on: date
    level: Level | None
    method: Method | None = None
    ending: Method | None = None  # of what ends then


@dataclass(frozen=True)
class Wish:
    """A change as it was asked for."""

    plan: Plan | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    add_ons: tuple[tuple[Plan, Mapping[str, Decimal]], ...] = ()
    removes: tuple[str, ...] = ()
    anchor_on: date | None = None
    anchoring: Literal["keep", "restart"] | None = None
    zone: str | None = None
    method: Method | None = None

    @property
    def moves_calendar(self) -> bool:
        return self.plan is not None or self.anchor_on is not None or self.anchoring is not None


@dataclass(frozen=True)
class Planned:
    """`at` is None for a wish that waits for the end of the period."""

    id: str
    at: datetime | None
    wish: Wish


@dataclass(frozen=True)
class Period:
    index: int
    start_on: date
    end_on: date
    start: datetime
    end: datetime
    kind: Literal["regular", "trial"] = "regular"
    whole_on: tuple[date, date] | None = None
    stub_end_on: date | None = None
    stub_start_on: date | None = None
    uncut_end: datetime | None = None


@dataclass(frozen=True)
class Rest:
    """A pause; `begun` when it is under way or over."""

    start: datetime
    start_on: date
    end: datetime | None
    end_on: date | None
    method: Method | None
    begun: bool = False
    over: bool = False


@dataclass(frozen=True)
class Stretch:
    """An item at one level, inside one period."""

    start: datetime
    start_on: date
    end: datetime
    end_on: date
    price: str
    quantity: Decimal | None
    start_method: Method | None = None
    end_method: Method | None = None


@dataclass
class Agreement:
    plan: Plan
    zone: str
    anchor: date
    start: datetime
    trial_end: datetime | None = None
    trial_without_payment: Literal["continue", "cancel", "pause"] = "continue"
    merges: bool = False
    term_end: datetime | None = None
    awaits_activation: bool = False
    unit: str = ""
    count: int = 1
    items: dict[str, list[Step]] = field(default_factory=dict)
    once: list[tuple[str, datetime, Level]] = field(default_factory=list)
    once_on: dict[str, date] = field(default_factory=dict)
    periods: list[Period] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    reminders: list[tuple[datetime, int]] = field(default_factory=list)
    canceled: datetime | None = None
    credit: Literal["none", "prorated", "full"] = "none"
    kept_index: int | None = None
    invoices: dict[str, str] = field(default_factory=dict)
    has_payment_method: bool = True
    left: set[str] = field(default_factory=set)  # zones that it was in before
    over: Literal["ended", "canceled"] | None = None
    end: datetime | None = None
    reason: str | None = None
    log: list[tuple[str, datetime]] = field(default_factory=list)

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def period(self) -> Period:
        return self.periods[-1]

    @property
    def ends_at(self) -> datetime | None:
        return min((at for at in (self.term_end, self.canceled) if at is not None), default=None)

    @property
    def rest(self) -> Rest | None:
        return self.rests[-1] if self.rests and not self.rests[-1].over else None

    @property
    def state(self) -> str:
        if self.over:
            return self.over
        if not self.periods:
            return "awaiting_activation" if self.awaits_activation else "scheduled"
        if self.rest is not None and self.rest.begun:
            return "paused"
        standings = set(self.invoices.values())
        if "given_up" in standings:
            return "suspended"
        if "overdue" in standings:
            return "past_due"
        if self.period.kind == "trial":
            return "trialing"
        return "ending" if self.canceled is not None else "active"

    @property
    def is_running(self) -> bool:
        return bool(self.periods) and self.over is None

    def open_level(self, code: str) -> Level | None:
        return self.items[code][-1].level if code in self.items else None

    def open_codes(self) -> list[str]:
        return [code for code in self.items if self.open_level(code) is not None]

    def index_at(self, at: datetime) -> int:
        """The number of the period in which an instant lies."""
        return max(period.index for period in self.periods if period.start <= at)

    def terms(self, period: Period) -> dict[str, list[Stretch]]:
        """What is agreed on in it, item by item, as it is known now."""
        found: dict[str, list[Stretch]] = {}
        for code, steps in self.items.items():
            stretches = list(self._paused(self._inside(steps, period)))
            if self._is_given_back(period) and stretches:
                stretches = [one for one in stretches if self._kind(steps) != "recurring"]
            if stretches:
                found[code] = merged(stretches)
        for code, at, level in self.once:
            empty = period.start == period.end == at
            if period.start <= at < period.end or empty:
                on = self.once_on[code]
                once = Stretch(at, on, period.end, period.end_on, level.price.id, level.quantity)
                found[f"{code}#"] = [once]
        return found

    @staticmethod
    def _kind(steps: list[Step]) -> Kind:
        return next(step.level.price.kind for step in steps if step.level is not None)

    def _is_given_back(self, period: Period) -> bool:
        ends = self.ends_at
        if self.credit != "full" or ends is None or period != self.periods[-1]:
            return False
        return period.start <= ends and (
            ends < period.end or (self.over is not None and self._is_cut(period))
        )

    def _is_cut(self, period: Period) -> bool:
        return period.uncut_end is not None and period.end < period.uncut_end

    def _inside(self, steps: list[Step], period: Period) -> Iterator[Stretch]:
        ends = self.ends_at
        last = period.end if ends is None else min(period.end, ends)
        cut = self._is_cut(period)
        end_method: Method | None = None
        if self.canceled is not None and self.canceled == ends and self.kept_index == period.index:
            end_method = "none"
        for number, step in enumerate(steps):
            if step.level is None:
                continue
            following = steps[number + 1] if number + 1 < len(steps) else None
            start = max(step.at, period.start)
            end = last if following is None else min(last, following.at)
            if start >= end:
                continue
            after: Method | None = None
            is_last = period.index == self.periods[-1].index
            if ends is not None and end == ends and (end < period.end or (cut and is_last)):
                after = end_method
            elif following is not None and end == following.at and (end < period.end or cut):
                after = following.ending
            start_on, before = period.start_on, None
            if step.at > period.start:
                start_on, before = step.on, step.method
            if end == period.end:
                end_on = period.end_on
            elif end == ends:
                end_on = day_of(end, self.zone)
            else:
                assert following is not None, "it ends because something follows"
                end_on = following.on
            end_on = max(start_on, end_on)
            price, quantity = step.level.price.id, step.level.quantity
            yield Stretch(start, start_on, end, end_on, price, quantity, before, after)

    def _paused(self, stretches: Iterator[Stretch]) -> Iterator[Stretch]:
        for stretch in stretches:
            pieces = [stretch]
            for rest in self.rests:
                if rest.begun:
                    pieces = [part for piece in pieces for part in _without(piece, rest)]
            yield from pieces

    # --- what happens by itself ---------------------------------------------------------------------------------

    def next_due(self) -> datetime | None:
        dated = [one.at for one in self.planned if one.at is not None]
        if self.over or self.awaits_activation:
            return None
        if not self.periods:
            return min([self.start, *dated])
        known = [self.period.end, *dated, *(at for at, _ in self.reminders)]
        if self.ends_at is not None:
            known.append(self.ends_at)
        if self.rest is not None and not self.rest.begun:
            known.append(self.rest.start)
        elif self.rest is not None and self.rest.end is not None:
            known.append(self.rest.end)
        return min(known)

    def run_to(self, now: datetime) -> None:
        while (at := self.next_due()) is not None and at <= now:
            self._happen(at)

    def _happen(self, at: datetime) -> None:
        if not self.periods:
            due = [one for one in self.planned if one.at is not None and one.at <= at < self.start]
            if due:
                self._carry_out(due[0], at)
            else:
                self.periods.append(self._first())
                self._say("started", at)
            return
        for reminder in sorted(self.reminders):
            if reminder[0] <= at:
                self.reminders.remove(reminder)
                self._say("reminded", reminder[0])
                return
        ends = self.ends_at
        if ends is not None and ends <= at:
            self._end(ends, "canceled" if self.canceled == ends else "term_end")
            return
        rest = self.rest
        if rest is not None and not rest.begun and rest.start <= at:
            self.rests[-1] = replace(rest, begun=True)
            self._say("paused", at)
            return
        if rest is not None and rest.begun and rest.end is not None and rest.end <= at:
            end_on = max(day_of(rest.end, self.zone), rest.start_on)
            self.rests[-1] = replace(rest, over=True, end_on=end_on)
            self._say("resumed", at)
            return
        dated = [one for one in self.planned if one.at is not None and one.at <= at < self.period.end]
        if dated:
            self._carry_out(min(dated, key=lambda one: (one.at, self.planned.index(one))), at)
            return
        self._renew(at)

    def _renew(self, at: datetime) -> None:
        ended = self.period
        paused = self.rest is not None and self.rest.begun
        if ended.kind == "trial" and not self.has_payment_method and not paused:
            if self.trial_without_payment == "cancel":
                self._end(ended.end, "trial_without_payment_method")
                return
            if self.trial_without_payment == "pause":
                self.rests = [rest for rest in self.rests if rest.begun]
                self.rests.append(Rest(ended.end, ended.end_on, None, None, None, begun=True))
                self._say("paused", at)
                return
        for one in [one for one in self.planned if one.at is None or one.at <= at]:
            self.planned.remove(one)
            try:
                self.apply(one.wish, ended.end, now=ended.end, at_boundary=True)
            except Refused:
                continue
        self.periods.append(self._following(ended))
        self._say("renewed", at)

    def _carry_out(self, one: Planned, at: datetime) -> None:
        assert one.at is not None
        self.planned.remove(one)
        try:
            cut = self.apply(one.wish, one.at, now=one.at)
        except Refused:
            return
        self._say("renewed" if cut else "changed", at)

    def _first(self) -> Period:
        on = day_of(self.start, self.zone)
        if self.trial_end is not None:
            return Period(0, on, day_of(self.trial_end, self.zone), self.start, self.trial_end, "trial")
        return self._period_from(on, self.start, 0, merges=self.merges)

    def _following(self, period: Period) -> Period:
        merges = self.merges and period.kind == "trial"
        return self._period_from(period.end_on, period.end, period.index + 1, merges=merges)

    def _period_from(self, on: date, start: datetime, index: int, *, merges: bool = False) -> Period:
        before, after = whole_around(self.anchor, self.unit, self.count, on)
        whole = None if before == on else (before, after)
        stub_end_on = stub_start_on = None
        if merges and whole is not None:
            whole, stub_end_on, stub_start_on = None, after, before
            after = whole_around(self.anchor, self.unit, self.count, after)[1]
        return Period(
            index,
            on,
            after,
            start,
            max(day_begins(after, self.zone), start),  # the zone may be new, and that day over in it
            "regular",
            whole,
            stub_end_on,
            stub_start_on,
        )

    def _end(self, at: datetime, reason: str) -> None:
        period = self.period
        self.periods[-1] = self._cut(period, at, day_of(at, self.zone))
        self.over, self.end, self.reason = "ended", at, reason
        self.rests = [
            replace(rest, over=True, end=rest.end if rest.over else None) for rest in self.rests if rest.begun
        ]
        self.planned.clear()
        self.reminders.clear()
        self._say("ended", at)

    def _cut(self, period: Period, at: datetime, on: date) -> Period:
        """The part before `at`; where the period ends then, all of it."""
        if at == period.end:
            return period
        whole = period.whole_on or (period.start_on, period.end_on)
        uncut_end = period.uncut_end or period.end
        return replace(period, end=at, end_on=max(period.start_on, on), whole_on=whole, uncut_end=uncut_end)

    def _say(self, what: str, at: datetime) -> None:
        self.log.append((what, at))

    # --- what somebody asks for -----------------------------------------------------------------------------------

    def apply(self, wish: Wish, at: datetime, *, now: datetime, at_boundary: bool = False) -> bool:
        """The wish holds from `at` on. True where it cuts the current period.

        Raises: Refused.
        """
        wanted = self._wanted(wish)
        kinds: tuple[Kind, ...] = ("recurring", "usage")
        begins = {kind: self._begins(kind, at, now) for kind in kinds}
        asked = (at, self.period.end_on if at_boundary else day_of(at, self.zone))
        for code, level in wanted.items():
            self._set(code, level, asked, asked if level is None else begins[level.price.kind], wish.method)
        if wish.plan is not None:
            self._charge_once(wish.plan, wish.quantities, at)
        for add_on, _ in wish.add_ons:
            assert all(price.kind != "one_time" for price in add_on.prices.values())
        if wish.plan is not None:
            self.plan = wish.plan
        return self._count_anew(wish, at, at_boundary=at_boundary)

    def _wanted(self, wish: Wish) -> dict[str, Level | None]:
        """What becomes of each item that the wish is about."""
        wanted: dict[str, Level | None] = {}
        quantities = dict(wish.quantities)
        if wish.plan is not None:
            wanted |= {code: None for code in self.items if "/" not in code}
            own = {code: quantities.pop(code) for code in list(quantities) if "/" not in code}
            wanted |= self._levels(wish.plan, own, "")
        for add_on, given in wish.add_ons:
            wanted |= self._levels(add_on, given, f"{add_on.code}/")
        for code in wish.removes:
            of_it = [
                known
                for known in {*self.open_codes(), *wanted}
                if "/" in known
                and code in (known, known.split("/")[0])
                and self._after(wanted, known) is not None
            ]
            if not of_it:
                raise Refused(code)
            wanted |= dict.fromkeys(of_it)
        for code, quantity in quantities.items():
            level = self._after(wanted, code)
            if level is None or level.price.kind != "recurring" or quantity < 0:
                raise Refused(code)
            wanted[code] = Level(level.price, quantity)
        return wanted

    def _after(self, wanted: Mapping[str, Level | None], code: str) -> Level | None:
        return wanted[code] if code in wanted else self.open_level(code)

    def _levels(self, plan: Plan, quantities: Mapping[str, Decimal], prefix: str) -> dict[str, Level | None]:
        for code, quantity in quantities.items():
            if code not in plan.prices or plan.prices[code].kind == "usage" or quantity < 0:
                raise Refused(code)
        levels: dict[str, Level | None] = {}
        for code, price in plan.prices.items():
            if price.kind == "one_time":
                continue
            before = self.open_level(prefix + code)
            wanted: Decimal | None = None
            if price.kind == "recurring":
                had = before.quantity if before is not None else None
                wanted = quantities.get(code, Decimal(1) if had is None else had)
            levels[prefix + code] = Level(price, wanted)
        return levels

    def _charge_once(self, plan: Plan, quantities: Mapping[str, Decimal], at: datetime) -> None:
        for code, price in plan.prices.items():
            if price.kind == "one_time" and code not in {known for known, _, _ in self.once}:
                quantity = quantities.get(code, Decimal(1))
                self.once.append((code, max(at, self.start), Level(price, quantity)))
                self.once_on[code] = day_of(max(at, self.start), self.zone)

    def _begins(self, kind: Kind, at: datetime, now: datetime) -> tuple[datetime, date]:
        """From when something of this kind is agreed on that is asked for at `at`.

        Nothing begins before the agreement does, in a trial what is not charged in it, or before the rest of its kind
        where all of that has yet to begin.
        """
        begins = max(at, self.start)
        of_kind = [
            step.at
            for steps in self.items.values()
            for step in steps
            if step.level is not None and step.level.price.kind == kind
        ]
        if self.trial_end is not None and at < self.trial_end:
            if kind == "usage" and any(then < self.trial_end for then in of_kind):
                return begins, day_of(begins, self.zone)  # it is charged in this trial
            begins = max(begins, self.trial_end)
        opens = [steps[-1] for steps in self.items.values() if steps[-1].level is not None]
        known = [step.at for step in opens if step.level is not None and step.level.price.kind == kind]
        known = known or [step.at for step in opens]
        if known and min(known) > max(at, now, begins):
            return min((step.at, step.on) for step in opens if step.at == min(known))
        return begins, day_of(begins, self.zone)

    def _set(
        self,
        code: str,
        level: Level | None,
        asked: tuple[datetime, date],
        begins: tuple[datetime, date],
        method: Method | None,
    ) -> None:
        """From then on the item is at this level; what was agreed on for later gives way."""
        steps, at = self.items.get(code, []), asked[0]
        if steps and steps[-1].level == level and steps[-1].at <= begins[0]:
            return
        kept = [step for step in steps if step.at < at]
        ending = method
        if not self.periods or at <= self.period.start:  # what it means for a period that ended then was told
            before = None if self.periods and at == self.period.start else method
            ending = next((step.ending for step in steps if step.at == at), before)
        if level is None:
            kept = [*kept, Step(*asked, None, method, ending)] if kept else []
        else:
            if begins[0] > at and kept and kept[-1].level is not None:
                kept.append(Step(*asked, None, method, ending))
            kept.append(Step(*begins, level, method if begins[0] == at else None, ending))
        if kept:
            self.items[code] = kept
        else:
            self.items.pop(code, None)

    def _count_anew(self, wish: Wish, at: datetime, *, at_boundary: bool) -> bool:
        unit, count, anchor = self.unit, self.count, self.anchor
        if wish.plan is not None:
            unit, count = wish.plan.unit, wish.plan.count
        zone, on = wish.zone or self.zone, day_of(at, self.zone)
        moved = zone != self.zone
        if moved:
            self._into_zone(zone, at, at_boundary=at_boundary)
        if wish.anchor_on is not None:
            anchor = wish.anchor_on
        elif self.periods and (
            wish.anchoring == "restart"
            or (wish.anchoring is None and (unit, count) != (self.unit, self.count))
        ):
            trial = self.period.kind == "trial"
            anchor = self.period.end_on if at_boundary or trial else on
        anew = (unit, count, anchor) != (self.unit, self.count, self.anchor)
        self.unit, self.count, self.anchor = unit, count, anchor
        if not self.periods or at_boundary or not anew or self.period.kind == "trial":
            return False
        period = self.period
        self.periods[-1] = self._cut(period, at, on)
        self.periods.append(self._period_from(self.period.end_on, at, period.index + 1))
        return True

    def _into_zone(self, zone: str, at: datetime, *, at_boundary: bool) -> None:
        """Dates stay: what is to happen as a day begins happens as it begins in the new zone, and not before now."""
        before, self.zone = self.zone, zone
        self.left.add(before)

        def moved(then: datetime) -> datetime:
            on = day_of(then, before)
            if then <= at or then != day_begins(on, before):
                return then
            return max(day_begins(on, zone), at)

        def moved_or_none(then: datetime | None) -> datetime | None:
            return None if then is None else moved(then)

        if not self.periods:
            self.start = moved(self.start)
        elif not at_boundary:
            period = self.period
            self.periods[-1] = replace(period, end=max(day_begins(period.end_on, zone), at))
        self.trial_end, self.term_end = moved_or_none(self.trial_end), moved_or_none(self.term_end)
        self.canceled = moved_or_none(self.canceled)
        self.items = {
            code: [replace(step, at=moved(step.at)) for step in steps] for code, steps in self.items.items()
        }
        self.once = [(code, moved(then), level) for code, then, level in self.once]
        self.rests = [
            rest if rest.over else replace(rest, start=moved(rest.start), end=moved_or_none(rest.end))
            for rest in self.rests
        ]
        self.reminders = [(moved(then), days) for then, days in self.reminders]

    def change_now(self, wish: Wish, at: datetime, now: datetime) -> None:
        if self.over:
            raise Refused("over")
        cut = self.apply(wish, at, now=now)
        if self.periods:
            self._say("renewed" if cut else "changed", at)
        self.run_to(now)

    def pause(self, start: datetime, end: datetime | None, method: Method | None, now: datetime) -> None:
        if not self.is_running or self.rest is not None:
            raise Refused("pause")
        if end is not None and end <= max(start, now):
            raise Refused("pause that ends before it begins")
        if start < self.start or any(rest.end is not None and rest.end > start for rest in self.rests):
            raise Refused("pause before")
        begun = start <= now
        end_on = day_of(end, self.zone) if end is not None else None
        self.rests.append(Rest(start, day_of(start, self.zone), end, end_on, method, begun=begun))
        if begun:
            self._say("paused", start)

    def withdraw_pause(self) -> None:
        if not self.is_running or self.rest is None or self.rest.begun:
            raise Refused("withdraw pause")
        self.rests.pop()

    def resume(self, at: datetime) -> None:
        rest = self.rest
        if not self.is_running or rest is None or not rest.begun or at < rest.start:
            raise Refused("resume")
        end_on = max(day_of(at, self.zone), rest.start_on)
        self.rests[-1] = replace(rest, end=at, end_on=end_on, over=True)
        self._say("resumed", at)

    def resume_on(self, end: datetime | None) -> None:
        rest = self.rest
        if not self.is_running or rest is None or (end is not None and end <= rest.start):
            raise Refused("resume on")
        self.rests[-1] = replace(rest, end=end, end_on=day_of(end, self.zone) if end is not None else None)

    def cancel(self, at: datetime, credit: Literal["none", "prorated", "full"], now: datetime) -> None:
        if self.over or (self.term_end is not None and at > self.term_end) or at < now:
            raise Refused("cancel")
        if not self.periods and (self.awaits_activation or at <= self.start):
            self.over, self.canceled, self.end, self.reason = "canceled", at, now, "canceled"
            self.planned.clear()
            self._say("ended", now)
            return
        self.canceled, self.credit = at, credit
        inside = bool(self.periods) and at < self.period.end
        self.kept_index = self.period.index if credit == "none" and inside else None
        self.run_to(now)

    def withdraw(self, now: datetime) -> None:
        if self.over or self.canceled is None:
            raise Refused("withdraw")
        self.canceled, self.credit, self.kept_index = None, "none", None

    def activate(self, on: date, options: Mapping[str, Any], now: datetime) -> None:
        """It begins on that day as it was agreed on, with what is agreed on by now."""
        if not self.awaits_activation or self.over:
            raise Refused("activate")
        levels = {code: level for code in self.items if (level := self.open_level(code)) is not None}
        once = [(code, level) for code, _, level in self.once]
        options = {**options, "zone": self.zone, "starts_on": on, "awaits_activation": False}
        begun = agreed(self.plan, {}, **options)
        self.zone, self.anchor, self.start = begun.zone, begun.anchor, begun.start
        self.trial_end, self.reminders, self.awaits_activation = begun.trial_end, begun.reminders, False
        starts = begun_by_kind(self.plan.unit, self.plan.count, begun.anchor, options)
        self.unit, self.count = self.plan.unit, self.plan.count
        self.items = {code: [Step(*starts[level.price.kind], level)] for code, level in levels.items()}
        self.once_on = {code: day_of(self.start, self.zone) for code, _ in once}
        self.once = [(code, self.start, level) for code, level in once]
        self.run_to(now)

    def hear(self, invoice: str, standing: str) -> None:
        before = self.invoices.get(invoice)
        if before == "paid" or (before == "given_up" and standing == "overdue"):
            return
        self.invoices[invoice] = standing


def _without(piece: Stretch, rest: Rest) -> Iterator[Stretch]:
    end = rest.end
    if rest.start >= piece.end or (end is not None and end <= piece.start):
        yield piece
        return
    if piece.start < rest.start:
        yield replace(piece, end=rest.start, end_on=rest.start_on, end_method=rest.method)
    if end is not None and end < piece.end:
        assert rest.end_on is not None, "it has both or none"
        yield replace(piece, start=end, start_on=rest.end_on, start_method=rest.method)


def merged(stretches: list[Stretch]) -> list[Stretch]:
    """Neighbours at one level are one stretch: nothing changed between them."""
    found: list[Stretch] = []
    for one in sorted(stretches, key=lambda stretch: stretch.start):
        last = found[-1] if found else None
        if last and last.end == one.start and (last.price, last.quantity) == (one.price, one.quantity):
            found[-1] = replace(last, end=one.end, end_on=one.end_on, end_method=one.end_method)
        else:
            found.append(one)
    return found


def begun_by_kind(
    unit: str, count: int, anchor: date, options: Mapping[str, Any]
) -> dict[Kind, tuple[datetime, date]]:
    """From when what recurs and what is used is agreed on: after the trial, and after a free first part."""
    starts_on, trial = options["starts_on"], options["trial"]
    billed_from = nth_day(starts_on, trial[0], trial[1], 1) if trial else starts_on
    recurring_on = billed_from
    if options["first_part"] == "free":
        before, after = whole_around(anchor, unit, count, billed_from)
        recurring_on = billed_from if before == billed_from else after
    usage_on = starts_on if options["trial_bills_usage"] else billed_from
    return {
        "recurring": (day_begins(recurring_on, options["zone"]), recurring_on),
        "usage": (day_begins(usage_on, options["zone"]), usage_on),
    }


def agreed(
    plan: Plan,
    quantities: Mapping[str, Decimal],
    *,
    zone: str,
    starts_on: date,
    ends_on: date | None = None,
    anchor_on: date | None = None,
    first_part: Literal["prorated", "free", "merged"] = "prorated",
    trial: tuple[str, int] | None = None,
    trial_bills_usage: bool = False,
    trial_reminder_days: tuple[int, ...] = (),
    trial_without_payment: Literal["continue", "cancel", "pause"] = "continue",
    awaits_activation: bool = False,
) -> Agreement:
    billed_from = nth_day(starts_on, trial[0], trial[1], 1) if trial else starts_on
    anchor = anchor_on or billed_from
    starts = begun_by_kind(
        plan.unit,
        plan.count,
        anchor,
        {
            "zone": zone,
            "starts_on": starts_on,
            "trial": trial,
            "first_part": first_part,
            "trial_bills_usage": trial_bills_usage,
        },
    )
    made = Agreement(
        plan,
        zone,
        anchor,
        day_begins(starts_on, zone),
        trial_end=day_begins(billed_from, zone) if trial else None,
        trial_without_payment=trial_without_payment,
        merges=first_part == "merged",
        term_end=day_begins(ends_on, zone) if ends_on else None,
        awaits_activation=awaits_activation,
        unit=plan.unit,
        count=plan.count,
    )
    for code, price in plan.prices.items():
        level = Level(price, None if price.kind == "usage" else quantities.get(code, Decimal(1)))
        if price.kind == "one_time":
            made.once.append((code, made.start, level))
            made.once_on[code] = starts_on
        else:
            made.items[code] = [Step(*starts[price.kind], level)]
    if trial:
        made.reminders = [
            (day_begins(billed_from - days * DAY, zone), days)
            for days in trial_reminder_days
            if billed_from - days * DAY > starts_on
        ]
    return made
