"""Whole plans over one period and over several: what is charged when, and what is carried on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money, total
from libs.common.periods import Interval
from services.billing.domain.plan_terms import PlanTerms, Trial
from services.billing.domain.rating.price import MatrixCell, Model, Rollover
from services.billing.domain.rating.usage import LevelChange
from services.billing.domain.simulation.schedule import schedule
from services.billing.domain.simulation.simulate import SimulationImpossible
from services.billing.domain.simulation.simulated import SimulatedPlan
from services.billing.domain.simulation.timetable import Timetable
from services.billing.domain.simulation.usage_given import GivenEvent, GivenUsage
from tests.support.recompute import recompute
from tests.unit.billing.prices import a_tier
from tests.unit.billing.simulations import (
    MONTH,
    YEAR,
    a_fee,
    a_plan,
    a_usage_price,
    amounts,
    at_least,
    phases,
    simulated,
    sums,
    used,
    used_by_period,
)

SEATS = a_fee("seats", "10")


def notes(found: SimulatedPlan) -> list[str]:
    return [note.code for note in found.notes]


def test_light_as_a_service_in_march() -> None:
    """A contract worked out by hand: fee, usage, and the quantity that is short of what was committed to."""
    plan = a_plan(
        a_fee("fee", "3.28"),
        a_usage_price("light", "per_unit", "0.004305"),
        commitments=(at_least("least", of=["light"], minimum_quantity="100000"),),
    )
    found = simulated(plan, used("light", "85000"), start="2026-03-01", quantities={"fee": "400"})
    assert amounts(found) == [
        [("fee", "400", "1312.00"), ("light", "85000", "365.93"), ("least", "15000", "64.58")]
    ]


def test_furniture_from_the_middle_of_january() -> None:
    """17 of 31 days of desks and chairs; the delivery once and whole."""
    delivery = replace(a_fee("delivery", "120", "flat"), kind="one_time")
    plan = a_plan(a_fee("desks", "9.00"), a_fee("chairs", "4.50"), delivery)
    found = simulated(
        plan, periods=2, quantities={"desks": "10", "chairs": "10"}, in_use=("2026-01-15", None)
    )
    assert sums(found) == ["194.03", "135.00"]
    assert amounts(found)[0] == [
        ("desks", "5.483871", "49.35"),
        ("chairs", "5.483871", "24.68"),
        ("delivery", "1", "120.00"),
    ]
    first = found.periods[0].charges[0]
    assert (first.start_on, first.end_on) == (date(2026, 1, 15), date(2026, 2, 1))


def test_pay_per_wash() -> None:
    plan = a_plan(
        a_fee("fee", "19.95", "flat", tax_behavior="inclusive"),
        a_usage_price("wash", "per_unit", "0.95", included="12", tax_behavior="inclusive"),
    )
    assert sums(simulated(plan, used("wash", "16"), start="2026-05-01")) == ["23.75"]


def test_seats_in_tiers_and_by_volume_and_for_a_part_of_a_month() -> None:
    tiers = (a_tier("50", "30"), a_tier(None, "26"))
    by_tier = a_plan(replace(a_fee("seats", "0", "graduated"), unit_amount=None, tiers=tiers))
    by_volume = a_plan(replace(a_fee("seats", "0", "volume"), unit_amount=None, tiers=tiers))
    asked: dict[str, Any] = {"quantities": {"seats": "64"}, "start": "2026-05-01"}
    assert amounts(simulated(by_tier, **asked)) == [[("seats", "50", "1500.00"), ("seats", "14", "364.00")]]
    assert sums(simulated(by_volume, **asked)) == ["1664.00"]
    april = {**asked, "start": "2026-04-01", "in_use": ("2026-04-10", None)}
    assert amounts(simulated(by_tier, **april))[0][1] == ("seats", "9.8", "254.80")


def test_pages_roll_over_and_overage_comes_in_blocks() -> None:
    """50 pages a month; 40 leave 10 for the next, where 65 take one block of ten, of which 5 are left."""
    pages = a_usage_price("pages", "package", "1", package_size="10", included="50", rollover=Rollover())
    found = simulated(a_plan(pages), *used_by_period("pages", "40", "65", "57"), periods=3)
    assert sums(found) == ["0.00", "1.00", "1.00"]
    after = [period.charges[0].allowance_after for period in found.periods]
    assert [balance.total for balance in after if balance is not None] == [60, 55, 58]
    before = found.periods[1].charges[0].allowance_before
    assert before is not None
    assert (before.included, [entry.quantity for entry in before.rolled_over]) == (50, [10])


def test_a_cap_and_an_end_bound_what_rolls_over() -> None:
    sms = a_usage_price("sms", "per_unit", "1", included="10", rollover=Rollover(cap=Decimal(15), periods=2))
    found = simulated(a_plan(sms), *used_by_period("sms", "0", "0", "0", "30"), periods=4)
    assert sums(found) == ["0.00", "0.00", "0.00", "5.00"]


def test_a_yearly_allowance_is_pooled_over_monthly_charges_and_begins_anew() -> None:
    km = replace(a_usage_price("km", "per_unit", "0.10", included="18000"), allowance_interval_unit="year")
    found = simulated(a_plan(km), used("km", "2000"), periods=14)
    assert sums(found) == ["0.00"] * 9 + ["200.00"] * 3 + ["0.00"] * 2


def test_a_pooled_allowance_is_settled_at_the_end_of_its_year() -> None:
    km = replace(
        a_usage_price("km", "per_unit", "0.10", included="18000"),
        allowance_interval_unit="year",
        allowance_pool="interval",
    )
    found = simulated(a_plan(km), used("km", "2000"), periods=14)
    assert sums(found) == ["0.00"] * 11 + ["600.00"] + ["0.00"] * 2
    settled = found.periods[11].charges[0]
    assert (settled.end_on - settled.start_on).days in (365, 366)
    assert notes(found) == ["allowance_not_settled"]
    whole = simulated(a_plan(replace(km, allowance_pool="subscription")), used("km", "2000"), periods=14)
    assert sums(whole) == ["0.00"] * 14


def test_a_yearly_commitment_is_trued_up_at_the_end_of_its_year() -> None:
    plan = a_plan(
        a_usage_price("light", "per_unit", "0.01"),
        commitments=(at_least("least", per="year", minimum_amount="1200"),),
    )
    found = simulated(plan, used("light", "9000"), periods=13)
    assert sums(found, "light") == ["90.00"] * 13
    assert sums(found, "least") == ["0"] * 11 + ["120.00", "0"]
    assert notes(found) == ["commitment_not_settled"]
    assert "commitment_not_settled" not in notes(simulated(plan, used("light", "9000"), periods=12))


def test_a_commitment_over_two_prices_and_a_cap_over_the_whole_plan() -> None:
    plan = a_plan(
        SEATS,
        a_usage_price("calls", "per_unit", "1"),
        a_usage_price("sms", "per_unit", "0.5"),
        commitments=(
            at_least("talk", of=["calls", "sms"], minimum_amount="100"),
            at_least("all", maximum_amount="90"),
        ),
    )
    found = simulated(plan, used("calls", "30"), used("sms", "20"), quantities={"seats": "6"})
    assert amounts(found)[0][-2:] == [("talk", "1", "60.00"), ("all", "-1", "-10.00")]
    assert [line.kind for charge in found.periods[0].charges[-2:] for line in charge.lines] == [
        "minimum",
        "maximum",
    ]


def test_a_price_has_a_minimum_and_a_maximum_of_its_own() -> None:
    plan = a_plan(a_usage_price("light", "per_unit", "1", minimum_amount="50", maximum_amount="80"))
    found = simulated(plan, *used_by_period("light", "20", "60", "100"), periods=3)
    assert sums(found) == ["50.00", "60.00", "80.00"]
    assert [[line.kind for line in period.charges[0].lines] for period in found.periods] == [
        ["price", "minimum"],
        ["price"],
        ["price", "maximum"],
    ]


def ramp() -> PlanTerms:
    prices = [a_fee("first", "5", phase="start"), a_fee("later", "10", phase="full"), a_fee("always", "1")]
    begun = replace(a_fee("setup", "99", "flat"), kind="one_time")
    switched = replace(a_fee("switch", "7", "flat", phase="full"), kind="one_time")
    return a_plan(*prices, begun, switched, phases=phases(("start", 2), ("full", None)))


def test_a_ramp_begins_low_and_goes_on() -> None:
    found = simulated(ramp(), periods=4)
    assert [period.phase for period in found.periods] == ["start", "start", "full", "full"]
    assert sums(found) == ["105.00", "6.00", "18.00", "11.00"]


def test_a_later_phase_is_simulated_by_its_name() -> None:
    """What was paid at the plan's beginning is not seen there."""
    found = simulated(ramp(), phase="full", periods=2)
    assert sums(found) == ["18.00", "11.00"]


