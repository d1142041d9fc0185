"""Period cases in the words of the engine: an anchor date, an interval, a zone, and the index of a period."""

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from typing import Any

from libs.common.periods import (
    Interval,
    Period,
    boundary,
    days_in_use,
    index_on,
    load_zone,
    local_date,
    nth_period,
    start_of_day,
)
from tests.cases.case_files import Case

INTERVALS = {
    "day": Interval("day"),
    "week": Interval("week"),
    "month": Interval("month"),
    "quarter": Interval("month", 3),
    "half_year": Interval("month", 6),
    "year": Interval("year"),
    "thirty_days": Interval("day", 30),
}


def interval_of(case: Case) -> Interval:
    interval = INTERVALS[case.given["interval"]]
    return Interval(interval.unit, interval.count * case.given.get("interval_count", 1))


def calendar_anchor(on: date, interval: Interval) -> date:
    """The Monday, or the first of the month, quarter, half-year or year, of which `on` is part."""
    if interval.unit == "day":
        return on
    if interval.unit == "week":
        return on - timedelta(days=on.weekday())
    if interval.unit == "year":
        return on.replace(month=1, day=1)
    whole = interval.count in (3, 6)
    first = (on.month - 1) // interval.count * interval.count + 1 if whole else on.month
    return on.replace(month=first, day=1)


