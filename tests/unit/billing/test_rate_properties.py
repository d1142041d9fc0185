"""What holds for rating whatever the price and the usage."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import Money, total
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.rating.rate import Rated, RatedLine, rate, rate_usage
from services.billing.domain.rating.usage import Usage, UsageEvent, usage_of
from services.billing.domain.rating.validate_price import validate_price
from tests.unit.billing.prices import JANUARY, T0, a_price
from tests.unit.billing.ratings import (
    MODELS,
    QUANTITY_MODELS,
    event_tuples,
    fractions,
    prices,
    quantities,
    ratings,
)

BY_EVENTS = ("percentage", "matrix", "dynamic", "expression")
hairs = st.decimals("0.001", "0.1", places=3)


def worked_out_again(formula: str) -> Fraction:
    """The left side of a formula, evaluated by its own words."""
    expression = formula.rpartition(": ")[2].split(" = ")[0].split(" ≈ ")[0]
    expression = re.sub(r"\d+(\.\d+)?", lambda number: f"Fraction('{number[0]}')", expression)
    known = {
        "Fraction": Fraction,
        "ceil": lambda x: Fraction(-(-x // 1)),
        "floor": lambda x: Fraction(x // 1),
    }
    result = eval(expression, {**known, "min": min})
    assert isinstance(result, Fraction)
    return result


def cost(price: Price, quantity: Decimal) -> int:
    return total((line.amount for line in rate(price, quantity)), price.currency).amount_minor


def exact_cost(price: Price, quantity: Decimal) -> Fraction:
    return sum((line.exact for line in rate(price, quantity)), start=Fraction(0))


@given(price=prices(MODELS, bounded=True))
def test_a_price_of_these_tests_is_one_that_can_be_sold(price: Price) -> None:
    usage = replace(price, kind="usage", timing="arrears", meter="used")
    assert validate_price(usage if price.model != "flat" else price) == ()


@given(rated=ratings())
def test_rating_again_gives_the_same_bytes(rated: Rated) -> None:
    again = rate_usage(
        rated.price,
        rated.usage,
        rated.period,
        fraction=rated.fraction,
        bounds_fraction=rated.bounds_fraction,
        allowance=rated.opening,
    )
    assert repr(again) == repr(rated)
    assert [line.formula for line in again.lines] == [line.formula for line in rated.lines]


@given(rated=ratings())
def test_each_line_is_its_formula_rounded_once(rated: Rated) -> None:
    for line in rated.lines:
        found = worked_out_again(line.formula)
        assert ("≈" in line.formula) == (Fraction(line.amount.to_decimal()) != found)
        if line.kind == "price":
            assert found == line.exact
            assert Money.from_decimal(line.exact, rated.price.currency) == line.amount
        else:
            product = Fraction(line.quantity) * Fraction(line.unit_amount)
            assert product == line.exact == Fraction(line.amount.to_decimal())
            assert line.unit_amount > 0


@given(price=prices(bounded=True), quantity=quantities, fraction=fractions)
def test_a_bare_quantity_is_rated_like_the_usage_it_is(
    price: Price, quantity: Decimal, fraction: Fraction
) -> None:
    assert rate_usage(price, Usage(quantity), fraction=fraction).lines == rate(
        price, quantity, fraction=fraction
    )


@given(rated=ratings())
def test_a_charge_lies_between_its_bounds(rated: Rated) -> None:
    for bound, sign in ((rated.price.minimum_amount, 1), (rated.price.maximum_amount, -1)):
        if bound is not None:
            edge = Money.from_decimal(Fraction(bound) * rated.bounds_fraction, rated.price.currency)
            assert sign * (rated.amount - edge).amount_minor >= 0


@given(price=prices(("graduated", "graduated_percentage")), quantity=quantities)
def test_the_tiers_share_out_the_quantity(price: Price, quantity: Decimal) -> None:
    billable = max(Decimal(0), quantity - price.included_quantity)
    lines = rate(price, quantity)
    assert sum(Fraction(line.quantity) for line in lines) == billable
    assert [line.tier for line in lines] == list(range(1, len(lines) + 1))


@given(
    price=prices(("flat", "per_unit", "package", "graduated", "graduated_percentage", "dynamic", "capacity")),
    quantity=quantities,
    more=quantities,
)
def test_more_never_costs_less(price: Price, quantity: Decimal, more: Decimal) -> None:
    """Not so for volume, where one unit more may bring a cheaper tier for all."""
    assert cost(price, quantity) <= cost(price, quantity + more)


@given(price=prices(("percentage",)), events=event_tuples(), value=st.decimals(0, 1000, places=2))
def test_another_event_never_makes_a_percentage_cheaper(
    price: Price, events: tuple[UsageEvent, ...], value: Decimal
) -> None:
    later = UsageEvent(T0 + timedelta(days=30), value)
    before, after = (rate_usage(price, usage_of(made)) for made in (events, (*events, later)))
    assert before.amount.amount_minor <= after.amount.amount_minor


@given(price=prices(("graduated", "graduated_percentage")), hair=hairs)
def test_graduated_tiers_are_continuous_but_for_what_is_added_once(price: Price, hair: Decimal) -> None:
    """Just beyond the end of a tier, a hair costs what a hair of the next tier costs, and its flat amount."""
    price = replace(
        price,
        included_quantity=Decimal(0),
        tiers=tuple(replace(tier, cap_amount=None) for tier in price.tiers),
        charges_first_flat_at_zero=True,
    )
    for tier, after in zip(price.tiers, price.tiers[1:], strict=False):
        assert tier.up_to is not None
        if after.up_to is not None and tier.up_to + hair > after.up_to:
            continue
        unit = after.unit_amount if after.rate_percent is None else after.rate_percent.scaleb(-2)
        jump = exact_cost(price, tier.up_to + hair) - exact_cost(price, tier.up_to)
        assert jump == Fraction(hair) * Fraction(unit) + Fraction(after.flat_amount or 0)


@given(price=prices(("volume",)), hair=hairs)
def test_by_volume_the_end_of_a_tier_still_has_its_price(price: Price, hair: Decimal) -> None:
    price = replace(price, included_quantity=Decimal(0))
    for ordinal, tier in enumerate(price.tiers, start=1):
        if tier.up_to is not None:
            assert rate(price, tier.up_to)[0].tier == ordinal
            assert rate(price, tier.up_to + hair)[0].tier > ordinal


@given(price=prices(("graduated",)), quantity=quantities)
def test_graduated_tiers_of_one_price_are_per_unit(price: Price, quantity: Decimal) -> None:
    one_price = tuple(PriceTier(tier.up_to, Decimal("1.5")) for tier in price.tiers)
    graduated = a_price("graduated", tiers=one_price)
    assert exact_cost(graduated, quantity) == Fraction(quantity) * Fraction(3, 2)


@given(price=prices(("per_unit", "dynamic")), one=quantities, other=quantities)
def test_a_quantity_split_over_two_ratings_costs_the_same_but_for_a_rounding(
    price: Price, one: Decimal, other: Decimal
) -> None:
    price = replace(price, included_quantity=Decimal(0))
    assert exact_cost(price, one) + exact_cost(price, other) == exact_cost(price, one + other)
    assert abs(cost(price, one) + cost(price, other) - cost(price, one + other)) <= 1


@given(price=prices(MODELS), quantity=quantities, used=fractions, events=event_tuples())
def test_the_two_parts_of_a_period_differ_from_the_whole_by_a_unit_a_line_at_most(
    price: Price, quantity: Decimal, used: Fraction, events: tuple[UsageEvent, ...]
) -> None:
    usage = usage_of(events) if price.model in BY_EVENTS else Usage(quantity)
    one, other, whole = (
        rate_usage(price, usage, fraction=part).lines for part in (used, 1 - used, Fraction(1))
    )
    for first, second, all_of_it in zip(one, other, whole, strict=True):
        assert first.exact + second.exact == all_of_it.exact
        assert abs((first.amount + second.amount - all_of_it.amount).amount_minor) <= 1


@given(price=prices(BY_EVENTS), events=event_tuples(), data=st.data())
def test_the_order_in_which_events_are_told_changes_nothing(
    price: Price, events: tuple[UsageEvent, ...], data: st.DataObject
) -> None:
    shuffled = tuple(data.draw(st.permutations(events)))
    one, other = (rate_usage(price, usage_of(told), JANUARY).lines for told in (events, shuffled))
    assert [(line.amount, line.exact) for line in one] == [(line.amount, line.exact) for line in other]


@given(price=prices(QUANTITY_MODELS, bounded=True), quantity=quantities)
def test_lines_are_told_apart_by_their_keys(price: Price, quantity: Decimal) -> None:
    lines: tuple[RatedLine, ...] = rate(price, quantity)
    assert len({line.key for line in lines}) == len(lines)