def test_a_yearly_fee_falls_due_once_among_monthly_usage() -> None:
    fee = replace(a_fee("licence", "1200", "flat"), interval_unit="year")
    plan = a_plan(fee, a_usage_price("calls", "per_unit", "1"))
    found = simulated(plan, used("calls", "5"), periods=13)
    assert sums(found, "licence") == ["1200.00"] + ["0"] * 11 + ["1200.00"]
    charge = found.periods[0].charges[0]
    assert (charge.start_on, charge.end_on) == (date(2026, 1, 1), date(2027, 1, 1))


def test_usage_is_summed_over_the_interval_in_which_it_is_charged() -> None:
    plan = a_plan(replace(a_usage_price("calls", "graduated"), interval_unit="month", interval_count=3,
                          tiers=(a_tier("10", "1"), a_tier(None, "0.5"))))  # fmt: skip
    found = simulated(plan, *used_by_period("calls", "6", "0", "8", "1"), periods=4)
    assert amounts(found) == [[], [], [("calls", "10", "10.00"), ("calls", "4", "2.00")], []]
    assert notes(found) == ["not_charged_yet"]


def test_an_annual_plan_with_monthly_usage() -> None:
    usage = replace(a_usage_price("calls", "per_unit", "1"), interval_unit="month")
    plan = a_plan(a_fee("fee", "100", "flat"), usage, interval=YEAR)
    assert sums(simulated(plan, used("calls", "5"), periods=3)) == ["105.00", "5.00", "5.00"]


