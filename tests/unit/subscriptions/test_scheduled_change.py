"""Which of the waiting changes are due, in which order, and what can still become of them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from libs.common.periods import Interval
from services.subscriptions.application.co_terming import fit
from services.subscriptions.domain.plan import PlanRetired
from services.subscriptions.domain.scheduled_change import (
    ChangeNotScheduled,
    ChangeStatus,
    ScheduledChange,
    WantedChange,
    When,
    counted,
    due_of,
    in_their_order,
)
from tests.support.changes import a_basic
from tests.support.subscriptions import NOW, utc

PERIOD_END = "2025-06-30T04:00"


def a_waiting(id: str, at: str | None = None, *, asked_at: str = "2025-06-01") -> ScheduledChange:
    when = When("period_end") if at is None else When("on", utc(at).date())
    return ScheduledChange(
        id=id,
        subscription_id="sub_1",
        when=when,
        at=utc(at) if at is not None else None,
        wanted=WantedChange(zone="UTC"),
        created_at=utc(asked_at),
    )


class Case(NamedTuple):
    name: str
    waiting: list[ScheduledChange]
    due_at: str
    due: list[str]


CASES = [
    Case("nothing_waits", [], "2025-06-10", []),
    Case("not_yet", [a_waiting("a", "2025-06-11"), a_waiting("b")], "2025-06-10", []),
    Case("on_its_date", [a_waiting("a", "2025-06-10"), a_waiting("b")], "2025-06-10", ["a"]),
    Case("by_date", [a_waiting("a", "2025-06-12"), a_waiting("b", "2025-06-11")], "2025-06-12", ["b", "a"]),
    Case(
        "at_one_instant_as_asked",
        [a_waiting("a", "2025-06-12", asked_at="2025-06-03"), a_waiting("b", "2025-06-12")],
        "2025-06-12",
        ["b", "a"],
    ),
    Case("the_inside_goes_first", [a_waiting("a"), a_waiting("b", "2025-06-12")], PERIOD_END, ["b"]),
    Case("at_the_end_of_the_period", [a_waiting("a")], PERIOD_END, ["a"]),
    Case(
        "on_the_boundary_as_asked",
        [a_waiting("a", asked_at="2025-06-03"), a_waiting("b", PERIOD_END, asked_at="2025-06-02")],
        PERIOD_END,
        ["b", "a"],
    ),
    Case("beyond_the_boundary", [a_waiting("a", "2025-07-10")], PERIOD_END, []),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_due(case: Case) -> None:
    assert [one.id for one in due_of(a_basic(), case.waiting, utc(case.due_at))] == case.due


def test_without_a_period_nothing_is_due() -> None:
    assert due_of(replace(a_basic(), period=None), [a_waiting("a", "2025-06-01")], NOW) == []


def test_what_waits_is_counted() -> None:
    waiting = [a_waiting("a"), a_waiting("b", "2025-06-12"), a_waiting("c", "2025-06-10")]
    after = counted(a_basic(), waiting)
    assert (after.next_change_at, after.boundary_changes) == (utc("2025-06-10"), 1)
    assert after.due_at == utc("2025-06-10")
    assert counted(after, []) == a_basic()
    assert [one.id for one in in_their_order(waiting)] == ["c", "b", "a"]


def test_it_is_settled_once() -> None:
    waiting = a_waiting("a")
    failed = waiting.failed(PlanRetired("the plan takes no new subscriptions"), NOW)
    applied = waiting.applied(utc(PERIOD_END), NOW)
    assert (failed.status, failed.reason_code, failed.settled_at) == (
        ChangeStatus.FAILED,
        "plan_retired",
        NOW,
    )
    assert (applied.status, applied.at, applied.version) == (ChangeStatus.APPLIED, utc(PERIOD_END), 2)
    for settled in (failed, applied, waiting.withdrawn(NOW)):
        with pytest.raises(ChangeNotScheduled):
            settled.withdrawn(NOW)
        with pytest.raises(ChangeNotScheduled):
            settled.altered(waiting.when, None, waiting.wanted)


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        (Interval("month", 1), Interval("month", 1), True),
        (Interval("month", 3), Interval("year", 1), True),
        (Interval("month", 5), Interval("year", 1), False),
        (Interval("month", 2), Interval("month", 3), False),
        (Interval("week", 2), Interval("day", 7), True),
        (Interval("week", 1), Interval("month", 1), False),
    ],
)
def test_periods_end_together_where_one_is_a_multiple_of_the_other(
    one: Interval, other: Interval, fits: bool
) -> None:
    assert fit(one, other) is fits
    assert fit(other, one) is fits
