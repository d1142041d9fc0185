"""Coupons and taxes on simulated periods, and candidates side by side."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from libs.common.money import Money
from libs.common.periods import Interval
from services.billing.domain.discount import Coupon
from services.billing.domain.plan_terms import Trial
from services.billing.domain.simulation.comparison import compare
from services.billing.domain.simulation.settlement import (
    SettledPlan,
    SupposedCoupon,
    Taxes,
    settle_plan,
    tax_faults,
)
from tests.unit.billing.simulations import YEAR, a_fee, a_plan, a_usage_price, at_least, simulated, used

SEATS = a_plan(a_fee("seats", "10"))


def euros(amount: str) -> Money:
    return Money.from_decimal(Decimal(amount), "EUR")


def a_coupon(code: str = "spring", percent: str | None = None, amount: str | None = None) -> Coupon:
    return Coupon(
        code,
        "Spring",
        percent=None if percent is None else Decimal(percent),
        amount=None if amount is None else euros(amount),
    )


def charged(settled: SettledPlan) -> list[str]:
    return [str(period.charged.to_decimal()) for period in settled.periods]


@pytest.mark.parametrize(
    ("coupon", "expected"),
    [
        (SupposedCoupon(a_coupon(percent="25"), "once"), ["7.50", "10.00", "10.00", "10.00"]),
        (SupposedCoupon(a_coupon(percent="25"), "periods", 2), ["7.50", "7.50", "10.00", "10.00"]),
        (SupposedCoupon(a_coupon(percent="25"), "forever"), ["7.50", "7.50", "7.50", "7.50"]),
        (SupposedCoupon(a_coupon(amount="25"), "once"), ["0.00", "0.00", "5.00", "10.00"]),
        (SupposedCoupon(a_coupon(amount="4"), "periods", 2), ["6.00", "6.00", "10.00", "10.00"]),
        (SupposedCoupon(a_coupon(amount="4"), "forever"), ["6.00", "6.00", "6.00", "6.00"]),
        (SupposedCoupon(replace(a_coupon(percent="25"), plan_codes=("other",)), "forever"), ["10.00"] * 4),
        (
            SupposedCoupon(replace(a_coupon(percent="25"), product_ids=("prd_seats",)), "forever"),
            ["7.50"] * 4,
        ),
    ],
)
def test_a_coupon_lasts_as_long_as_it_says(coupon: SupposedCoupon, expected: list[str]) -> None:
    assert charged(settle_plan(simulated(SEATS, periods=4), [coupon], None)) == expected


def test_an_amount_for_each_year_is_used_up_within_it() -> None:
    """Months are simulated, but the plan is billed by the year: that is the coupon's period."""
    plan = a_plan(
        a_fee("fee", "5", "flat"), replace(a_usage_price("calls", "per_unit", "1"), interval_unit="month"),
        interval=YEAR,
    )  # fmt: skip
    found = simulated(plan, used("calls", "6"), periods=14)
    settled = settle_plan(found, [SupposedCoupon(a_coupon(amount="15"), "forever")], None)
    assert charged(settled) == ["0.00", "2.00"] + ["6.00"] * 10 + ["0.00", "2.00"]


def test_coupons_stack_and_never_go_below_zero() -> None:
    first = replace(a_coupon("a", amount="8"), stacking_order=1)
    then = replace(a_coupon("b", percent="50"), stacking_order=2)
    settled = settle_plan(
        simulated(SEATS), [SupposedCoupon(then, "forever"), SupposedCoupon(first, "forever")], None
    )
    (period,) = settled.periods
    assert [(found.code, found.amount) for found in period.discounts] == [
        ("a", euros("8")),
        ("b", euros("1")),
    ]
    assert (period.charged, settled.discount) == (euros("1"), euros("9"))
    assert period.discounts[1].told == "b: 50 % of 2.00 EUR = 1.00 EUR"


