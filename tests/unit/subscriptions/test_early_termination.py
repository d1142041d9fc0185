"""What an early end costs, to the cent; and how long a quote of it is good."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money
from libs.common.periods import Interval, start_of_day
from services.subscriptions.domain.agreed_term import AgreedTerm, EarlyTermination
from services.subscriptions.domain.earliest_end import EndsTooEarly
from services.subscriptions.domain.early_termination import (
    Count,
    EarlyTerminationForbidden,
    EarlyTerminationQuote,
    QuoteExpired,
    QuoteInThePast,
    QuoteNotFound,
    QuoteNotNeeded,
    accept_quote,
    count_periods,
    early_termination_fee,
    issue_quote,
)
from services.subscriptions.domain.recurring_fee import FeePrice
from services.subscriptions.domain.subscription import Pause, Subscription
from services.subscriptions.domain.subscription_item import ItemSegment, SubscriptionItem
from tests.support.subscriptions import NOW, a_calendar, a_subscription, utc

ZONE = "Europe/Amsterdam"
MONTH, YEAR = Interval("month"), Interval("year")


def on(text: str) -> date:
    return date.fromisoformat(text)


def at(text: str) -> datetime:
    return start_of_day(on(text), ZONE)


def segment(
    code: str, quantity: str, start: str, end: str | None = None, kind: Any = "recurring"
) -> ItemSegment:
    item = SubscriptionItem(f"si_{code}", f"prc_{code}", code, kind, None, Decimal(quantity))
    ended = (at(end), on(end)) if end is not None else (None, None)
    return ItemSegment(item, at(start), on(start), *ended)


def per_unit(code: str, amount: str, interval: Interval = MONTH) -> FeePrice:
    return FeePrice(f"prc_{code}", code, "per_unit", interval, unit_amount=Decimal(amount))


def agreed(
    length: Interval,
    policy: EarlyTermination,
    *,
    starts_on: str,
    anchor_on: str,
    segments: tuple[ItemSegment, ...],
    **changes: Any,
) -> Subscription:
    term = AgreedTerm(length, on(starts_on), on(starts_on)).begun(on(starts_on))
    return a_subscription(
        a_calendar(anchor_on, zone=ZONE),
        currency="EUR",
        segments=segments,
        term=replace(term, early_termination=policy, **changes),
    )


PRICES = {
    price.id: price
    for price in (
        per_unit("desk", "9.00"),
        per_unit("chair", "4.50"),
        per_unit("ergo", "7.50"),
        per_unit("delivery", "120"),
        per_unit("car", "549"),
        per_unit("licence", "1200", YEAR),
        per_unit("cleaning", "7", Interval("week")),
    )
}


def furniture(policy: EarlyTermination, **changes: Any) -> Subscription:
    """Ten desks and ten chairs from 15 January; two of the chairs are ergonomic ones from 10 March. Billed on the 1st."""
    return agreed(
        Interval("month", 12),
        policy,
        starts_on="2026-01-15",
        anchor_on="2026-01-01",
        segments=(
            segment("desk", "10", "2026-01-15"),
            segment("chair", "10", "2026-01-15", "2026-03-10"),
            segment("chair", "8", "2026-03-10"),
            segment("ergo", "2", "2026-03-10"),
            segment("delivery", "1", "2026-01-15", kind="one_time"),
        ),
        **changes,
    )


def car(policy: EarlyTermination, **changes: Any) -> Subscription:
    return agreed(
        Interval("month", 36),
        policy,
        starts_on="2025-01-01",
        anchor_on="2025-01-01",
        segments=(segment("car", "1", "2025-01-01"),),
        **changes,
    )


def percentage(percent: str) -> EarlyTermination:
    return EarlyTermination("percentage", percent=Decimal(percent))


class Case(NamedTuple):
    name: str
    subscription: Subscription
    ends: str
    received: str
    amount: str
    bound_until: str


RATES = ((0, Decimal(40)), (6, Decimal(20)), (18, Decimal("7.5")))
CASES = [
    #    name                       subscription                     ends          received      amount     bound until
    Case("furniture", furniture(percentage("75")), "2026-08-01", "2026-07-01", "576.51", "2027-01-15"),
    Case("furniture_whole", furniture(percentage("100")), "2026-08-01", "2026-07-01", "768.68", "2027-01-15"),
    Case("car", car(percentage("40")), "2026-09-01", "2026-08-20", "3513.60", "2028-01-01"),
    # 141.00 x (22/31 + 4 + 14/31), all of it rounded once
    Case("inside_a_period", furniture(percentage("100")), "2026-08-10", "2026-08-01", "727.74", "2027-01-15"),
    Case("last_day", furniture(percentage("100")), "2027-01-14", "2027-01-01", "4.55", "2027-01-15"),
    Case(
        "fixed",
        car(EarlyTermination("fixed", amount=Decimal("250"))),
        "2026-09-01",
        "2026-08-20",
        "250.00",
        "2028-01-01",
    ),
    Case(
        "three_months",
        car(EarlyTermination("months", months=3)),
        "2026-09-01",
        "2026-08-20",
        "1647.00",
        "2028-01-01",
    ),
    Case(
        "three_months_inside_a_period",
        furniture(EarlyTermination("months", months=3)),
        "2026-08-10",
        "2026-08-01",
        "423.00",
        "2027-01-15",
    ),
    # held for 20 months: 20 x 549 x 7.5 %
    Case(
        "rerated",
        car(EarlyTermination("rerate", rates=RATES)),
        "2026-09-01",
        "2026-08-20",
        "823.50",
        "2028-01-01",
    ),
    Case(
        "rerated_at_a_bound",
        car(EarlyTermination("rerate", rates=RATES)),
        "2025-07-01",
        "2025-06-20",
        "658.80",
        "2028-01-01",
    ),
    Case(
        "rerated_a_day_before",
        car(EarlyTermination("rerate", rates=RATES)),
        "2025-06-30",
        "2025-06-20",
        "1310.28",
        "2028-01-01",
    ),
    # desks 90 x (17/31 + 6); chairs 45 x (17/31 + 1 + 9/31), 36 x (22/31 + 4); ergo 15 x (22/31 + 4): 20 % of 912.2903…
    Case(
        "rerated_by_what_was_agreed_on_when",
        furniture(EarlyTermination("rerate", rates=((0, Decimal(20)),))),
        "2026-08-01",
        "2026-07-01",
        "182.46",
        "2027-01-15",
    ),
    # the notice of three months comes too late for 1 January 2028, and the term renews itself for three years
    Case(
        "bound_by_the_renewed_term",
        car(percentage("10"), on_end="renew", notice=Interval("month", 3)),
        "2027-12-01",
        "2027-11-01",
        "2031.30",
        "2031-01-01",
    ),
    # nothing but the notice binds beyond the term: until 1 February 2028
    Case(
        "bound_by_the_notice",
        car(percentage("100"), notice=Interval("month", 3)),
        "2027-12-01",
        "2027-11-01",
        "1098.00",
        "2028-02-01",
    ),
]


def fee(case: Case) -> Any:
    return early_termination_fee(case.subscription, on(case.ends), at(case.received), PRICES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_an_early_end_costs(case: Case) -> None:
    reckoned = fee(case)
    assert reckoned.amount == Money.from_decimal(Decimal(case.amount), "EUR")
    assert reckoned.bound_until == on(case.bound_until)
    assert reckoned.steps[-1].result == f"{case.amount} EUR"


def test_each_step_of_the_reckoning_is_told() -> None:
    assert [(step.formula, step.result) for step in fee(CASES[0]).steps] == [
        ("10 by its price (per_unit)", "90"),
        ("8 by its price (per_unit)", "36"),
        ("2 by its price (per_unit)", "15"),
        ("141 * (5 + 14/31)", "≈ 768.677419"),
        ("768.677419 * 75 %", "≈ 576.508065"),
        ("≈ 576.508065", "576.51 EUR"),
    ]


def test_fees_of_other_intervals_are_counted_by_their_own() -> None:
    mixed = agreed(
        Interval("month", 24),
        percentage("100"),
        starts_on="2026-01-01",
        anchor_on="2026-01-01",
        segments=(
            segment("licence", "1", "2026-01-01"),
            segment("cleaning", "1", "2026-01-01"),
        ),
    )
    # 1,200 a year for 184/365 + 1, and 7 a week for 549 days, of which 4 begin and 4 end it
    reckoned = early_termination_fee(mixed, on("2026-07-01"), at("2026-06-01"), PRICES)
    yearly, weekly = Decimal(1200) * 184 / 365 + 1200, Decimal(549)
    assert reckoned.amount == Money.from_decimal((yearly + weekly).quantize(Decimal("0.000001")), "EUR")


def test_a_pause_was_not_held() -> None:
    pause = Pause(at("2025-03-01"), on("2025-03-01"), at("2025-05-01"), on("2025-05-01"), status="over")
    paused = replace(car(EarlyTermination("rerate", rates=RATES)), pauses=(pause,))
    reckoned = early_termination_fee(paused, on("2026-09-01"), at("2026-08-20"), PRICES)
    assert reckoned.amount == Money(74115, "EUR")  # 18 x 549 x 7.5 %


def test_what_cannot_be_quoted_is_refused_with_the_way_out() -> None:
    forbidden = car(EarlyTermination("forbidden"))
    with pytest.raises(EarlyTerminationForbidden) as refused:
        early_termination_fee(forbidden, on("2026-09-01"), at("2026-08-20"), PRICES)
    assert refused.value.facts["earliest_end_on"] == on("2028-01-01")
    with pytest.raises(QuoteNotNeeded):
        early_termination_fee(car(percentage("40")), on("2028-01-01"), at("2026-08-20"), PRICES)
    with pytest.raises(QuoteInThePast):
        early_termination_fee(car(percentage("40")), on("2026-08-19"), at("2026-08-20"), PRICES)
    with pytest.raises(QuoteNotNeeded):
        early_termination_fee(car(EarlyTermination("none")), on("2026-09-01"), at("2026-08-20"), PRICES)
    with pytest.raises(EndsTooEarly):
        early_termination_fee(
            car(EarlyTermination("none"), notice=MONTH), on("2026-09-01"), at("2026-08-20"), PRICES
        )


def a_quote(days: int = 14, ends: str = "2026-09-01", **changes: Any) -> EarlyTerminationQuote:
    subscription = car(percentage("40"))
    reckoned = early_termination_fee(subscription, on(ends), at("2026-08-01"), PRICES)
    quote = issue_quote(reckoned, subscription, id="etq_1", now=at("2026-08-01"), created_at=NOW, days=days)
    return replace(quote, **changes)


def test_a_quote_is_good_until_it_expires() -> None:
    quote = a_quote()
    assert quote.expires_at == at("2026-08-15")
    accepted, ends_at = accept_quote(quote, car(percentage("40")), at("2026-08-15") - timedelta(seconds=1))
    assert ends_at == at("2026-09-01")
    assert accepted.accepted_at is not None
    assert accepted.amount == quote.amount
    with pytest.raises(QuoteExpired) as refused:
        accept_quote(quote, car(percentage("40")), at("2026-08-15"))
    assert refused.value.remedy is not None


def test_a_quote_is_no_longer_good_than_the_day_that_it_is_for() -> None:
    assert a_quote(days=60).expires_at == at("2026-09-02")


def test_a_quote_for_today_ends_it_at_once() -> None:
    noon = at("2026-08-01") + timedelta(hours=12)
    _, ends_at = accept_quote(a_quote(ends="2026-08-01"), car(percentage("40")), noon)
    assert ends_at == noon


def test_a_quote_belongs_to_its_subscription() -> None:
    with pytest.raises(QuoteNotFound):
        accept_quote(a_quote(), replace(car(percentage("40")), id="sub_other"), at("2026-08-02"))


def test_accepting_again_changes_nothing_even_after_it_expired() -> None:
    quote = a_quote()
    subscription = car(percentage("40"), accepted_quote_id=quote.id)
    canceled = replace(subscription, cancels_at=at("2026-09-01"))
    assert accept_quote(quote, canceled, at("2026-08-20")) == (quote, at("2026-09-01"))


class Counted(NamedTuple):
    start: str
    end: str
    told: str


@pytest.mark.parametrize(
    "case",
    [
        Counted("2026-08-01", "2027-01-15", "5 + 14/31"),
        Counted("2026-08-10", "2027-01-15", "4 + 22/31 + 14/31"),
        Counted("2026-08-10", "2026-08-20", "0 + 10/31"),
        Counted("2026-08-01", "2026-09-01", "1"),
        Counted("2026-08-10", "2026-09-01", "0 + 22/31"),
        Counted("2026-08-10", "2026-08-10", "0"),
    ],
)
def test_periods_between_two_dates(case: Counted) -> None:
    assert str(count_periods(on("2026-01-01"), MONTH, on(case.start), on(case.end), ZONE)) == case.told


dates = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(
    anchor_on=dates,
    interval=st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 12)),
    cuts=st.lists(dates, min_size=3, max_size=3).map(sorted),
)
@settings(max_examples=60)
def test_a_stretch_that_is_cut_in_two_counts_the_same(
    anchor_on: date, interval: Interval, cuts: list[date]
) -> None:
    def count(start_on: date, end_on: date) -> Count:
        return count_periods(anchor_on, interval, start_on, end_on, ZONE)

    first, middle, last = cuts
    assert count(first, middle).total + count(middle, last).total == count(first, last).total


@given(percent=st.integers(0, 100), day=st.dates(date(2026, 8, 20), date(2027, 12, 31)))
@settings(max_examples=60)
def test_a_part_of_what_remains_is_never_more_than_all_of_it(percent: int, day: date) -> None:
    part = early_termination_fee(car(percentage(str(percent))), day, utc("2026-08-19T22:00"), PRICES)
    whole = early_termination_fee(car(percentage("100")), day, utc("2026-08-19T22:00"), PRICES)
    assert 0 <= part.amount.amount_minor <= whole.amount.amount_minor