def anchor_of_day(start_on: date, day: int, interval: Interval) -> date:
    """An anchor date with that day of the month, whose periods have a boundary in the month of `start_on`."""
    assert 1 <= day <= 31, "a day of the month"
    if interval.unit in ("day", "week"):
        return start_on
    step = interval.count * (12 if interval.unit == "year" else 1)
    months = start_on.year * 12 + start_on.month - 1
    for earlier in range(months, months - 12 * step, -step):
        if day <= monthrange(earlier // 12, earlier % 12 + 1)[1]:
            return date(earlier // 12, earlier % 12 + 1, day)
    # A month that comes once in so many years may never have the day: its longest February then stands for it.
    return anchor_of_day(start_on, day - 1, interval)


@dataclass(frozen=True, slots=True)
class Timed:
    """Periods that begin at a time of day: the local dates are ours, the time is added to each of them."""

    anchor_on: date
    at: time
    interval: Interval
    zone: str

    def boundary(self, index: int) -> datetime:
        return self.on(boundary(self.anchor_on, self.interval, index))

    def on(self, day: date) -> datetime:
        if self.at == time.min:
            return start_of_day(day, self.zone)
        return datetime.combine(day, self.at, tzinfo=load_zone(self.zone)).astimezone(UTC)

    def index_at(self, instant: datetime) -> int:
        """The period in which an instant lies, by the second."""
        index = index_on(self.anchor_on, self.interval, local_date(instant, self.zone))
        return index if self.boundary(index) <= instant else index - 1


def timed(case: Case, name: str = "anchor") -> Timed:
    """Counted from the local date and the time of day of an instant."""
    on = local_date(case.instant(name), case.zone)
    starts_with_day = start_of_day(on, case.zone) == case.instant(name)
    at = time.min if starts_with_day else case.instant(name).astimezone(load_zone(case.zone)).time()
    return Timed(on, at, interval_of(case), case.zone)


def next_boundary(case: Case) -> Mapping[str, Any]:
    start = case.instant("current_period_start")
    start_on = local_date(start, case.zone)
    if case.given["anchoring"] == "calendar":
        interval = interval_of(case)
        anchor_on = calendar_anchor(start_on, interval)
        end = Timed(anchor_on, time.min, interval, case.zone).boundary(
            1 + index_on(anchor_on, interval, start_on)
        )
    else:
        anchored = timed(case)
        end = anchored.on(_next_date(anchored, start_on, "first_period" in case.convention))
    if "subscription_end" in case.given:
        end = min(end, case.instant("subscription_end"))
    return {"next_period_start": end}


def _next_date(anchored: Timed, start_on: date, cuts_at_day: bool) -> date:
    """The date on which the period that begins on `start_on` ends.

    Where a start before the anchor's day of its month is cut at that day, an anchor that is over gives only its
    day: its weekday in the week of the start, its day in the month of the start. In years it gives its date, and
    it is years that are counted.
    """
    anchor_on, interval = anchored.anchor_on, anchored.interval
    if cuts_at_day and interval.unit == "year" and start_on.month != anchor_on.month:
        return boundary(anchor_on, Interval("year"), start_on.year + interval.count - anchor_on.year)
    if cuts_at_day and anchor_on <= start_on:
        match interval.unit:
            case "day":
                anchor_on = start_on
            case "week":
                anchor_on = start_on + timedelta(days=anchor_on.weekday() - start_on.weekday())
            case "month":
                anchor_on = anchor_of_day(start_on, anchor_on.day, interval)
    return boundary(anchor_on, interval, index_on(anchor_on, interval, start_on) + 1)


def period_sequence(case: Case) -> Mapping[str, Any]:
    counted = timed(case, "start")
    if case.given["anchoring"] == "calendar":
        start_on = counted.anchor_on
        counted = Timed(calendar_anchor(start_on, counted.interval), time.min, counted.interval, case.zone)
    first = counted.index_at(case.instant("start"))
    if case.given.get("until") is not None:
        ends = (counted.boundary(index) for index in range(first + 1, first + 100_000))
        over = list(takewhile(lambda end: end <= case.instant("until"), ends))
        return {"period_ends": over[: len(case.expect.get("period_ends", over))], "count": len(over)}
    count = case.expect.get("count", len(case.expect.get("period_ends", ())))
    return {"period_ends": [counted.boundary(first + 1 + index) for index in range(count)], "count": count}


def boundary_sequence(case: Case) -> Mapping[str, Any]:
    interval, wanted = interval_of(case), len(case.expect["boundaries"])
    return {"boundaries": [boundary(case.on("anchor"), interval, index + 1) for index in range(wanted)]}


def period_containing(case: Case) -> Mapping[str, Any]:
    if "anchor_day" in case.given:
        on = max(case.on("at"), case.on("start"))
        return _local_period(case, index_on(_day_anchor(case), interval_of(case), on))
    counted = timed(case)
    start = case.instant("start") if "start" in case.given else case.instant("anchor")
    index = counted.index_at(max(case.instant("at"), start))
    return {"period_start": max(counted.boundary(index), start), "period_end": counted.boundary(index + 1)}


def period_from(case: Case) -> Mapping[str, Any]:
    anchor_on = anchor_of_day(case.on("period_start"), case.given["anchor_day"], interval_of(case))
    index = index_on(anchor_on, interval_of(case), case.on("period_start"))
    return {
        "period_start": max(case.on("period_start"), boundary(anchor_on, interval_of(case), index)),
        "period_end": boundary(anchor_on, interval_of(case), index + 1),
    }


def period_before(case: Case) -> Mapping[str, Any]:
    return _local_period(case, index_on(_day_anchor(case), interval_of(case), case.on("period_end")) - 1)


def next_reset(case: Case) -> Mapping[str, Any]:
    counted = timed(case)
    return {"next_reset": counted.boundary(counted.index_at(case.instant("at")) + 1)}


def previous_occurrence(case: Case) -> Mapping[str, Any]:
    """The last boundary that has been reached; where that instant is excluded, the last before it."""
    counted = timed(case)
    index = counted.index_at(case.instant("at"))
    is_excluded = case.given["boundary"] == "exclusive" and counted.boundary(index) == case.instant("at")
    return {"occurrence": counted.boundary(index - 1 if is_excluded else index)}


def elapsed_cycles(case: Case) -> Mapping[str, Any]:
    return {"completed_periods": max(0, _index(case, "at") - _index(case, "start"))}


def first_cycle_date(case: Case) -> Mapping[str, Any]:
    """The first boundary that is not before the start."""
    index = _index(case, "start")
    reached = boundary(_day_anchor(case), interval_of(case), index)
    following = boundary(_day_anchor(case), interval_of(case), index + 1)
    return {"first_cycle_date": reached if reached == case.on("start") else following}


def billed_through(case: Case) -> Mapping[str, Any]:
    """In advance the period that the run lies in is billed; in arrears the one before it.

    An end is a boundary too, at which the last part is billed; the next run is where the full period ends.
    """
    run_on, start_on = case.on("run_at"), case.on("start")
    end_on = case.on("end") if "end" in case.given else None
    match case.given["mode"]:
        case "in_advance":
            billed_on = _boundary_after(case, run_on)
        case "in_arrears_greedy":  # a period is billed as soon as it is under way
            billed_on = _boundary_after(case, run_on - timedelta(days=1))
        case "in_arrears":
            billed_on = boundary(_day_anchor(case), interval_of(case), _index(case, "run_at"))
            if end_on is not None and end_on <= run_on:
                billed_on = end_on
        case mode:
            raise AssertionError(f"bills neither in advance nor in arrears: {mode}")
    if end_on is not None:
        billed_on = min(billed_on, end_on)
    return {
        **first_cycle_date(case),
        "billed_through": billed_on if billed_on >= start_on else None,
        "next_run": _boundary_after(case, max(billed_on, start_on)),
        "whole_periods_billed": index_on(_day_anchor(case), interval_of(case), billed_on)
        - _index(case, "start"),
    }


def whole_periods_between(case: Case) -> Mapping[str, Any]:
    return {"count": index_on(case.on("from"), interval_of(case), case.on("to"))}


def add_periods(case: Case) -> Mapping[str, Any]:
    steps = case.given["steps"]
    indexes = range(steps + 1) if steps > 0 else range(0, steps - 1, -1)
    return {"dates": [boundary(case.on("from"), interval_of(case), index) for index in indexes]}


def billing_run_period(case: Case) -> Mapping[str, Any]:
    """Which periods a run at an instant bills: in arrears those before it, in advance and at an end its own.

    Usage and fixed charges may be billed more often than the fee. A period is not before the start; the first of
    usage begins at its very instant, the others with its day.
    """
    started_at = case.instant("started_at")
    started_on = start_of_day(local_date(started_at, case.zone), case.zone)
    ended_at = case.instant("terminated_at") if "terminated_at" in case.given else None
    is_own = ended_at is not None or bool(case.given["billed_in_advance"])
    current, previous = _around_run(case, case.given["interval"])
    fee = current if is_own else previous
    if ended_at == current.start and not case.given["billed_in_advance"]:
        fee = _closed_by_end(case, current, previous)
    usage = _arrears(case, "usage_interval", ended_at)
    fixed = _arrears(case, "fixed_charge_interval", ended_at)
    return {
        "fee_period_start": max(fee.start, started_on),
        "fee_period_end": fee.end if ended_at is None else min(fee.end, ended_at),
        "usage_period_start": max(usage.start, started_at),
        "usage_period_end": usage.end if ended_at is None else min(usage.end, ended_at),
        "fixed_charge_period_start": max(fixed.start, started_on),
        "fixed_charge_period_end": fixed.end if ended_at is None else min(fixed.end, ended_at),
        "current_period_start": current.start,
        "current_period_end": current.end,
        "previous_period_start": previous.start,
        "previous_period_end": previous.end,
        "fee_period_days": days_in_use(fee),  # of the whole period, also where less of it is in use
        "usage_period_days": days_in_use(usage),
        "fixed_charge_period_days": days_in_use(fixed),
    }


def _around_run(case: Case, interval_name: str) -> tuple[Period, Period]:
    """The period in which the run lies, and the one before it."""
    interval = INTERVALS[interval_name]
    anchored_on = local_date(case.instant("anchor"), case.zone)
    is_calendar = case.given["anchoring"] == "calendar"
    anchor_on = calendar_anchor(anchored_on, interval) if is_calendar else anchored_on
    index = index_on(anchor_on, interval, local_date(case.instant("run_at"), case.zone))
    current, previous = (nth_period(anchor_on, interval, case.zone, each) for each in (index, index - 1))
    return current, previous


def _arrears(case: Case, interval_name: str, ended_at: datetime | None) -> Period:
    current, previous = _around_run(case, case.given.get(interval_name, case.given["interval"]))
    return previous if ended_at is None else current


def _closed_by_end(case: Case, current: Period, previous: Period) -> Period:
    """An end where a period begins closes the one before; in weeks the source counts its day as a day in use."""
    return current if case.given["interval"] == "week" else previous


def billing_day(case: Case) -> Mapping[str, Any]:
    """A run bills on the local dates that are boundaries."""
    interval = interval_of(case)
    is_anniversary = case.given["anchoring"] == "anniversary"
    start_on = local_date(case.instant("start"), case.zone) if is_anniversary else None
    found: dict[str, list[str]] = {"bills_at": [], "does_not_bill_at": []}
    for text in case.given["run_instants"]:
        on = local_date(datetime.fromisoformat(text), case.zone)
        anchor_on = calendar_anchor(on, interval) if start_on is None else start_on
        bills = boundary(anchor_on, interval, index_on(anchor_on, interval, on)) == on
        found["bills_at" if bills else "does_not_bill_at"].append(text)
    return found


def _boundary_after(case: Case, on: date) -> date:
    anchor_on, interval = _day_anchor(case), interval_of(case)
    return boundary(anchor_on, interval, index_on(anchor_on, interval, on) + 1)


def _day_anchor(case: Case) -> date:
    return anchor_of_day(case.on("start"), case.given["anchor_day"], interval_of(case))


def _index(case: Case, name: str) -> int:
    return index_on(_day_anchor(case), interval_of(case), case.on(name))


def _local_period(case: Case, index: int) -> Mapping[str, date]:
    """Period `index`, not before the start."""
    start_on = boundary(_day_anchor(case), interval_of(case), index)
    end_on = boundary(_day_anchor(case), interval_of(case), index + 1)
    return {"period_start": max(start_on, case.on("start")), "period_end": end_on}


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "next_boundary": next_boundary,
    "period_sequence": period_sequence,
    "boundary_sequence": boundary_sequence,
    "period_containing": period_containing,
    "period_from": period_from,
    "period_before": period_before,
    "next_reset": next_reset,
    "previous_occurrence": previous_occurrence,
    "elapsed_cycles": elapsed_cycles,
    "first_cycle_date": first_cycle_date,
    "billed_through": billed_through,
    "whole_periods_between": whole_periods_between,
    "add_periods": add_periods,
    "billing_run_period": billing_run_period,
    "billing_day": billing_day,
}