def test_periods_are_counted_from_the_anchor() -> None:
    found = simulated(a_plan(SEATS), start="2026-02-28", anchor="2026-01-31", periods=3)
    assert [period.start_on for period in found.periods] == [
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
    ]


def test_a_period_of_any_length_stands_for_a_billing_period() -> None:
    assert sums(simulated(a_plan(SEATS), until="2026-01-11", quantities={"seats": "3"})) == ["30.00"]


def test_a_fee_in_arrears_falls_due_at_the_end_and_for_the_part_in_use() -> None:
    fee = replace(a_fee("rent", "310", "flat"), timing="arrears")
    found = simulated(a_plan(fee), periods=2, in_use=("2026-01-22", "2026-02-15"))
    assert sums(found) == ["100.00", "155.00"]


@pytest.mark.parametrize(
    ("proration", "amount"), [("day", "10.00"), ("none", "0"), ("full", "31.00"), ("second", "10.00")]
)
def test_the_part_in_use_is_charged_as_the_price_says(proration: str, amount: str) -> None:
    plan = a_plan(a_fee("rent", "31", "flat", proration=proration))
    assert sums(simulated(plan, in_use=("2026-01-22", None))) == [amount]


def test_nothing_is_charged_after_the_end() -> None:
    plan = a_plan(SEATS, a_usage_price("calls", "per_unit", "1"))
    assert sums(simulated(plan, periods=3, in_use=(None, "2026-02-01"))) == ["10.00", "0", "0"]


