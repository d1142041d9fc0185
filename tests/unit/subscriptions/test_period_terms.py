"""What is agreed on for a period: parts of it, its end, what is given back, what need not be said."""

from __future__ import annotations

from datetime import date

import pytest

from libs.common.periods import Interval
from services.subscriptions.domain.cancellation import cancel_at
from services.subscriptions.domain.period_terms import PeriodTerms, are_plain, terms_of
from services.subscriptions.domain.renewal import DueFacts, Ended, decide_due, decide_start
from services.subscriptions.domain.subscription import Credit, Subscription
from tests.support.subscriptions import TENANT, utc
from tests.unit.subscriptions.life import LARGE, changed, running, scheduled, told

START, MIDDLE, END = utc("2025-06-01"), utc("2025-06-16T09:00"), utc("2025-07-01")


def current(subscription: Subscription) -> PeriodTerms:
    assert subscription.period is not None
    return terms_of(subscription, subscription.period, is_over=False)


def test_a_period_with_its_items_from_end_to_end_goes_without_saying() -> None:
    assert are_plain(current(running()), running())
    outcome = decide_start(scheduled(), START)
    assert outcome.terms == ()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "subscription",
    [
        running(trial=Interval("day", 14)),
        running(anchor_on=date(2025, 6, 15)),
        running(anchor_on=date(2025, 6, 15), first_part="merged"),
        running(offer=LARGE),
        running(ends_on=date(2025, 6, 20)),
        changed(running(), "2025-06-16T09:00", quantities={"seats": 5}),
    ],
    ids=["trial", "first_part", "merged_part", "charged_once", "ends_inside", "changed"],
)
def test_whatever_does_not_follow_from_the_items_is_said(subscription: Subscription) -> None:
    assert not are_plain(current(subscription), subscription)


def test_in_a_trial_nothing_is_agreed_on_but_usage_where_that_is_charged() -> None:
    assert told(current(running(trial=Interval("day", 14)))) == []
    billed = running(trial=Interval("day", 14), trial_bills_usage=True)
    assert [code for code, *_ in told(current(billed))] == ["talk"]


def test_a_free_first_part_has_usage_only() -> None:
    free = running(anchor_on=date(2025, 6, 15), first_part="free")
    assert [code for code, *_ in told(current(free))] == ["talk"]


def test_a_merged_first_part_is_measured_against_its_own_interval() -> None:
    merged = running(anchor_on=date(2025, 6, 15), first_part="merged")
    parts = [segment for segment in current(merged).segments if segment.item.code == "seats"]
    wholes = [(part.whole.start_on, part.whole.end_on) for part in parts if part.whole is not None]
    assert [(part.start_on, part.end_on) for part in parts] == [
        (date(2025, 6, 1), date(2025, 6, 15)),
        (date(2025, 6, 15), date(2025, 7, 15)),
    ]
    assert wholes == [(date(2025, 5, 15), date(2025, 6, 15)), (date(2025, 6, 15), date(2025, 7, 15))]


def test_a_merged_first_part_is_measured_so_after_the_anchor_has_changed_too() -> None:
    merged = running(anchor_on=date(2025, 6, 15), first_part="merged")
    assert merged.period is not None
    after = changed(merged, "2025-06-20T09:00", anchor_on=date(2025, 6, 20))
    first, second = (
        part.whole
        for part in terms_of(after, merged.period, is_over=True).segments
        if part.item.code == "seats"
    )
    assert first is not None
    assert second is not None
    assert (first.start_on, first.end_on) == (date(2025, 5, 15), date(2025, 6, 15))
    assert (second.start_on, second.end_on) == (date(2025, 6, 15), date(2025, 7, 15))


@pytest.mark.parametrize(
    ("credit", "seats", "method"),
    [("none", [(START, MIDDLE)], "none"), ("prorated", [(START, MIDDLE)], None), ("full", [], None)],
)
def test_what_becomes_of_what_was_charged_for_the_time_after_the_end(
    credit: Credit, seats: list[object], method: str | None
) -> None:
    canceled = cancel_at(running(), MIDDLE, MIDDLE, credit=credit).subscription
    outcome = decide_due(canceled, MIDDLE, DueFacts(TENANT))
    assert isinstance(outcome, Ended)
    (terms,) = outcome.terms
    parts = [segment for segment in terms.segments if segment.item.code == "seats"]
    assert [(part.start, part.end) for part in parts] == seats
    assert all(part.end_proration == method for part in parts)
    assert [segment.end for segment in terms.segments if segment.item.code == "talk"] == [MIDDLE]


def test_what_is_charged_once_stands_in_the_period_that_it_begins_in() -> None:
    large = running(offer=LARGE)
    assert large.period is not None
    following = terms_of(large, large.calendar.after(large.period), is_over=False)
    assert "setup" in {code for code, *_ in told(current(large))}
    assert "setup" not in {code for code, *_ in told(following)}


def test_an_agreement_that_ends_inside_a_period_is_told_of_up_to_there() -> None:
    assert {end for _, _, _, end in told(current(running(ends_on=date(2025, 6, 20))))} == {utc("2025-06-20")}