def test_tax_that_is_included_is_split_and_other_tax_comes_on_top() -> None:
    """Pay per wash: 16.49 + 3.14 net of 23.75."""
    inclusive = {"tax_behavior": "inclusive", "tax_category": "wash"}
    plan = a_plan(
        a_fee("fee", "19.95", "flat", **inclusive),
        a_usage_price("wash", "per_unit", "0.95", included="12", **inclusive),
        a_fee("delivery", "10", "flat"),
    )
    taxes: Taxes = {"wash": Decimal(21), None: Decimal(9)}
    settled = settle_plan(simulated(plan, used("wash", "16")), [], taxes)
    (period,) = settled.periods
    assert period.nets is not None
    assert [net for charge in period.nets for net in charge] == [euros("16.49"), euros("3.14"), euros("10")]
    assert (settled.net, settled.tax, settled.total) == (euros("29.63"), euros("5.02"), euros("34.65"))
    assert [(group.category, group.tax) for group in settled.tax_groups] == [
        ("", euros("0.9")),
        ("wash", euros("4.12")),
    ]


def test_the_discount_comes_before_the_tax() -> None:
    settled = settle_plan(
        simulated(SEATS, periods=2),
        [SupposedCoupon(a_coupon(percent="50"), "once")],
        {None: Decimal(21)},
    )
    assert (settled.charged, settled.tax, settled.total) == (euros("15"), euros("3.15"), euros("18.15"))


def test_a_trial_is_taxed_and_not_discounted() -> None:
    plan = replace(SEATS, trial=Trial(Interval("week"), Decimal(4)))
    settled = settle_plan(
        simulated(plan, with_trial=True),
        [SupposedCoupon(a_coupon(percent="50"), "forever")],
        {None: Decimal(25)},
    )
    assert (settled.amount, settled.charged, settled.tax) == (euros("14"), euros("9"), euros("2.25"))


def test_a_category_without_a_percentage_is_named() -> None:
    plan = a_plan(a_fee("seats", "10", tax_category="books"), a_fee("base", "1"))
    found = simulated(plan)
    assert [fault["pointer"] for fault in tax_faults(found, {"other": Decimal(1)}, "/taxes")] == [
        "/taxes"
    ] * 2
    assert not tax_faults(found, {None: Decimal(1)}, "/taxes")
    assert len(tax_faults(found, {"books": Decimal(1)}, "/taxes")) == 1


def test_candidates_are_compared_with_the_first_price_by_price() -> None:
    old = a_plan(a_fee("seats", "10"), a_usage_price("calls", "per_unit", "1"))
    new = a_plan(
        a_fee("seats", "8"),
        a_fee("support", "5", "flat"),
        commitments=(at_least("least", minimum_amount="20"),),
    )
    asked = {"periods": 2}
    settled = [
        settle_plan(simulated(plan, used("calls", "3"), **asked), coupons, None)  # type: ignore[arg-type]
        for plan, coupons in ((old, []), (new, [SupposedCoupon(a_coupon(amount="6"), "once")]))
    ]
    (found,) = compare(settled)
    assert (found.before, found.after, found.difference) == (euros("26"), euros("34"), euros("8"))
    assert found.says == "8.00 EUR more than the first."
    assert [(c.kind, c.code, c.before, c.after, c.difference) for c in found.charges] == [
        ("price", "seats", euros("20"), euros("16"), euros("-4")),
        ("price", "calls", euros("6"), None, euros("-6")),
        ("price", "support", None, euros("10"), euros("10")),
        ("commitment", "least", None, euros("14"), euros("14")),
        ("discount", "spring", None, euros("-6"), euros("-6")),
    ]
    assert sum((c.difference for c in found.charges), start=euros("0")) == found.difference


def test_with_taxes_the_totals_are_compared() -> None:
    inclusive = a_plan(a_fee("seats", "12.10", tax_behavior="inclusive"))
    settled = [settle_plan(simulated(plan), [], {None: Decimal(21)}) for plan in (SEATS, inclusive)]
    (found,) = compare(settled)
    assert (found.difference, found.says) == (euros("0"), "As much as the first.")


def test_different_currencies_are_not_compared() -> None:
    dollars = a_plan(a_fee("seats", "10", currency="USD"))
    settled = [settle_plan(simulated(plan), [], None) for plan in (SEATS, dollars)]
    (found,) = compare(settled)
    assert (found.difference, found.charges) == (None, ())
    assert found.says == "One is in EUR, the other in USD: they are not compared."
