"""Money: whole minor units, one rounding, parts that sum to the whole."""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import (
    MINOR_MAX,
    MINOR_UNITS,
    AmountTooLarge,
    CurrencyMismatch,
    Money,
    UnknownCurrency,
    WeightOfNothing,
    WeightsWithoutSum,
    allocate,
    allocate_by_name,
    apportion,
    exponent,
    round_half_away,
    split_evenly,
    to_minor_unit,
    total,
)

minors = st.integers(-(10**14), 10**14)
amounts = minors.map(lambda minor: Money(minor, "EUR"))
Weight = int | Decimal | Fraction
weight: st.SearchStrategy[Weight] = st.one_of(
    st.integers(-(10**6), 10**6), st.decimals(-1000, 1000, places=4), st.fractions(-9, 9)
)


def sum_of(weights: list[Weight]) -> Fraction:
    return sum((Fraction(weight) for weight in weights), Fraction(0))


weight_lists = st.lists(weight, min_size=1, max_size=12).filter(lambda weights: sum_of(weights) != 0)


class Rounding(NamedTuple):
    name: str
    amount: str
    currency: str
    minor: int


ROUNDINGS = [
    #        name                    amount          currency  minor
    Rounding("tie_goes_up",          "10.005",       "EUR",     1001),
    Rounding("tie_goes_down",        "-10.005",      "EUR",    -1001),
    Rounding("below_the_tie",        "10.00499999",  "EUR",     1000),
    Rounding("even_tie_goes_up_too", "10.025",       "EUR",     1003),
    Rounding("no_decimals",          "0.5",          "JPY",        1),
    Rounding("three_decimals",       "0.1115",       "KWD",      112),
    Rounding("four_decimals",        "1.00005",      "CLF",    10001),
    Rounding("exact",                "12.5",         "EUR",     1250),
    Rounding("zero",                 "-0.00",        "EUR",        0),
]  # fmt: skip


@pytest.mark.parametrize("case", ROUNDINGS, ids=lambda case: case.name)
def test_from_decimal_rounds_half_away_from_zero(case: Rounding) -> None:
    assert Money.from_decimal(Decimal(case.amount), case.currency) == Money(case.minor, case.currency)


def test_a_fraction_is_rounded_from_its_exact_value() -> None:
    assert Money.from_decimal(Fraction(2, 3), "EUR") == Money(67, "EUR")


@given(money=amounts)
def test_decimals_go_there_and_back(money: Money) -> None:
    assert Money.from_decimal(money.to_decimal(), "EUR") == money


def test_to_decimal_keeps_the_decimals_of_the_currency() -> None:
    assert str(Money(1250, "EUR").to_decimal()) == "12.50"
    assert str(Money(1250, "JPY").to_decimal()) == "1250"
    assert str(Money(1250, "KWD").to_decimal()) == "1.250"


