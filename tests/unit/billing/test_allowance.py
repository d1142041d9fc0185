"""Units that cost nothing: what is included, what rolls over, what is left of a block; and pooled over a year."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.domain.rating.allowance import (
    AllowanceBalance,
    RolledOver,
    draw,
    earned_allowance,
    opening_balance,
    renew,
)
from services.billing.domain.rating.price import Price, Rollover
from services.billing.domain.rating.rate import AllowanceNotOffered, rate_usage
from services.billing.domain.rating.rated_line import Covered
from services.billing.domain.rating.usage import Usage
from tests.unit.billing.prices import a_cell, a_price, groups

PAGES = a_price("package", "1", package_size="10", included="50", rollover=Rollover(Decimal(100), 2))
UNITS = a_price("per_unit", "0.10", included="50", rollover=Rollover())


def entries(*found: tuple[str, int]) -> tuple[RolledOver, ...]:
    return tuple(RolledOver(Decimal(quantity), periods) for quantity, periods in found)


def a_balance(
    included: str, rolled: tuple[RolledOver, ...] = (), blocks: tuple[RolledOver, ...] = ()
) -> AllowanceBalance:
    return AllowanceBalance(Decimal(included), rolled, blocks)


class Case(NamedTuple):
    name: str
    price: Price
    opening: AllowanceBalance
    used: str
    covered: tuple[int, int, int]
    billable: str
    closing: AllowanceBalance


CASES = [
    Case("less_than_included", PAGES, a_balance("50", entries(("10", 1))), "40", (40, 0, 0), "0",
         a_balance("10", entries(("10", 1)))),
    Case("included_first", PAGES, a_balance("50", entries(("10", 1))), "50", (50, 0, 0), "0",
         a_balance("0", entries(("10", 1)))),
    Case("then_what_rolled_over", PAGES, a_balance("50", entries(("10", 1))), "55", (50, 5, 0), "0",
         a_balance("0", entries(("5", 1)))),
    Case("what_expires_first_goes_first", PAGES, a_balance("0", entries(("10", 2), ("10", 1))), "15", (0, 15, 0), "0",
         a_balance("0", entries(("5", 2)))),
    Case("then_what_is_left_of_a_block", PAGES, a_balance("50", entries(("10", 1)), entries(("5", 1))), "63",
         (50, 10, 3), "0", a_balance("0", (), entries(("2", 1)))),
    Case("a_new_block_is_begun", PAGES, a_balance("50", entries(("10", 1))), "65", (50, 10, 0), "5",
         a_balance("0", (), entries(("5", 3)))),
    Case("a_full_block_leaves_nothing", PAGES, a_balance("50"), "60", (50, 0, 0), "10", a_balance("0")),
    Case("blocks_beyond_blocks", PAGES, a_balance("0", (), entries(("2", 1))), "15", (0, 0, 2), "13",
         a_balance("0", (), entries(("7", 3)))),
    Case("units_leave_no_block", UNITS, a_balance("50"), "55", (50, 0, 0), "5", a_balance("0")),
    Case("blocks_of_a_price_without_rollover", replace(PAGES, rollover=None), a_balance("50"), "55", (50, 0, 0), "5",
         a_balance("0")),
    Case("blocks_rounded_down_are_not_begun", replace(PAGES, package_rounding="down"), a_balance("50"), "55",
         (50, 0, 0), "5", a_balance("0")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_drawing_on_an_allowance(case: Case) -> None:
    drawn = draw(case.price, Decimal(case.used), case.opening)
    assert drawn.covered == Covered(*(Decimal(units) for units in case.covered))
    assert drawn.billable == Decimal(case.billable)
    assert drawn.closing == case.closing


def test_an_instant_ink_month() -> None:
    """A plan of 50 pages, 10 rolled over, 65 printed: one block of 10, of which 5 pages roll over."""
    rated = rate_usage(PAGES, Usage(Decimal(65)), allowance=a_balance("50", entries(("10", 1))))
    (line,) = rated.lines
    assert (line.quantity, rated.amount) == (1, Money(100, "EUR"))
    assert line.formula == "after 50 included and 10 rolled over: ceil(5 / 10) * 1 = 1.00 EUR"
    assert rated.closing is not None
    assert renew(PAGES, rated.closing) == a_balance("50", (), entries(("5", 2)))
    later = rate_usage(PAGES, Usage(Decimal(54)), allowance=renew(PAGES, rated.closing)).lines[0]
    assert later.formula == "after 50 included and 4 of an earlier block: ceil(0 / 10) * 1 = 0.00 EUR"


class Renewal(NamedTuple):
    name: str
    price: Price
    closing: AllowanceBalance
    opening: AllowanceBalance


RENEWALS = [
    Renewal("nothing_rolls_over_without_a_rollover", a_price("per_unit", "1", included="5"),
            a_balance("3", entries(("2", 3)), entries(("2", 3))), a_balance("5")),
    Renewal("what_is_left_rolls_over", PAGES, a_balance("30"), a_balance("50", entries(("30", 2)))),
    Renewal("nothing_left_is_no_entry", PAGES, a_balance("0"), a_balance("50")),
    Renewal("entries_age_and_expire", PAGES, a_balance("0", entries(("4", 2), ("5", 1)), entries(("6", 1), ("7", 3))),
            a_balance("50", entries(("4", 1)), entries(("7", 2)))),
    Renewal("the_cap_takes_what_expires_first", PAGES, a_balance("50", entries(("70", 2))),
            a_balance("50", entries(("50", 1), ("50", 2)))),
    Renewal("the_cap_takes_whole_entries", replace(PAGES, rollover=Rollover(Decimal(50), 2)),
            a_balance("50", entries(("70", 2))), a_balance("50", entries(("50", 2)))),
    Renewal("the_cap_is_not_for_blocks", replace(PAGES, rollover=Rollover(Decimal(0), 2)),
            a_balance("50", (), entries(("9", 3))), a_balance("50", (), entries(("9", 2)))),
    Renewal("a_lower_plan_clips", replace(PAGES, included_quantity=Decimal(10), rollover=Rollover(Decimal(20), 2)),
            a_balance("30", entries(("9", 2))), a_balance("10", entries(("20", 2)))),
    Renewal("without_a_cap_all_is_kept", UNITS, a_balance("50", entries(("70", 3))),
            a_balance("50", entries(("70", 2), ("50", 1)))),
]  # fmt: skip


@pytest.mark.parametrize("renewal", RENEWALS, ids=lambda renewal: renewal.name)
def test_renewing_an_allowance(renewal: Renewal) -> None:
    opening = renew(renewal.price, renewal.closing)
    assert opening == renewal.opening
    assert opening.total == sum(
        [opening.included, *(entry.quantity for entry in (*opening.rolled_over, *opening.left_of_blocks))]
    )


def test_a_yearly_pool_billed_by_the_month() -> None:
    """18,000 km a year: the months draw on one balance, and only what goes beyond is paid."""
    price = a_price("per_unit", "0.10", included="18000", allowance_interval_unit="year")
    balance = opening_balance(price)
    paid = []
    for kilometres in (7000, 7000, 7000, 100):
        rated = rate_usage(price, Usage(Decimal(kilometres)), allowance=balance)
        assert rated.closing is not None
        balance = rated.closing
        paid.append(rated.amount.amount_minor)
    assert paid == [0, 0, 30000, 1000]
    assert balance == a_balance("0")


@pytest.mark.parametrize(
    ("start", "end", "earned"),
    [
        ("2025-03-15", "2026-11-15", Fraction(30000)),  # 20 months
        ("2025-01-01", "2026-01-01", Fraction(18000)),
        ("2025-01-01", "2025-01-01", Fraction(0)),
        ("2025-01-01", "2025-02-15", 1500 * (1 + Fraction(14, 28))),
        ("2025-01-31", "2025-03-30", 1500 * (1 + Fraction(30, 31))),  # months are counted from the anchor
        ("2024-01-01", "2024-02-15", 1500 * (1 + Fraction(14, 29))),
    ],
)
def test_a_pool_is_earned_by_the_months_held(start: str, end: str, earned: Fraction) -> None:
    found = earned_allowance(Decimal(18000), date.fromisoformat(start), date.fromisoformat(end))
    assert found == earned


def test_balances_are_for_units_of_one_kind() -> None:
    cells = a_price("matrix", dimensions=("p",), cells=(a_cell("1", "*"),), included="5")
    with pytest.raises(AllowanceNotOffered):
        rate_usage(cells, groups("1", ("1", {})), allowance=a_balance("5"))


quantities = st.decimals(0, 500, places=1)


@given(st.lists(quantities, max_size=6), quantities, st.sampled_from([None, "20", "150"]), st.integers(1, 3))
def test_units_are_neither_made_nor_lost(
    used: list[Decimal], size: Decimal, cap: str | None, periods: int
) -> None:
    """What is drawn, paid for and left is what there was; what rolls over stays below the cap, and expires."""
    price = replace(
        PAGES, package_size=size + 1, rollover=Rollover(None if cap is None else Decimal(cap), periods)
    )
    balance = opening_balance(price)
    for quantity in used:
        drawn = draw(price, quantity, balance)
        assert sum(map(Fraction, (*drawn.covered, drawn.billable))) == quantity
        paid = rate_usage(price, Usage(quantity), allowance=balance).lines[0].quantity
        assert Fraction(balance.total) + Fraction(paid) * Fraction(size + 1) == Fraction(quantity) + Fraction(
            drawn.closing.total
        )
        balance = renew(price, drawn.closing)
        assert balance.included == 50
        assert cap is None or sum(entry.quantity for entry in balance.rolled_over) <= Decimal(cap)
        for entry in (*balance.rolled_over, *balance.left_of_blocks):
            assert 1 <= entry.periods_left <= periods
            assert entry.quantity > 0


@given(quantities, quantities)
def test_drawing_twice_is_drawing_the_sum(one: Decimal, other: Decimal) -> None:
    opening = a_balance("50", entries(("30", 2), ("20", 1)))
    first = draw(UNITS, one, opening)
    second = draw(UNITS, other, first.closing)
    whole = draw(UNITS, one + other, opening)
    assert second.closing == whole.closing
    assert Fraction(first.billable) + Fraction(second.billable) == whole.billable
