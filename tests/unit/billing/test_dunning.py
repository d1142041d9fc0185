"""Schedules of dunning: which step comes when, whatever the plans say and whoever pauses, pays or skips."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.dunning import (
    Dunning,
    DunningNotPaused,
    DunningOver,
    DunningPaused,
    pause,
    resume,
    resumed_retry_at,
    retries_ended,
    schedule_of,
    skip,
    start_again,
    take_due,
)
from services.billing.domain.dunning_terms import DunningTerms, strictest_of
from tests.support.subscriptions import utc

ZONE = "Europe/Amsterdam"
DUE_ON = date(2025, 3, 20)
ISSUED = utc("2025-03-19T23:00")
DEFAULT = DunningTerms()
STRICT = DunningTerms(reminder_days=(3, 10), suspend_after_days=14, end_after_days=30, writes_off=True)
MILD = DunningTerms(reminder_days=(5,), end_after_days=60)


def day(n: int) -> datetime:
    """The first instant of the n-th local day after the due date: clocks change on 30 March."""
    return utc("2025-03-19T23:00" if n <= 10 else "2025-03-19T22:00") + timedelta(days=n)


def a_dunning(
    *terms: DunningTerms, is_collected: bool = True, retry_days: tuple[int, ...] = (1, 3, 5, 7)
) -> Dunning:
    return Dunning(
        id="dun_1",
        invoice_id="inv_1",
        customer_id="cus_1",
        state="running",
        reopened_count=0,
        counted_from=DUE_ON,
        zone=ZONE,
        agreements=tuple((f"sub_{n}", one) for n, one in enumerate(terms, start=1)),
        retry_days=retry_days,
        is_collected=is_collected,
        created_at=ISSUED,
        clock_id=None,
        traceparent=None,
    )


class Case(NamedTuple):
    name: str
    dunning: Dunning
    steps: str


ENDED_ON_16 = replace(a_dunning(DEFAULT), retries_ended_at=day(16))
CASES = [
    Case("default", a_dunning(DEFAULT), "suspend? sub_1"),
    Case("default_when_tried", ENDED_ON_16, "suspend@16 sub_1"),
    Case("about_none", a_dunning(), ""),
    Case("by_transfer", a_dunning(DEFAULT, is_collected=False), "overdue@1 | suspend@16 sub_1"),
    Case(
        "all_of_it",
        a_dunning(STRICT),
        "reminder@3 | final_reminder@10 | suspend@14 sub_1 | end@30 sub_1",
    ),
    Case("one_reminder", a_dunning(MILD), "reminder@5 | end@60 sub_1 | suspend? sub_1"),
    Case("never_suspended", a_dunning(DunningTerms(suspends=False, end_after_days=9)), "end@9 sub_1"),
    Case(
        "each_by_its_own_plan",
        a_dunning(MILD, STRICT, STRICT, DEFAULT),
        "reminder@3 | final_reminder@10 | suspend@14 sub_2 sub_3 | end@30 sub_2 sub_3 | end@60 sub_1"
        " | suspend? sub_1 sub_4",
    ),
    Case(
        "another_round",
        start_again(a_dunning(STRICT), reopened_count=1, now=day(40) + timedelta(hours=5)),
        "reminder@43 | final_reminder@50 | suspend@54 sub_1 | end@70 sub_1",
    ),
    Case("another_round_by_default", start_again(ENDED_ON_16, reopened_count=1, now=day(40)), "suspend@56 sub_1"),
    Case("no_retries_by_transfer", a_dunning(DEFAULT, is_collected=False, retry_days=()), "overdue@1 | suspend@1 sub_1"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_steps_of_a_schedule(case: Case) -> None:
    told = []
    for step in schedule_of(case.dunning):
        at = "?" if step.at is None else f"@{(step.at.date() - DUE_ON).days + (step.at.hour > 12)}"
        told.append(" ".join([f"{step.kind}{at}", *step.subscription_ids]))
    assert " | ".join(told) == case.steps


def test_the_strictest_ends_first_then_suspends_first() -> None:
    never = DunningTerms(suspends=False)
    sooner = DunningTerms(suspend_after_days=15)
    assert strictest_of([]) == DEFAULT
    assert strictest_of([("a", MILD), ("b", STRICT), ("c", DEFAULT)]) == STRICT
    assert strictest_of([("a", never), ("b", DEFAULT), ("c", sooner)]) == sooner  # by default, after 16 days


def test_a_step_is_taken_on_its_day_and_once() -> None:
    begun, taken = take_due(a_dunning(STRICT), now=day(3) - timedelta(microseconds=1))
    assert (taken, begun.due_at, begun.state) == ((), day(3), "running")
    reminded, taken = take_due(begun, now=day(3))
    assert ([step.kind for step in taken], reminded.due_at) == (["reminder"], day(10))
    assert take_due(reminded, now=day(3)) == (reminded, ())


def test_of_what_is_due_at_once_nobody_gets_two_letters() -> None:
    late, taken = take_due(a_dunning(STRICT), now=day(12))
    assert [step.kind for step in taken] == ["final_reminder"]
    assert [(step.kind, step.outcome) for step in late.behind] == [
        ("reminder", "overtaken"),
        ("final_reminder", "taken"),
    ]
    over, taken = take_due(a_dunning(STRICT), now=day(30))
    assert [step.kind for step in taken] == ["suspend", "end"]
    assert (over.state, over.due_at, over.has_ended, over.is_retried) == ("exhausted", None, True, False)


def test_the_end_of_the_retries_suspends_at_once() -> None:
    begun, _ = take_due(a_dunning(DEFAULT), now=day(0))
    assert (begun.state, begun.due_at, begun.is_retried) == ("running", None, True)
    tried = retries_ended(begun, now=day(16))
    assert tried.due_at == day(16)
    suspended, taken = take_due(tried, now=day(16))
    assert [(step.kind, step.subscription_ids) for step in taken] == [("suspend", ("sub_1",))]
    assert suspended.state == "exhausted"
    assert retries_ended(suspended, now=day(20)) == suspended  # a try that somebody asked for


def test_a_pause_moves_what_lies_ahead() -> None:
    begun, _ = take_due(a_dunning(STRICT), now=day(1))
    held = pause(begun, until=day(8), actor="user:a", reason="promised", retry_at=day(4), now=day(1))
    assert (held.state, held.due_at) == ("paused", day(8))
    assert take_due(held, now=day(29)) == (held, ())
    assert resumed_retry_at(held, now=day(8)) == day(4) + timedelta(days=7)  # of 24 hours, as retries are
    with pytest.raises(DunningPaused):
        pause(held, until=None, actor="user:a", reason="", retry_at=None, now=day(2))
    going_on = resume(held, now=day(8))
    assert [step.at for step in going_on.ahead] == [day(10), day(17), day(21), day(37)]
    assert (going_on.paused_at, going_on.paused_by, going_on.retry_held_at) == (None, None, None)
    with pytest.raises(DunningNotPaused):
        resume(going_on, now=day(9))


def test_what_is_over_is_not_paused() -> None:
    over, _ = take_due(a_dunning(STRICT), now=day(30))
    with pytest.raises(DunningOver):
        pause(over, until=None, actor="user:a", reason="", retry_at=None, now=day(31))


def test_a_step_that_is_skipped_is_not_taken_and_the_others_stay() -> None:
    begun, _ = take_due(a_dunning(STRICT), now=day(0))
    first = begun.ahead[0]
    skipped = skip(begun, first, actor="user:a", reason="called", now=day(1))
    assert (skipped.behind[-1].outcome, skipped.behind[-1].actor, skipped.due_at) == (
        "skipped",
        "user:a",
        day(10),
    )
    without_end = skip(skipped, skipped.ahead[-1], actor="user:a", reason="kept", now=day(1))
    assert (without_end.ahead, without_end.state) == ((), "running")  # its tries go on
    assert not without_end.has_ended


def test_another_round_begins_with_nothing_behind_and_tries_nothing() -> None:
    over, _ = take_due(a_dunning(STRICT), now=day(30))
    again = start_again(over, reopened_count=1, now=day(40))
    assert (again.due_at, again.state, again.is_retried) == (day(43), "running", False)
    assert again.behind == over.behind


terms = st.builds(
    lambda retries, reminders, suspends, suspend, end: DunningTerms(
        retry_days=retries,
        reminder_days=tuple(sorted(reminders)),
        suspends=suspends,
        suspend_after_days=suspend if suspends else None,
        end_after_days=end,
    ),
    st.none() | st.lists(st.integers(1, 9), max_size=4).map(tuple),
    st.sets(st.integers(0, 40), max_size=4),
    st.booleans(),
    st.none() | st.integers(1, 40),
    st.none() | st.integers(41, 60),
)
deeds = st.lists(st.sampled_from(["wait", "pause", "resume", "skip", "retried", "late"]), max_size=25)


@settings(max_examples=60)
@given(agreed=st.lists(terms, max_size=3), is_collected=st.booleans(), done=deeds)
def test_every_step_is_behind_in_the_end_once_each_and_in_order(
    agreed: list[DunningTerms], is_collected: bool, done: list[str]
) -> None:
    """Whatever people do meanwhile, an invoice that nobody pays comes to the end of its schedule."""
    dunning, now = a_dunning(*agreed, is_collected=is_collected), day(0)
    wanted = {(step.kind, step.number) for step in schedule_of(dunning)}
    for deed in [*done, "resume", "retried", "late", "late"]:
        now += timedelta(days=90 if deed == "late" else 2)
        if deed == "pause" and dunning.state == "running":
            dunning = pause(dunning, until=None, actor="user:a", reason="", retry_at=None, now=now)
        elif deed == "resume" and dunning.state == "paused":
            dunning = resume(dunning, now=now)
        elif deed == "skip" and dunning.ahead:
            dunning = skip(dunning, dunning.ahead[0], actor="user:a", reason="", now=now)
        elif deed == "retried" and is_collected:
            dunning = retries_ended(dunning, now=now)
        before = dunning
        dunning, taken = take_due(dunning, now=now)
        assert dunning.behind[: len(before.behind)] == before.behind
        assert all(step.at is not None and step.at <= now for step in taken)
    behind = [(step.kind, step.number) for step in dunning.behind]
    assert len(behind) == len(set(behind))
    assert (dunning.state, dunning.ahead, dunning.due_at) == ("exhausted", (), None)
    unreached = wanted - set(behind)
    assert not unreached or (
        dunning.has_ended or ("end", 1) in behind
    )  # after the last end, nothing is missed
    assert all(kind == "suspend" or ("end", 1) in behind for kind, _ in unreached)