@given(numerator=st.integers(-(10**9), 10**9), denominator=st.integers(1, 10**6))
def test_rounding_is_off_by_half_a_unit_at_most_and_symmetric(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    rounded = round_half_away(exact, 2)
    assert abs(exact * 100 - rounded) <= Fraction(1, 2)
    assert round_half_away(-exact, 2) == -rounded


@given(money=amounts, numerator=st.integers(0, 10**6))
def test_a_share_and_the_rest_are_the_whole(money: Money, numerator: int) -> None:
    used = money.share(numerator, 10**6)
    assert used + (money - used) == money
    assert used == -(-money).share(numerator, 10**6)


def test_a_tie_in_a_share_goes_away_from_zero() -> None:
    assert Money(1, "EUR").share(1, 2) == Money(1, "EUR")
    assert Money(-1, "EUR").share(1, 2) == Money(-1, "EUR")


class Split(NamedTuple):
    name: str
    minor: int
    weights: list[int]
    parts: list[int]


SPLITS = [
    #     name                             minor   weights       parts
    Split("thirds_first_bigger",            1000, [1, 1, 1],    [334, 333, 333]),
    Split("a_credit_keeps_the_order",      -1000, [1, 1, 1],    [-333, -333, -334]),
    Split("largest_remainder_wins",          100, [1, 2, 3],    [17, 33, 50]),
    Split("mixed_signs",                     100, [3, -1],      [150, -50]),
    Split("mixed_signs_with_remainders",     100, [4, -1, 4],   [57, -14, 57]),
    Split("a_weight_of_zero_gets_nothing",     5, [0, 1, 1],    [0, 3, 2]),
    Split("nothing_to_split",                  0, [1, 1],       [0, 0]),
    Split("one_cent_for_three",                1, [1, 1, 1],    [1, 0, 0]),
]  # fmt: skip


@pytest.mark.parametrize("case", SPLITS, ids=lambda case: case.name)
def test_allocate(case: Split) -> None:
    parts = allocate(Money(case.minor, "EUR"), case.weights)
    assert [part.amount_minor for part in parts] == case.parts


@given(money=amounts, weights=weight_lists)
def test_parts_sum_to_the_whole_and_stay_within_a_unit(money: Money, weights: list[Weight]) -> None:
    parts = allocate(money, weights)
    assert total(parts, "EUR") == money
    whole = sum_of(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part.amount_minor - money.amount_minor * Fraction(weight) * whole**-1) < 1


@given(money=amounts, parts=st.integers(1, 60))
def test_even_parts_differ_by_a_unit_and_never_grow(money: Money, parts: int) -> None:
    shares = [share.amount_minor for share in split_evenly(money, parts)]
    assert sum(shares) == money.amount_minor
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] <= 1


def test_an_instalment_plan_ends_with_the_smaller_ones() -> None:
    assert split_evenly(Money(99900, "EUR"), 24) == [Money(4163, "EUR")] * 12 + [Money(4162, "EUR")] * 12


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]], ids=["none", "zeros", "cancel_out"])
def test_weights_need_a_sum(weights: list[int]) -> None:
    with pytest.raises(WeightsWithoutSum) as refused:
        allocate(Money(100, "EUR"), weights)
    assert refused.value.code == "weights_without_sum"


def test_currencies_do_not_mix() -> None:
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") + Money(1, "USD")
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") - Money(1, "USD")
    with pytest.raises(CurrencyMismatch):
        total([Money(1, "USD")], "EUR")


@pytest.mark.parametrize("currency", ["EURO", "eur", "", "XAU", "XTS"])
def test_what_nobody_can_pay_in_is_no_currency(currency: str) -> None:
    with pytest.raises(UnknownCurrency) as refused:
        Money(1, currency)
    assert refused.value.code == "unknown_currency"


@pytest.mark.parametrize(("currency", "decimals"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)])
def test_exponent(currency: str, decimals: int) -> None:
    assert exponent(currency) == decimals


def test_the_largest_amount_fits_its_column_and_no_larger_is_made() -> None:
    assert (Money(MINOR_MAX, "EUR") - Money(1, "EUR")).amount_minor == 2**63 - 2
    assert round_half_away(Decimal(-MINOR_MAX), 0) == -MINOR_MAX
    with pytest.raises(AmountTooLarge):
        round_half_away(Decimal(MINOR_MAX + 1), 0)
    with pytest.raises(AmountTooLarge):
        Money(MINOR_MAX, "EUR") + Money(1, "EUR")


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e30", "1e999999999"])
def test_what_cannot_be_counted_is_refused(amount: str) -> None:
    with pytest.raises(AmountTooLarge):
        Money.from_decimal(Decimal(amount), "EUR")


@pytest.mark.parametrize("minor", [1.0, True, Decimal(1)], ids=["float", "bool", "decimal"])
def test_only_whole_numbers_are_minor_units(minor: object) -> None:
    with pytest.raises(AssertionError):
        Money(minor, "EUR")  # type: ignore[arg-type]


