"""Period cases in the words of the engine: an anchor date, an interval, a zone, and the index of a period."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from libs.common.periods import (
    Interval,
    Period,
    boundary,
    days_in_use,
    index_on,
    local_date,
    nth_period,
    period_at,
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
FOR_EVER = datetime(2200, 1, 1, tzinfo=UTC)


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
    if interval.unit == "day":
        return start_on
    step = interval.count * (12 if interval.unit == "year" else 1)
    months = start_on.year * 12 + start_on.month - 1
    while True:
        try:
            return date(months // 12, months % 12 + 1, day)
        except ValueError:
            months -= step


def midnight(case: Case, name: str) -> date:
    """The local date of an instant that is the start of that date: periods begin with days."""
    on = local_date(case.instant(name), case.zone)
    assert start_of_day(on, case.zone) == case.instant(name), "not the start of a local day"
    return on


def next_boundary(case: Case) -> Mapping[str, Any]:
    interval = interval_of(case)
    start = case.instant("current_period_start")
    if case.given["anchoring"] == "calendar":
        anchor_on = calendar_anchor(local_date(start, case.zone), interval)
    else:
        anchor_on = midnight(case, "anchor")
    end = case.instant("subscription_end") if "subscription_end" in case.given else FOR_EVER
    life = Period(start, end, case.zone)
    part = period_at(anchor_on, interval, case.zone, start).overlap(life)
    assert part is not None
    return {"next_period_start": part.end}


def period_sequence(case: Case) -> Mapping[str, Any]:
    interval = interval_of(case)
    start_on = midnight(case, "start")
    anchor_on = calendar_anchor(start_on, interval) if case.given["anchoring"] == "calendar" else start_on
    first = index_on(anchor_on, interval, start_on)
    ends = [nth_period(anchor_on, interval, case.zone, first + n).end for n in range(case.expect["count"])]
    if case.given["until"] is not None:
        until = case.instant("until")
        last = index_on(anchor_on, interval, local_date(until, case.zone)) - 1
        return {"period_ends": ends, "count": last - first + 1}
    return {"period_ends": ends, "count": len(ends)}


def boundary_sequence(case: Case) -> Mapping[str, Any]:
    interval, wanted = interval_of(case), len(case.expect["boundaries"])
    return {"boundaries": [boundary(case.on("anchor"), interval, index + 1) for index in range(wanted)]}


def period_containing(case: Case) -> Mapping[str, Any]:
    if "anchor_day" in case.given:
        return _local_period(case, index_on(_day_anchor(case), interval_of(case), case.on("at")))
    period = period_at(midnight(case, "anchor"), interval_of(case), case.zone, case.instant("at"))
    part = period.overlap(Period(case.instant("start"), FOR_EVER, case.zone))
    assert part is not None
    return {"period_start": part.start, "period_end": part.end}


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
    period = period_at(midnight(case, "anchor"), interval_of(case), case.zone, case.instant("at"))
    return {"next_reset": period.end}


def previous_occurrence(case: Case) -> Mapping[str, Any]:
    period = period_at(midnight(case, "anchor"), interval_of(case), case.zone, case.instant("at"))
    assert case.given["boundary"] == "inclusive" or period.start != case.instant("at")
    return {"occurrence": period.start}


def elapsed_cycles(case: Case) -> Mapping[str, Any]:
    return {"completed_periods": max(0, _index(case, "at") - _index(case, "start"))}


def first_cycle_date(case: Case) -> Mapping[str, Any]:
    """The first boundary that is not before the start."""
    index = _index(case, "start")
    reached = boundary(_day_anchor(case), interval_of(case), index)
    following = boundary(_day_anchor(case), interval_of(case), index + 1)
    return {"first_cycle_date": reached if reached == case.on("start") else following}


def billed_through(case: Case) -> Mapping[str, Any]:
    """In advance the period that the run lies in is billed; in arrears the one before it."""
    assert "end" not in case.given
    now = _local_period(case, _index(case, "run_at"))
    if case.given["mode"] == "in_advance":
        whole = _index(case, "run_at") - _index(case, "start") + 1
        return {"billed_through": now["period_end"], "whole_periods_billed": whole}
    assert case.given["mode"] == "in_arrears"
    began = boundary(_day_anchor(case), interval_of(case), _index(case, "run_at"))
    return {
        **first_cycle_date(case),
        "billed_through": began if began >= case.on("start") else None,
        "next_run": now["period_end"],
    }


def whole_periods_between(case: Case) -> Mapping[str, Any]:
    return {"count": index_on(case.on("from"), interval_of(case), case.on("to"))}


def add_periods(case: Case) -> Mapping[str, Any]:
    steps = case.given["steps"]
    indexes = range(steps + 1) if steps > 0 else range(0, steps - 1, -1)
    return {"dates": [boundary(case.on("from"), interval_of(case), index) for index in indexes]}


def billing_run_period(case: Case) -> Mapping[str, Any]:
    """Which periods a run at an instant bills; a fee in advance or of the end is that of the period under way."""
    assert not {"usage_interval", "fixed_charge_interval"} & set(case.given)
    interval, zone = interval_of(case), case.zone
    started_on = local_date(case.instant("started_at"), zone)
    anchored_on = local_date(case.instant("anchor"), zone)
    is_calendar = case.given["anchoring"] == "calendar"
    anchor_on = calendar_anchor(anchored_on, interval) if is_calendar else anchored_on
    ended = "terminated_at" in case.given
    at = case.instant("terminated_at" if ended else "run_at")
    index = index_on(anchor_on, interval, local_date(at, zone))
    current = nth_period(anchor_on, interval, zone, index)
    previous = nth_period(anchor_on, interval, zone, index - 1)
    life = Period(start_of_day(started_on, zone), FOR_EVER, zone)
    fee = (current if ended or case.given["billed_in_advance"] else previous).overlap(life)
    usage = (current if ended else previous).overlap(life)
    assert fee is not None
    assert usage is not None
    return {
        "fee_period_start": fee.start,
        "fee_period_end": fee.end,
        "usage_period_start": usage.start,
        "usage_period_end": usage.end,
        "fixed_charge_period_start": usage.start,
        "fixed_charge_period_end": usage.end,
        "current_period_start": current.start,
        "current_period_end": current.end,
        "previous_period_start": previous.start,
        "fee_period_days": days_in_use(previous),  # of the whole period, also where less of it is in use
        "usage_period_days": days_in_use(previous),
    }


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