@pytest.mark.parametrize(
    ("currency", "unit_amount", "amount"),
    [
        ("JPY", "10.5", "32"),
        ("KWD", "0.0005", "0.002"),
        ("CLF", "0.00005", "0.0002"),
        ("EUR", "0.335", "1.01"),
    ],
)
def test_each_currency_is_rounded_to_its_own_minor_unit(currency: str, unit_amount: str, amount: str) -> None:
    plan = a_plan(a_fee("seats", unit_amount, currency=currency))
    assert sums(simulated(plan, quantities={"seats": "3"})) == [amount]


def test_only_the_prices_of_one_currency_are_taken() -> None:
    plan = a_plan(SEATS, replace(a_fee("seats", "11", currency="USD"), id="pri_usd"))
    assert sums(simulated(plan)) == ["10.00"]
    assert sums(simulated(plan, currency="USD")) == ["11.00"]


def test_a_trial_comes_before_the_first_period() -> None:
    plan = a_plan(SEATS, trial=Trial(Interval("day", 14), Decimal("4.5")))
    found = simulated(plan, with_trial=True)
    assert found.trial is not None
    assert (found.trial.start_on, found.trial.end_on) == (date(2025, 12, 18), date(2026, 1, 1))
    assert found.trial.amount == Money(450, "EUR")
    assert simulated(plan).trial is None
    free = simulated(replace(plan, trial=Trial(Interval("week"))), with_trial=True)
    assert free.trial is not None
    assert free.trial.amount == Money.zero("EUR")
    assert notes(simulated(a_plan(SEATS), with_trial=True)) == ["quantity_assumed", "no_trial"]


def test_what_was_assumed_is_said() -> None:
    plan = a_plan(SEATS, a_fee("base", "5", "flat"), a_usage_price("calls", "per_unit", "1"))
    found = simulated(plan)
    assert sums(found) == ["15.00"]
    assert notes(found) == ["quantity_assumed", "usage_assumed"]


def test_events_levels_and_groups_reach_their_models() -> None:
    card = replace(a_usage_price("card", "percentage", None, rate_percent="2", fixed_amount_per_event="0.25"),
                   free_events=1)  # fmt: skip
    cells = (MatrixCell(("eu",), Decimal(2)), MatrixCell(("*",), Decimal(3)))
    matrix = replace(a_usage_price("gb", "matrix"), dimensions=("region",), cells=cells)
    peak = a_usage_price("kw", "capacity", "4", capacity_basis="peak")
    expression = a_usage_price("hours", "expression", None, expression='sum(value * event("/rate"))')
    events = tuple(GivenEvent(Decimal(value), {"region": region, "rate": 2})
                   for value, region in (("100", "eu"), ("50", "us")))  # fmt: skip
    found = simulated(
        a_plan(card, matrix, peak, expression),
        GivenUsage("/usage/0", meter="card", events=events),
        GivenUsage("/usage/1", meter="gb", events=events),
        GivenUsage(
            "/usage/2", meter="kw", levels=(LevelChange(datetime(2026, 1, 5, tzinfo=UTC), Decimal(7)),)
        ),
        GivenUsage("/usage/3", meter="hours", events=events),
    )
    assert sums(found, "card") == ["1.25"]
    assert sums(found, "gb") == ["350.00"]
    assert sums(found, "kw") == ["28.00"]
    assert sums(found, "hours") == ["300.00"]


def test_every_price_that_cannot_be_rated_is_named() -> None:
    plan = a_plan(
        a_usage_price("card", "percentage", None, rate_percent="2", minimum_amount_per_event="1"),
        replace(
            a_usage_price("gb", "matrix"), dimensions=("region",), cells=(MatrixCell(("eu",), Decimal(2)),)
        ),
    )
    with pytest.raises(SimulationImpossible) as refused:
        simulated(plan, used("card", "100"), used("gb", "5", groups=()), periods=2)
    pointers = {fault["pointer"] for fault in refused.value.errors}
    assert "/usage/0/events" in pointers
    told = " ".join(fault["detail"] for fault in refused.value.errors)
    assert "the price card" in told


