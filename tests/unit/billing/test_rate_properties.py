"""What holds for rating whatever the price and the quantity."""

import re
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import Money, total
from services.billing.domain.rating.price import Model, Price, PriceTier
from services.billing.domain.rating.rate import RatedLine, rate
from services.billing.domain.rating.validate_price import validate_price
from tests.unit.billing.prices import a_price

unit_amounts = st.decimals(0, 1000, places=6)
quantities = st.decimals(0, 10**6, places=3)
fractions = st.fractions(0, 1, max_denominator=366)
included = st.sampled_from(["0", "0.5", "50"])
currencies = st.sampled_from(["EUR", "JPY", "KWD"])


@st.composite
def tier_tuples(draw: st.DrawFn) -> tuple[PriceTier, ...]:
    """Tiers in order, the last without an end."""
    widths = draw(st.lists(st.decimals("0.001", 10**5, places=3), max_size=4))
    ends: list[Decimal | None] = [*accumulate(widths), None]
    flats = st.one_of(st.none(), unit_amounts)
    return tuple(PriceTier(end, draw(unit_amounts), draw(flats)) for end in ends)


@st.composite
def prices(
    draw: st.DrawFn, models: tuple[Model, ...] = ("flat", "per_unit", "package", "graduated", "volume")
) -> Price:
    model = draw(st.sampled_from(models))
    tiered = model in ("graduated", "volume")
    return a_price(
        model,
        None if tiered else str(draw(unit_amounts)),
        tiers=draw(tier_tuples()) if tiered else (),
        package_size=str(draw(st.decimals("0.001", 5000, places=3))) if model == "package" else None,
        included=draw(included),
        currency=draw(currencies),
    )


def worked_out_again(line: RatedLine) -> Fraction:
    """The left side of a formula, evaluated by its own words."""
    expression = line.formula.rpartition(": ")[2].split(" = ")[0].split(" ≈ ")[0]
    expression = re.sub(r"\d+(\.\d+)?", lambda number: f"Fraction('{number[0]}')", expression)
    result = eval(expression, {"Fraction": Fraction, "ceil": lambda blocks: Fraction(-(-blocks // 1))})
    assert isinstance(result, Fraction)
    return result


@given(price=prices(), quantity=quantities, fraction=fractions)
def test_a_price_of_these_tests_is_one_that_can_be_sold(
    price: Price, quantity: Decimal, fraction: Fraction
) -> None:
    assert validate_price(price) == ()
    assert rate(price, quantity, fraction=fraction)


@given(price=prices(), quantity=quantities, fraction=fractions)
def test_rating_again_gives_the_same_bytes(price: Price, quantity: Decimal, fraction: Fraction) -> None:
    assert repr(rate(price, quantity, fraction=fraction)) == repr(rate(price, quantity, fraction=fraction))


@given(price=prices(), quantity=quantities, fraction=fractions)
def test_each_line_is_its_formula_rounded_once(price: Price, quantity: Decimal, fraction: Fraction) -> None:
    for line in rate(price, quantity, fraction=fraction):
        assert worked_out_again(line) == line.exact
        assert Money.from_decimal(line.exact, price.currency) == line.amount
        assert ("≈" in line.formula) == (Fraction(line.amount.to_decimal()) != line.exact)


@given(price=prices(("graduated",)), quantity=quantities)
def test_the_tiers_share_out_the_quantity(price: Price, quantity: Decimal) -> None:
    billable = max(Decimal(0), quantity - price.included_quantity)
    lines = rate(price, quantity)
    assert sum(line.quantity for line in lines) == billable
    assert [line.tier for line in lines] == list(range(1, len(lines) + 1))


@given(price=prices(("per_unit", "package", "graduated")), quantity=quantities, more=quantities)
def test_more_never_costs_less(price: Price, quantity: Decimal, more: Decimal) -> None:
    """Not so for volume, where one unit more may bring a cheaper tier for all."""
    cost, cost_of_more = (
        total((line.amount for line in rate(price, units)), price.currency).amount_minor
        for units in (quantity, quantity + more)
    )
    assert cost <= cost_of_more


@given(price=prices(("graduated",)), quantity=quantities)
def test_graduated_tiers_of_one_price_are_per_unit(price: Price, quantity: Decimal) -> None:
    one_price = tuple(PriceTier(tier.up_to, Decimal("1.5")) for tier in price.tiers)
    graduated = a_price("graduated", tiers=one_price)
    assert sum(line.exact for line in rate(graduated, quantity)) == Fraction(quantity) * Fraction(3, 2)


@given(price=prices(), quantity=quantities, used=fractions)
def test_the_two_parts_of_a_period_differ_from_the_whole_by_a_unit_a_line_at_most(
    price: Price, quantity: Decimal, used: Fraction
) -> None:
    parts = zip(rate(price, quantity, fraction=used), rate(price, quantity, fraction=1 - used), strict=True)
    for (one, other), whole in zip(parts, rate(price, quantity), strict=True):
        assert one.exact + other.exact == whole.exact
        assert abs((one.amount + other.amount - whole.amount).amount_minor) <= 1
