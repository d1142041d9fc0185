"""Commitments of a period: what was charged for it brought up to the least, or down to the most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest

from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.commitment_charges import commitment_charges, part_agreed_on
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.terms import PeriodTerms
from tests.support.agreed import NOW, Agreed, a_price, lines

BOOK = Agreed()
MARCH = BOOK.period("2026-03-01", "2026-04-01", index=2)
ALL = ("2026-03-01", "2026-04-01")
SEATS = a_price()
LEAST = Commitment("least", "Least", "EUR", minimum_amount=Decimal(50))
MOST = Commitment("most", "Most", "EUR", maximum_amount=Decimal(15))


def terms(
    *commitments: Commitment, spans: Sequence[tuple[str, str]] = (ALL,), quantity: str = "2"
) -> PeriodTerms:
    segments = [BOOK.segment(start, end, quantity, SEATS) for start, end in spans]
    return BOOK.terms(MARCH, *segments, commitments=commitments)


def settled(told: PeriodTerms, charges: Sequence[Charge]) -> list[Charge]:
    return commitment_charges(BOOK.agreement, told, charges, now=NOW)


class Case(NamedTuple):
    name: str
    spans: Sequence[tuple[str, str]]
    part: tuple[int, int]


PARTS = [
    Case("all_of_it", [ALL], (31, 31)),
    Case("nothing", [], (0, 1)),
    Case("ten_days", [("2026-03-01", "2026-03-11")], (10, 31)),
    Case("a_gap", [("2026-03-01", "2026-03-11"), ("2026-03-21", "2026-04-01")], (21, 31)),
    Case("two_over_one_another", [("2026-03-01", "2026-03-21"), ("2026-03-11", "2026-03-26")], (25, 31)),
    Case("one_inside_another", [ALL, ("2026-03-05", "2026-03-11")], (31, 31)),
    Case(
        "changed_in_mid_day",
        [("2026-03-01", "2026-03-11T12:00"), ("2026-03-11T12:00", "2026-04-01")],
        (31, 31),
    ),
]


@pytest.mark.parametrize("case", PARTS, ids=lambda case: case.name)
def test_the_days_in_which_something_is_agreed_on(case: Case) -> None:
    assert part_agreed_on(BOOK.agreement, terms(spans=case.spans)) == Fraction(*case.part)


def test_what_is_short_of_the_least_is_charged() -> None:
    told = terms(LEAST)
    (charge,) = settled(told, BOOK.settle(told))
    assert charge.identity == "sub_1/least/2/commitment/0"
    assert lines([charge]) == [("least", "1", "30.00")]


def test_a_quantity_that_is_short_is_priced_like_its_units_and_counts_towards_the_least() -> None:
    short = replace(LEAST, code="short", price_codes=("seats",), minimum_quantity=Decimal(4))
    told = terms(short)
    found = settled(told, BOOK.settle(told))
    assert lines(found) == [("short", "2", "20.00"), ("short", "1", "10.00")]
    assert [charge.revision for charge in found] == [0, 1]
    assert [line.formula for charge in found for line in rated_lines(charge)] == [
        "short of the quantity committed to: 4 - 2 = 2; 2 * 10 = 20.00 EUR",
        "up to the minimum: 50 - 40 = 10.00 EUR",
    ]


def test_what_is_beyond_the_most_is_given_back() -> None:
    told = terms(MOST)
    (credit,) = settled(told, BOOK.settle(told))
    assert lines([credit]) == [("most", "-1", "-5.00")]


def test_between_the_two_nothing_is_due() -> None:
    told = terms(replace(LEAST, minimum_amount=Decimal(20)), replace(MOST, maximum_amount=Decimal(20)))
    assert settled(told, BOOK.settle(told)) == []


def test_settling_again_adds_the_difference_only() -> None:
    told = terms(LEAST)
    charges = BOOK.settle(told)
    charges += settled(told, charges)
    assert settled(told, charges) == []
    more = terms(LEAST, quantity="4")
    charges += BOOK.settle(more, charges)
    found = settled(more, charges)
    assert [(charge.revision, charge.amount.amount_minor) for charge in found] == [(1, -2000)]
    assert settled(more, charges + found) == []


def test_what_another_price_came_to_does_not_count_towards_what_names_its_prices() -> None:
    told = terms(replace(LEAST, price_codes=("lines",)))
    assert settled(told, BOOK.settle(told)) == []


@pytest.mark.parametrize("other", [{"per": "year"}, {"currency": "USD"}])
def test_by_the_year_and_in_another_currency_nothing_is_settled(other: dict[str, str]) -> None:
    told = terms(replace(LEAST, **other))  # type: ignore[arg-type]
    assert settled(told, BOOK.settle(told)) == []