def test_amounts_too_large_to_count_are_refused() -> None:
    with pytest.raises(SimulationImpossible):
        simulated(a_plan(a_fee("seats", "999999999999999999")), quantities={"seats": "9" * 20})


quantities = st.integers(0, 200).map(str)


@settings(max_examples=25)
@given(st.lists(quantities, min_size=1, max_size=5))
def test_every_explanation_comes_to_its_charge(months: list[str]) -> None:
    """Worked out again by code that shares nothing with the product's; rollover and commitments included."""
    plan = a_plan(
        a_fee("fee", "9.99"),
        a_usage_price(
            "sms", "package", "1.005", package_size="7", included="20", rollover=Rollover(periods=2)
        ),
        a_usage_price("calls", "graduated", tiers=(a_tier("10", "1.333"), a_tier(None, "0.5", "3"))),
        commitments=(at_least("least", minimum_amount="120.5"), at_least("most", maximum_amount="200")),
    )
    usage = [*used_by_period("sms", *months), *used_by_period("calls", *months)]
    found = simulated(plan, *usage, periods=len(months), in_use=("2026-01-07", None))
    for charge in (charge for period in found.periods for charge in period.charges):
        assert charge.explanation is not None
        worked_out = recompute(json.dumps(charge.explanation.to_json()))
        assert worked_out == [line.amount.amount_minor for line in charge.lines]
        assert total((line.amount for line in charge.lines), "EUR") == charge.amount


@settings(max_examples=25)
@given(st.lists(quantities, min_size=2, max_size=12))
def test_what_rolls_over_makes_nothing_dearer_and_nothing_free_twice(months: list[str]) -> None:
    plain = a_usage_price("sms", "per_unit", "1", included="50")
    rolled = replace(plain, rollover=Rollover(periods=12))
    usage = used_by_period("sms", *months)
    without = sum(Decimal(each) for each in sums(simulated(a_plan(plain), *usage, periods=len(months))))
    with_it = sum(Decimal(each) for each in sums(simulated(a_plan(rolled), *usage, periods=len(months))))
    beyond_all = max(Decimal(0), sum(map(Decimal, months), start=Decimal(0)) - 50 * len(months))
    assert beyond_all <= with_it <= without


def test_a_monthly_allowance_is_not_pooled_over_a_quarterly_charge() -> None:
    """10 a month are free: 4, 20 and 10 leave 10 to pay, whatever was not used before."""
    calls = replace(
        a_usage_price("calls", "per_unit", "1", included="10"),
        interval_unit="month",
        interval_count=3,
        allowance_interval_unit="month",
    )
    usage = used_by_period("calls", "4", "20", "10", "0", "0", "12")
    assert sums(simulated(a_plan(calls), *usage, periods=6)) == ["0", "0", "10.00", "0", "0", "2.00"]
    rolling = replace(calls, rollover=Rollover())
    assert sums(simulated(a_plan(rolling), *usage, periods=6)) == ["0", "0", "4.00", "0", "0", "0.00"]


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("capacity", {"capacity_basis": "peak"}),
        ("package", {"package_size": "5", "rollover": Rollover()}),
    ],
)
def test_what_cannot_be_simulated_is_told_by_the_schedule(model: Model, terms: dict[str, Any]) -> None:
    price = replace(
        a_usage_price("km", model, "1", included="5", **terms),
        interval_unit="year",
        allowance_interval_unit="month",
    )
    timetable = Timetable("UTC", date(2026, 1, 1), date(2026, 1, 1), 12, MONTH)
    planned = schedule(a_plan(price), timetable, currency="EUR", phase=None, at="/candidates/0")
    assert [fault["pointer"] for fault in planned.faults] == ["/candidates/0"]


def test_periods_that_make_no_billing_period_are_refused() -> None:
    weekly = Timetable("UTC", date(2026, 1, 1), date(2026, 1, 1), 12, Interval("week"))
    assert [
        f["pointer"] for f in schedule(a_plan(SEATS), weekly, currency="EUR", phase=None, at="/x").faults
    ] == ["/x"]