@given(
    amount=st.decimals(-(10**14), 10**14, places=9),
    currency=st.sampled_from(["JPY", "EUR", "KWD", "CLF", "UYW"]),
)
def test_the_quick_rounding_is_the_rounding(amount: Decimal, currency: str) -> None:
    rounded = to_minor_unit(amount, MINOR_UNITS[currency])
    assert Money.from_rounded(rounded, currency) == Money.from_decimal(amount, currency)
    assert rounded == Money.from_decimal(amount, currency).to_decimal()


def test_the_quick_rounding_takes_ties_away_from_zero() -> None:
    assert [to_minor_unit(Decimal(tie), MINOR_UNITS["EUR"]) for tie in ("10.005", "-10.005", "0.0149")] == [
        Decimal("10.01"), Decimal("-10.01"), Decimal("0.01")
    ]  # fmt: skip


def test_a_minor_unit_is_that_of_a_known_currency() -> None:
    assert [MINOR_UNITS[code] for code in ("JPY", "EUR", "KWD", "CLF")] == [
        Decimal(told) for told in ("1", "0.01", "0.001", "0.0001")
    ]
    with pytest.raises(UnknownCurrency) as refused:
        MINOR_UNITS["XAU"]
    assert refused.value.facts == {"currency": "XAU"}


def test_what_is_rounded_already_is_held_against_the_bound() -> None:
    assert Money.from_rounded(Decimal("92233720368547758.07"), "EUR").amount_minor == MINOR_MAX
    with pytest.raises(AmountTooLarge):
        Money.from_rounded(Decimal("92233720368547758.08"), "EUR")


@given(gross=st.lists(minors, max_size=9), percent=st.sampled_from(["0", "5.5", "21", "25"]))
def test_shares_of_a_rounded_whole_sum_to_it(gross: list[int], percent: str) -> None:
    """Also where the shares are of either sign, or sum to nothing."""
    part = Fraction(100, 1) * (100 + Fraction(percent)) ** -1
    shares = [minor * part for minor in gross]
    whole = Money.from_decimal(sum(shares, start=Fraction(0)) * Fraction(1, 100), "EUR")
    parts = apportion(whole, shares)
    assert total(parts, "EUR") == whole
    for share, found in zip(shares, parts, strict=True):
        assert 0 <= found.amount_minor - share.__floor__() <= 1


def test_the_missing_units_go_to_the_largest_remainders_ties_to_the_first() -> None:
    assert apportion(Money(2477, "EUR"), [Fraction(99900, 121)] * 3) == [
        Money(minor, "EUR") for minor in (826, 826, 825)
    ]
    assert apportion(Money(1, "EUR"), [Fraction(-1, 3), Fraction(4, 3)]) == [Money(0, "EUR"), Money(1, "EUR")]


def test_shares_of_another_amount_are_our_own_mistake() -> None:
    for minor in (-1, 3):
        with pytest.raises(AssertionError):
            apportion(Money(minor, "EUR"), [Fraction(1, 2), Fraction(1, 2)])


def test_parts_by_name_do_not_depend_on_the_order_in_which_they_are_named() -> None:
    forwards = allocate_by_name(Money(5, "EUR"), {"a": 1, "b": 1, "c": 1})
    backwards = allocate_by_name(Money(5, "EUR"), {"c": 1, "b": 1, "a": 1})
    assert forwards == backwards == {name: Money(n, "EUR") for name, n in (("a", 2), ("b", 2), ("c", 1))}


def test_whoever_gets_nothing_of_what_is_split_by_name_is_left_out() -> None:
    assert allocate_by_name(Money(1, "EUR"), {"a": 1, "b": 1}) == {"a": Money(1, "EUR")}


@pytest.mark.parametrize("nothing", [0, -1])
def test_nobody_is_named_who_weighs_nothing(nothing: int) -> None:
    with pytest.raises(WeightOfNothing) as refused:
        allocate_by_name(Money(5, "EUR"), {"a": 1, "b": nothing})
    assert refused.value.facts == {"parts": ["b"]}
