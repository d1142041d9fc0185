"""What coupons take off: in which order, off which lines, and how it is spread and told."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import CurrencyMismatch, Money, total
from services.billing.domain.discount import (
    Coupon,
    DiscountableLine,
    Discounted,
    apply_coupons,
    explain,
)


def percent(text: str, *, code: str = "p", order: int = 0, products: str = "", plans: str = "") -> Coupon:
    return Coupon(
        code=code,
        name="Off",
        percent=Decimal(text),
        product_ids=tuple(products.split()),
        plan_codes=tuple(plans.split()),
        stacking_order=order,
    )


def amount(
    minor: int,
    *,
    code: str = "a",
    order: int = 0,
    used: int | None = None,
    currency: str = "EUR",
    products: str = "",
) -> Coupon:
    return Coupon(
        code=code,
        name="Off",
        amount=Money(minor, currency),
        product_ids=tuple(products.split()),
        stacking_order=order,
        already_used=None if used is None else Money(used, currency),
    )


def lines_of(*amounts: int, currency: str = "EUR") -> list[DiscountableLine]:
    """Of the products prd_0, prd_1 and so on, all in the plan `base`, but the last in `extra`."""
    return [
        DiscountableLine(
            Money(minor, currency), f"prd_{position}", "extra" if position == len(amounts) - 1 else "base"
        )
        for position, minor in enumerate(amounts)
    ]


class Case(NamedTuple):
    name: str
    lines: list[int]
    coupons: list[Coupon]
    nets: list[int]
    amounts: list[int]


CASES = [
    #    name                        lines             coupons                              nets            amounts
    Case("no_coupon",               [1000],           [],                                  [1000],         []),
    Case("no_line",                 [],               [percent("50"), amount(10)],         [],             [0, 0]),
    Case("a_percentage",            [1000],           [percent("15.5")],                   [845],          [155]),
    Case("all_of_it",               [1000, 1],        [percent("100")],                    [0, 0],         [1001]),
    Case("tie_rounds_away",         [1],              [percent("50")],                     [0],            [1]),
    Case("less_than_half",          [1],              [percent("49.999999")],              [1],            [0]),
    Case("rounded_once_in_all",     [100, 100],       [percent("33.33")],                  [66, 67],       [67]),
    Case("many_small_lines",        [4] * 10,         [percent("10")],                     [3] * 4 + [4] * 6, [4]),
    Case("an_amount",               [1000],           [amount(300)],                       [700],          [300]),
    Case("in_proportion",           [300, 1200],      [amount(750)],                       [150, 600],     [750]),
    Case("exactly_all",             [300, 700],       [amount(1000)],                      [0, 0],         [1000]),
    Case("no_more_than_all",        [300, 700],       [amount(1001)],                      [0, 0],         [1000]),
    Case("largest_remainder",       [100, 100, 100],  [amount(100)],                       [66, 67, 67],   [100]),
    Case("partly_used",             [300],            [amount(12, used=6)],                [294],          [6]),
    Case("used_up",                 [300],            [amount(12, used=12)],               [300],          [0]),
    Case("used_beyond",             [300],            [amount(12, used=13)],               [300],          [0]),
    Case("another_currency",        [300],            [amount(12, currency="USD")],        [300],          [0]),
    Case("one_product",             [1000, 1000],     [percent("10", products="prd_1")],   [1000, 900],    [100]),
    Case("two_products",            [500, 500, 500],  [amount(100, products="prd_0 prd_2")], [450, 500, 450], [100]),
    Case("one_plan",                [1000, 1000],     [percent("10", plans="extra")],      [1000, 900],    [100]),
    Case("product_and_plan",        [1000, 1000],     [percent("10", products="prd_0", plans="extra")],
                                                                                           [1000, 1000],   [0]),
    Case("no_line_of_it",           [1000],           [amount(100, products="prd_9")],     [1000],         [0]),
    Case("each_off_what_is_left",   [10000],          [percent("10", code="x"), percent("10", code="y")],
                                                                                           [8100],         [1000, 900]),
    Case("by_code_within_an_order", [10000],          [amount(1000, code="z"), percent("10", code="b")],
                                                                                           [8000],         [1000, 1000]),
    Case("by_order_before_code",    [10000],          [amount(1000, code="z"), percent("10", code="b", order=1)],
                                                                                           [8100],         [1000, 900]),
    Case("the_second_has_the_rest", [10000],          [amount(8000, code="a"), amount(5000, code="b")],
                                                                                           [0],            [8000, 2000]),
    Case("first_one_then_all",      [1000, 1000],     [amount(500, products="prd_0"), percent("50", code="b")],
                                                                                           [250, 500],     [500, 750]),
    Case("a_credit_is_cut_as_well", [-5000, 10000],   [percent("10")],                     [-4500, 9000],  [500]),
    Case("all_of_a_free_plan",      [-5000, 10000],   [percent("100")],                    [0, 0],         [5000]),
    Case("an_amount_off_the_rest",  [-5000, 10000],   [amount(6000)],                      [0, 0],         [5000]),
    Case("credits_outweigh",        [-5000, 4000],    [percent("10"), amount(100)],        [-5000, 4000],  [0, 0]),
    Case("nothing_left_to_take",    [-5000, 5000],    [percent("10")],                     [-5000, 5000],  [0]),
    Case("a_line_of_nothing",       [0, 100],         [percent("10")],                     [0, 90],        [10]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_coupons_take_off(case: Case) -> None:
    found = apply_coupons(lines_of(*case.lines), case.coupons, "EUR")
    assert [net.amount_minor for net in found.line_nets] == case.nets
    # In the order in which they apply.
    assert [discount.amount.amount_minor for discount in found.discounts] == case.amounts
    assert found.amount.amount_minor == sum(case.amounts)


@pytest.mark.parametrize(
    ("currency", "minor", "off", "left"),
    [("JPY", 1000, "15.5", 845), ("JPY", 1000, "33.333", 667), ("KWD", 1001, "12.5", 876), ("CLF", 12345, "1", 12222)],
)  # fmt: skip
def test_a_currency_has_its_own_minor_unit(currency: str, minor: int, off: str, left: int) -> None:
    found = apply_coupons(lines_of(minor, currency=currency), [percent(off)], currency)
    assert found.line_nets == (Money(left, currency),)


@pytest.mark.parametrize(
    ("coupon", "lines", "told", "remaining"),
    [
        (percent("25", code="spring"), [13000], "spring: 25 % of 130.00 EUR = 32.50 EUR", None),
        (percent("33.33"), [200], "p: 33.33 % of 2.00 EUR ≈ 0.67 EUR", None),
        (
            percent("10"),
            [1000, 0, 3000],
            "p: 10 % of 40.00 EUR = 4.00 EUR, spread over 2 lines in proportion to what was left of each: 1.00, 3.00",
            None,
        ),
        (amount(1000), [2500], "a: 10.00 EUR off 25.00 EUR = 10.00 EUR", 0),
        (
            amount(1000, used=400),
            [500],
            "a: 10.00 EUR, 4.00 EUR of it used before, off 5.00 EUR = 5.00 EUR, 1.00 EUR remain",
            100,
        ),
        (
            amount(1000, currency="USD"),
            [2500],
            "a: 10.00 USD takes nothing off an invoice in EUR",
            1000,
        ),
        (amount(1000), [-500], "a: 10.00 EUR off -5.00 EUR = 0.00 EUR, 10.00 EUR remain", 1000),
    ],
)
def test_a_discount_tells_how_it_came_about(
    coupon: Coupon, lines: list[int], told: str, remaining: int | None
) -> None:
    (discount,) = apply_coupons(lines_of(*lines), [coupon], "EUR").discounts
    assert explain(discount) == told
    assert (discount.remaining.amount_minor if discount.remaining else None) == remaining


def test_all_amounts_are_in_one_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        apply_coupons(lines_of(100, currency="USD"), [percent("10")], "EUR")
    with pytest.raises(CurrencyMismatch):
        Coupon("a", "Off", amount=Money(100, "EUR"), already_used=Money(1, "USD"))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"percent": Decimal(10), "amount": Money(1, "EUR")},
        {"percent": Decimal(0)},
        {"percent": Decimal("100.000001")},
        {"amount": Money(0, "EUR")},
        {"percent": Decimal(10), "already_used": Money(1, "EUR")},
    ],
)
def test_a_coupon_is_worth_one_thing(values: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        Coupon("a", "Off", **values)  # type: ignore[arg-type]


minors = st.integers(-(10**9), 10**12)
percents = st.integers(1, 100 * 10**6).map(lambda millionths: Decimal(millionths).scaleb(-6))
product_sets = st.lists(st.sampled_from(["prd_0", "prd_1", "prd_2"]), unique=True, max_size=2).map(" ".join)
codes, orders, used = st.sampled_from("abc"), st.integers(0, 2), st.none() | st.integers(0, 10**6)
some_coupons = st.lists(
    st.one_of(
        st.builds(percent, percents.map(str), code=codes, order=orders, products=product_sets),
        st.builds(amount, st.integers(1, 10**12), code=codes, order=orders, used=used, products=product_sets),
    ),
    max_size=4,
)
some_lines = st.lists(minors, min_size=1, max_size=4).map(lambda amounts: lines_of(*amounts))


@given(lines=some_lines, coupons=some_coupons)
def test_nothing_is_lost_and_nothing_goes_below_zero(
    lines: list[DiscountableLine], coupons: list[Coupon]
) -> None:
    found = apply_coupons(lines, coupons, "EUR")
    before = total((line.amount for line in lines), "EUR")
    assert total(found.line_nets, "EUR") == before - found.amount
    assert found.amount.amount_minor >= 0
    for line, net in zip(lines, found.line_nets, strict=True):
        # No line changes its sign, nor grows.
        low, high = sorted((0, line.amount.amount_minor))
        assert low <= net.amount_minor <= high
    for discount in found.discounts:
        assert total(discount.parts, "EUR") == discount.amount
        assert 0 <= discount.amount.amount_minor <= max(discount.base.amount_minor, 0)
        available = discount.coupon.available
        if available is not None:
            assert discount.remaining == available - discount.amount


@given(lines=some_lines, coupons=some_coupons, data=st.data())
def test_the_order_in_which_coupons_are_listed_does_not_matter(
    lines: list[DiscountableLine], coupons: list[Coupon], data: st.DataObject
) -> None:
    ranked = [
        Coupon(**{name: getattr(coupon, name) for name in Coupon.__slots__ if name != "code"}, code=f"c{n}")
        for n, coupon in enumerate(coupons)
    ]
    shuffled = data.draw(st.permutations(ranked))
    assert apply_coupons(lines, shuffled, "EUR") == apply_coupons(lines, ranked, "EUR")


@given(amounts=st.lists(st.integers(0, 10**9), min_size=1, max_size=6), off=percents)
def test_a_percentage_is_that_of_the_whole_to_half_a_minor_unit(amounts: list[int], off: Decimal) -> None:
    found = apply_coupons(lines_of(*amounts), [percent(str(off))], "EUR")
    exact = sum(amounts) * Fraction(off) * Fraction(1, 100)
    assert abs(found.amount.amount_minor - exact) <= Fraction(1, 2)


@given(invoices=st.lists(st.integers(0, 10**6), min_size=1, max_size=6), worth=st.integers(1, 10**6))
def test_an_amount_carried_from_invoice_to_invoice_is_used_once(invoices: list[int], worth: int) -> None:
    used = 0
    for invoice in invoices:
        (discount,) = apply_coupons(lines_of(invoice), [amount(worth, used=used)], "EUR").discounts
        used += discount.amount.amount_minor
        assert discount.remaining == Money(worth - used, "EUR")
    assert used == min(worth, sum(invoices))


@given(lines=some_lines, coupons=some_coupons)
def test_every_discount_can_be_told(lines: list[DiscountableLine], coupons: list[Coupon]) -> None:
    found: Discounted = apply_coupons(lines, coupons, "EUR")
    for discount in found.discounts:
        assert explain(discount).startswith(f"{discount.coupon.code}: ")


def test_a_percentage_may_be_one_of_each_line() -> None:
    """33.33 % of 2 x 1.00 are 0.66 line by line, and 0.67 of the sum; an amount is spread all the same."""
    lines = [DiscountableLine(Money(100, "EUR"), "prd", "plan")] * 2
    third = Coupon("T", "Third", percent=Decimal("33.33"))
    by_line = apply_coupons(lines, [third], "EUR", rounds="line")
    assert [net.amount_minor for net in by_line.line_nets] == [67, 67]
    assert (by_line.amount, apply_coupons(lines, [third], "EUR").amount) == (
        Money(66, "EUR"),
        Money(67, "EUR"),
    )
    fixed = Coupon("F", "Fixed", amount=Money(3, "EUR"))
    assert apply_coupons(lines, [fixed], "EUR", rounds="line") == apply_coupons(lines, [fixed], "EUR")
