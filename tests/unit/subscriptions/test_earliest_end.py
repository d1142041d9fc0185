"""When a subscription may end: after notice, and not before its term is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import Interval, start_of_day
from services.subscriptions.domain.agreed_term import AgreedTerm, EarlyTermination
from services.subscriptions.domain.earliest_end import (
    EndsTooEarly,
    earliest_end,
    may_end,
    refuse_too_early,
)
from services.subscriptions.domain.subscription import Pause, Subscription, SubscriptionState
from tests.support.subscriptions import a_calendar, a_scheduled, a_subscription

ZONE = "Europe/Amsterdam"
YEAR, HALF_YEAR, MONTH, QUARTER = (
    Interval("year"),
    Interval("month", 6),
    Interval("month"),
    Interval("month", 3),
)
FREE, PRICED = EarlyTermination("none"), EarlyTermination("months", months=3)


def on(text: str) -> date:
    return date.fromisoformat(text)


def agreed(
    length: Interval = YEAR, *, starts_on: str = "2026-01-15", notice: Interval | None = None, **changes: Any
) -> Subscription:
    counted = AgreedTerm(length, on(starts_on), on(starts_on)).begun(on(starts_on))
    term = replace(counted, notice=notice, **changes)
    return a_subscription(a_calendar("2026-01-15", zone=ZONE), term=term)


class Case(NamedTuple):
    name: str
    subscription: Subscription
    received: str
    ends: str
    bound_by: str


FOLLOWING = AgreedTerm(HALF_YEAR, date(1, 1, 1), date(1, 1, 1))
CASES = [
    Case("no_term", a_subscription(a_calendar("2026-01-15", zone=ZONE)), "2026-03-10", "2026-03-10", "none"),
    Case("term_without_notice", agreed(), "2026-03-10", "2027-01-15", "term"),
    Case("notice_within_the_term", agreed(notice=QUARTER), "2026-03-10", "2027-01-15", "term"),
    Case("notice_on_its_last_day", agreed(notice=QUARTER), "2026-10-15", "2027-01-15", "term"),
    Case("notice_beyond_the_term", agreed(notice=QUARTER), "2026-10-16", "2027-01-16", "notice"),
    Case("renews_notice_in_time", agreed(notice=QUARTER, on_end="renew"), "2026-10-15", "2027-01-15", "term"),
    Case(
        "renews_notice_too_late",
        agreed(notice=QUARTER, on_end="renew"),
        "2026-10-16",
        "2028-01-15",
        "renewed_term",
    ),
    Case("renewed_twice", agreed(notice=QUARTER, on_end="renew"), "2028-10-15", "2029-01-15", "term"),
    Case("month_to_month_after", agreed(notice=MONTH, is_over=True), "2027-03-31", "2027-04-30", "notice"),
    Case("over_without_notice", agreed(is_over=True), "2027-03-31", "2027-03-31", "none"),
    Case("ends_by_itself", agreed(on_end="end"), "2026-03-10", "2027-01-15", "agreed_end"),
    Case(
        "ends_by_itself_before_notice_does",
        agreed(on_end="end", notice=QUARTER),
        "2026-12-31",
        "2027-01-15",
        "agreed_end",
    ),
    Case(
        "costs_nothing_but_notice",
        agreed(notice=MONTH, early_termination=FREE),
        "2026-03-31",
        "2026-04-30",
        "notice",
    ),
    Case("followed_by_another_term", agreed(following=FOLLOWING), "2026-03-10", "2027-07-15", "term"),
    Case("before_it_begins", agreed(starts_on="2026-02-15"), "2026-02-14", "2026-02-14", "not_begun"),
    Case("on_its_first_day", agreed(starts_on="2026-02-15"), "2026-02-15", "2027-02-15", "term"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_earliest_end(case: Case) -> None:
    earliest = earliest_end(case.subscription, on(case.received))
    assert (earliest.on, earliest.bound_by) == (on(case.ends), case.bound_by)
    assert earliest.at == start_of_day(on(case.ends), ZONE)
    assert earliest.words


def test_what_waits_for_activation_may_end_at_once() -> None:
    waiting = a_scheduled(
        a_calendar("2026-01-15", zone=ZONE),
        state=SubscriptionState.AWAITING_ACTIVATION,
        term=agreed().term,
    )
    assert earliest_end(waiting, on("2026-06-01")).bound_by == "not_begun"


def test_what_is_over_has_ended() -> None:
    ended_at = start_of_day(on("2026-05-01"), ZONE)
    over = replace(agreed(), state=SubscriptionState.ENDED, ended_at=ended_at)
    assert earliest_end(over, on("2026-06-01")).at == ended_at


def test_a_pause_under_way_that_makes_the_term_longer_counts_already() -> None:
    start = start_of_day(on("2026-03-01"), ZONE)
    pause = Pause(start, on("2026-03-01"), end_on=on("2026-03-31"), status="running")
    paused = replace(agreed(), pauses=(pause,))
    assert earliest_end(paused, on("2026-03-10")).on == on("2027-02-14")
    endless = replace(paused, pauses=(replace(pause, end_on=None),))
    assert earliest_end(endless, on("2026-03-11")).on == on("2027-01-25")


def test_a_refusal_names_the_earliest_end_and_the_way_to_an_earlier_one() -> None:
    bound = agreed(notice=QUARTER, early_termination=PRICED)
    with pytest.raises(EndsTooEarly) as refused:
        refuse_too_early(bound, start_of_day(on("2026-08-01"), ZONE), on("2026-03-10"))
    assert refused.value.facts["earliest_end_on"] == on("2027-01-15")
    assert refused.value.remedy is not None
    assert "termination-quotes" in refused.value.remedy
    with pytest.raises(EndsTooEarly) as forbidden:
        refuse_too_early(agreed(), start_of_day(on("2026-08-01"), ZONE), on("2026-03-10"))
    assert forbidden.value.remedy is not None
    assert "not possible" in forbidden.value.remedy


def test_one_that_renews_itself_ends_with_a_whole_term_only() -> None:
    renewing = agreed(on_end="renew")
    received = on("2026-03-10")
    assert may_end(renewing, start_of_day(on("2027-01-15"), ZONE), received)
    assert not may_end(renewing, start_of_day(on("2027-02-15"), ZONE), received)
    assert may_end(renewing, start_of_day(on("2029-01-15"), ZONE), received)


def test_a_trial_may_be_left_up_to_its_end_but_not_for_a_day_of_the_term() -> None:
    in_trial = agreed(starts_on="2026-02-15")
    received = on("2026-02-01")
    assert may_end(in_trial, start_of_day(on("2026-02-15"), ZONE), received)
    assert not may_end(in_trial, start_of_day(on("2026-02-16"), ZONE), received)
    assert not may_end(in_trial, start_of_day(on("2026-02-15"), ZONE), on("2026-02-15"))


lengths = st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 24))
terms = st.builds(
    lambda length, notice, on_end, over, kind: {
        "length": length,
        "notice": notice,
        "on_end": on_end,
        "is_over": over,
        "early_termination": EarlyTermination(kind),
    },
    lengths,
    st.none() | lengths,
    st.sampled_from(["renew", "month_to_month", "step_down", "end"]),
    st.booleans(),
    st.sampled_from(["none", "forbidden"]),
)


@given(term=terms, received=st.dates(date(2026, 1, 16), date(2032, 1, 1)), other=st.integers(1, 400))
def test_the_earliest_end_is_allowed_and_no_earlier_day_is(
    term: dict[str, Any], received: date, other: int
) -> None:
    subscription = agreed(term.pop("length"), **term)
    assert subscription.term is not None
    earliest = earliest_end(subscription, received)
    assert may_end(subscription, earliest.at, received)
    if earliest.bound_by != "agreed_end":
        assert earliest.on >= subscription.term.notice_ends_on(received)
        if subscription.term.is_binding:
            assert earliest.on >= subscription.term.ends_on
    day = date.fromordinal(max(received.toordinal(), earliest.on.toordinal() - other))
    if day < earliest.on:
        assert not may_end(subscription, start_of_day(day, ZONE), received)
