"""Minimum terms: how they are counted, made longer, renewed, followed by another."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import DAY, Interval
from services.subscriptions.domain.agreed_term import AgreedTerm, EarlyTermination, TermTooLong

MONTH, YEAR = Interval("month"), Interval("year")


def on(text: str) -> date:
    return date.fromisoformat(text)


def a_term(starts_on: str = "2026-01-15", length: Interval = YEAR, **changes: object) -> AgreedTerm:
    return replace(AgreedTerm(length, date(1, 1, 1), date(1, 1, 1)).begun(on(starts_on)), **changes)  # type: ignore[arg-type]


def test_it_is_counted_in_calendar_steps_from_its_start() -> None:
    assert a_term().ends_on == on("2027-01-15")
    assert a_term("2024-02-29").ends_on == on("2025-02-28")
    assert a_term("2026-01-31", MONTH).ends_on == on("2026-02-28")


def test_renewed_ends_do_not_drift() -> None:
    term = a_term("2026-01-31", MONTH, on_end="renew")
    ends = []
    for _ in range(4):
        term = term.renewed()
        ends.append(term.ends_on)
    assert ends == [on("2026-03-31"), on("2026-04-30"), on("2026-05-31"), on("2026-06-30")]
    assert term.renewals == 4
    assert term.starts_on == on("2026-05-31")


def test_a_term_that_was_made_longer_is_renewed_from_its_later_end() -> None:
    term = a_term("2026-01-31", MONTH, on_end="renew").extended(10)
    assert term.ends_on == on("2026-03-10")
    assert term.renewed().ends_on == on("2026-04-10")
    assert term.renewed().renewed().ends_on == on("2026-05-10")


def test_notice_is_counted_in_the_calendar() -> None:
    term = a_term(notice=Interval("month", 3))
    assert term.notice_ends_on(on("2026-11-30")) == on("2027-02-28")
    assert a_term(notice=Interval("day", 14)).notice_ends_on(on("2026-11-30")) == on("2026-12-14")
    assert a_term().notice_ends_on(on("2026-11-30")) == on("2026-11-30")


@pytest.mark.parametrize(
    ("on_end", "is_over", "ends_on"),
    [
        ("renew", False, "2028-01-15"),
        ("month_to_month", True, "2027-01-15"),
        ("step_down", True, "2027-01-15"),
    ],
)
def test_what_holds_after_its_end(on_end: str, is_over: bool, ends_on: str) -> None:
    after = a_term(on_end=on_end).after_end()
    assert after.is_over is is_over
    assert after.ends_on == on(ends_on)


def test_a_term_agreed_on_to_follow_takes_its_place_and_is_a_renewal() -> None:
    following = AgreedTerm(Interval("month", 6), date(1, 1, 1), date(1, 1, 1), notice=MONTH)
    term = a_term(on_end="end", following=following, following_plan_version_id="plv_2")
    assert term.plan_version_at_end == "plv_2"
    assert (term.last.starts_on, term.last.ends_on) == (on("2027-01-15"), on("2027-07-15"))
    after = term.after_end()
    assert (after.starts_on, after.ends_on, after.notice) == (on("2027-01-15"), on("2027-07-15"), MONTH)
    assert after.renewals == 1
    assert after.following is None


def test_it_ends_before_the_dates_do() -> None:
    assert a_term("2026-01-15", Interval("year", 173)).ends_on == on("2199-01-15")
    with pytest.raises(TermTooLong) as refused:
        a_term("2026-01-15", Interval("year", 174))
    assert refused.value.pointer == "/term/length"


def test_only_a_step_down_has_a_plan_at_its_end() -> None:
    assert a_term(on_end="step_down", step_down_plan_version_id="plv_2").plan_version_at_end == "plv_2"
    assert a_term(on_end="renew", step_down_plan_version_id="plv_2").plan_version_at_end is None


def test_a_term_whose_end_costs_nothing_does_not_bind() -> None:
    assert a_term().is_binding
    assert not a_term(early_termination=EarlyTermination("none")).is_binding
    assert not a_term(is_over=True).is_binding


lengths = st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 40))
days = st.dates(date(2000, 1, 1), date(2040, 12, 31))


@given(starts_on=days, length=lengths, later=st.integers(0, 20_000), longer=st.integers(0, 90))
def test_the_end_from_a_day_is_the_first_that_renewals_reach(
    starts_on: date, length: Interval, later: int, longer: int
) -> None:
    term = AgreedTerm(length, starts_on, starts_on).begun(starts_on).extended(longer)
    wanted = starts_on + min(later, 300 * (term.ends_on - starts_on).days) * DAY
    renewed = term
    while renewed.ends_on < wanted:
        before, renewed = renewed, renewed.renewed()
        assert renewed.starts_on == before.ends_on < renewed.ends_on
    assert term.end_from(wanted) == renewed.ends_on
