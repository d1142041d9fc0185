"""Explanations: what they say, and that they can be worked out again by code that shares nothing with rating."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.domain.rating.allowance import AllowanceBalance, RolledOver
from services.billing.domain.rating.commitment import Commitment, Spent, settle
from services.billing.domain.rating.explain import explain
from services.billing.domain.rating.explain_commitment import explain_commitment
from services.billing.domain.rating.explanation import Explanation
from services.billing.domain.rating.price import Rollover
from services.billing.domain.rating.rate import Rated, rate_usage
from services.billing.domain.rating.usage import Usage
from tests.support.recompute import recompute
from tests.unit.billing.prices import JANUARY, T0, a_cell, a_price, a_tier, events, groups, levels
from tests.unit.billing.ratings import ratings

SEATS = a_price("graduated", tiers=(a_tier("50", "30"), a_tier(None, "26")), currency="USD")


def minors_of(explanation: Explanation) -> list[int]:
    return recompute(json.dumps(explanation.to_json()))


@given(rated=ratings())
def test_every_explanation_comes_to_the_same_minor_units(rated: Rated) -> None:
    explanation = explain(rated)
    assert minors_of(explanation) == [line.amount.amount_minor for line in rated.lines]
    assert Decimal(explanation.amount) == rated.amount.to_decimal()
    assert explanation.paragraph().endswith(f"{rated.amount.to_decimal()} {rated.price.currency}.")


PARAGRAPHS = [
    (
        rate_usage(SEATS, Usage(Decimal(64)), fraction=Fraction(7, 10)),
        "Desk is priced graduated, in USD. The quantity is 64. "
        "Tier 1, up to 50: units up to here: the least of 64, 50 = 50; 50 * 30 = 1500; "
        "for a part of the period: 1500 * 7/10 = 1050; that is 1050.00 USD. "
        "Tier 2, above 50: units in the tier: 64 - 50 = 14; 14 * 26 = 364; "
        "for a part of the period: 364 * 7/10 = 254.8; that is 254.80 USD. Together: 1304.80 USD.",
    ),
    (
        rate_usage(
            replace(a_price("package", "1", package_size="10", included="50"), rollover=Rollover()),
            Usage(Decimal(65)),
            allowance=AllowanceBalance(
                Decimal(50), (RolledOver(Decimal(7), 1), RolledOver(Decimal(1), 2)), (RolledOver(Decimal(2), 1),)
            ),
        ),
        "Desk is priced package, in EUR. The quantity is 65. "
        "Free, still included: the least of 65, 50 = 50; that leaves: 65 - 50 = 15; "
        "free, rolled over from earlier: the least of 15, 8 = 8; that leaves: 15 - 8 = 7; "
        "free, left of blocks paid earlier: the least of 7, 2 = 2; that leaves: 7 - 2 = 5. "
        "In packages: 5 / 10 = 0.5; whole packages: rounded up, 0.5 = 1; units paid for: 1 * 10 = 10; "
        "kept for later: 10 - 5 = 5; 1 * 1 = 1; that is 1.00 EUR.",
    ),
    (
        rate_usage(
            a_price("volume", included="10", tiers=(a_tier("5", "1"), a_tier(None, "0.333", "2", cap="3"))),
            Usage(Decimal(20)),
        ),
        "Desk is priced volume, in EUR. The quantity is 20. Without what is included: 20 - 10 = 10; "
        "to be paid: the greatest of 0, 10 = 10. "
        "Tier 2, above 5: 10 * 0.333 = 3.33; with what is added once: 3.33 + 2 = 5.33; "
        "at most: the least of 5.33, 3 = 3; that is 3.00 EUR.",
    ),
    (
        rate_usage(a_price("flat", "9.99", minimum_amount="12", maximum_amount="20"), Usage(Decimal(1))),
        "Desk is priced flat, in EUR. The quantity is 1. 1 * 9.99 = 9.99; that is 9.99 EUR. "
        "Up to the minimum: the lines so far: 9.99; 12 - 9.99 = 2.01; that is 2.01 EUR. Together: 12.00 EUR.",
    ),
    (
        rate_usage(
            a_price("per_unit", "9.99", maximum_amount="10"), Usage(Decimal(3)), bounds_fraction=Fraction(1, 3)
        ),
        "Desk is priced per unit, in EUR. The quantity is 3. 3 * 9.99 = 29.97; that is 29.97 EUR. "
        "Beyond the maximum: for a part of the period: 10 * 1/3 = 10/3 (about 3.333333); "
        "to the minor unit: 10/3 rounded to 2 decimals = 3.33; the lines so far: 29.97; "
        "3.33 - 29.97 = -26.64; that is -26.64 EUR. Together: 3.33 EUR.",
    ),
    (
        rate_usage(
            a_price("percentage", rate_percent="1.3", fixed_amount_per_event="2", free_amount="50"),
            events("50", "100", "250"),
        ),
        "Desk is priced percentage, in EUR. The quantity is 400. As a share: 1.3 * 0.01 = 0.013; "
        "the amounts that are not free: the sum of 100, 250 = 350; the fees of the events: the sum of 3.3, 5.25 = 8.55; "
        "of which the percentage is: 350 * 0.013 = 4.55; and the rest: 8.55 - 4.55 = 4; 350 * 0.013 = 4.55; "
        "with what is added once: 4.55 + 4 = 8.55; that is 8.55 EUR.",
    ),
    (
        rate_usage(a_price("percentage", rate_percent="1", fixed_amount_per_event="0.1", free_amount="0"),
                   Usage(Decimal(400), event_count=3)),
        "Desk is priced percentage, in EUR. The quantity is 400. As a share: 1 * 0.01 = 0.01; "
        "the fixed parts: 3 * 0.1 = 0.3; 400 * 0.01 = 4; with what is added once: 4 + 0.3 = 4.3; that is 4.30 EUR.",
    ),
    (
        rate_usage(a_price("percentage", rate_percent="1", free_amount="500"), Usage(Decimal(400))),
        "Desk is priced percentage, in EUR. The quantity is 400. As a share: 1 * 0.01 = 0.01; "
        "400 - 500 = -100; not free: the greatest of 0, -100 = 0; 0 * 0.01 = 0; that is 0.00 EUR.",
    ),
    (
        rate_usage(
            a_price(
                "graduated_percentage",
                tiers=(a_tier("10", "0", "200", percent="1"), a_tier(None, "0", percent="2")),
            ),
            Usage(Decimal(11)),
        ),
        "Desk is priced graduated percentage, in EUR. The quantity is 11. "
        "Tier 1, up to 10: units up to here: the least of 11, 10 = 10; as a share: 1 * 0.01 = 0.01; 10 * 0.01 = 0.1; "
        "with what is added once: 0.1 + 200 = 200.1; that is 200.10 EUR. "
        "Tier 2, above 10: units in the tier: 11 - 10 = 1; as a share: 2 * 0.01 = 0.02; 1 * 0.02 = 0.02; "
        "that is 0.02 EUR. Together: 200.12 EUR.",
    ),
    (
        rate_usage(
            a_price("matrix", dimensions=("region",), cells=(a_cell("2", "eu"), a_cell("3", "*")), included="2"),
            groups("7", ("1", {"region": "eu"}), ("2", {"region": "us"}), ("4", {"region": "uk"})),
        ),
        "Desk is priced matrix, in EUR. The quantity is 7. "
        "Cell eu: units of the cell: 1; still included: 2 - 0 = 2; free: the least of 2, 1 = 1; to be paid: 1 - 1 = 0; "
        "0 * 2 = 0; that is 0.00 EUR. "
        "Cell *: units of the cell: the sum of 2, 4 = 6; still included: 2 - 1 = 1; free: the least of 1, 6 = 1; "
        "to be paid: 6 - 1 = 5; 5 * 3 = 15; that is 15.00 EUR. Together: 15.00 EUR.",
    ),
    (
        rate_usage(
            a_price(
                "matrix",
                dimensions=("p", "q"),
                cells=(a_cell("2", "a", "*"), a_cell("3", "b", "c"), a_cell("4", "*", "*")),
                included="2",
            ),
            groups("9", ("5", {"p": "a", "q": "x"}), ("4", {"p": "b", "q": "c"})),
        ),
        "Desk is priced matrix, in EUR. The quantity is 9. "
        "Cell a, *: units of the cell: 5; still included: 2 - 0 = 2; free: the least of 2, 5 = 2; to be paid: 5 - 2 = 3; "
        "3 * 2 = 6; that is 6.00 EUR. "
        "Cell b, c: units of the cell: 4; still included: 2 - 2 = 0; free: the least of 0, 4 = 0; to be paid: 4 - 0 = 4; "
        "4 * 3 = 12; that is 12.00 EUR. Together: 18.00 EUR.",
    ),
    (
        rate_usage(a_price("capacity", "1", capacity_basis="peak"), levels((0, "5"), (24, "7")), JANUARY),
        "Desk is priced capacity, in EUR. The quantity is 7. The peak: 7. 7 * 1 = 7; that is 7.00 EUR.",
    ),
    (
        rate_usage(a_price("capacity", "1", capacity_basis="time_weighted"), levels((0, "5"), (24, "7")), JANUARY),
        "Desk is priced capacity, in EUR. The quantity is 215/31. Levels by the time that they lasted: "
        "the sum of 432000000000, 18144000000000 = 18576000000000; "
        "the mean over the period: 18576000000000 / 2678400000000 = 215/31 (about 6.935484). "
        "215/31 * 1 = 215/31 (about 6.935484); to the minor unit: 215/31 rounded to 2 decimals = 6.94; "
        "that is 6.94 EUR.",
    ),
    (
        rate_usage(
            a_price("expression", expression='max(5, sum(value * event("/km")) / 4) + if(quantity > 2, 1, 2)'),
            events("1", "1", "2", "2", "2", "2", "2", km=2),
        ),
        "Desk is priced expression, in EUR. The quantity is 12. The sum of 7 numbers = 24; 24 / 4 = 6; "
        "the greatest of 5, 6 = 6; 12 > 2 is true; hence 1; 6 + 1 = 7; 1 * 7 = 7; that is 7.00 EUR.",
    ),
    (
        rate_usage(
            a_price("capacity", tiers=(a_tier("5", "1"), a_tier(None, "2")), capacity_basis="peak", included="1"),
            Usage(Decimal(7)),
        ),
        "Desk is priced capacity, in EUR. The quantity is 7. Without what is included: 7 - 1 = 6; "
        "to be paid: the greatest of 0, 6 = 6. Tier 1, up to 5: units up to here: the least of 6, 5 = 5; 5 * 1 = 5; "
        "that is 5.00 EUR. Tier 2, above 5: units in the tier: 6 - 5 = 1; 1 * 2 = 2; that is 2.00 EUR. "
        "Together: 7.00 EUR.",
    ),
    (
        rate_usage(
            a_price("capacity", "1", capacity_basis="time_weighted"), levels((0, "5")), JANUARY.split(T0)[0]
        ),
        "Desk is priced capacity, in EUR. The quantity is 0. 0 * 1 = 0; that is 0.00 EUR.",
    ),
    (
        rate_usage(
            a_price(
                "percentage",
                rate_percent="2.99",
                free_amount="30",
                minimum_amount_per_event="1.75",
                maximum_amount_per_event="12",
            ),
            events("10", "80", "20", "10000"),
        ),
        "Desk is priced percentage, in EUR. The quantity is 10110. As a share: 2.99 * 0.01 = 0.0299; "
        "the amounts that are not free: the sum of 60, 20, 10000 = 10080; "
        "the fees of the events: the sum of 1.794, 1.75, 12 = 15.544; "
        "of which the percentage is: 10080 * 0.0299 = 301.392; and the rest: 15.544 - 301.392 = -285.848; "
        "10080 * 0.0299 = 301.392; with what is added once: 301.392 + -285.848 = 15.544; "
        "to the minor unit: 15.544 rounded to 2 decimals = 15.54; that is 15.54 EUR.",
    ),
    (
        rate_usage(
            a_price(
                "expression",
                expression='sum(if(event("/class") == "gold" and not value < 2, round(value / 3, 1), ceil(-value)))'
                " + abs(included - event_count) * billable + quantity",
                included="1",
            ),
            events("1", "2", **{"class": "gold"}),
        ),
        "Desk is priced expression, in EUR. The quantity is 3. Without what is included: 3 - 1 = 2; "
        "to be paid: the greatest of 0, 2 = 2. The sum of -1, 0.7 = -0.3; 1 - 2 = -1; without its sign, -1 = 1; "
        "1 * 2 = 2; -0.3 + 2 = 1.7; 1.7 + 3 = 4.7; 1 * 4.7 = 4.7; that is 4.70 EUR.",
    ),
    (
        rate_usage(
            a_price("expression", expression='sum(if(event("/class") != "tin" or value >= 5, 1, 2))'), events("1")
        ),
        "Desk is priced expression, in EUR. The quantity is 1. 1; 1 * 1 = 1; that is 1.00 EUR.",
    ),
    (
        rate_usage(
            a_price("package", "3", package_size="10", package_rounding="down", included="1"), Usage(Decimal("30.5"))
        ),
        "Desk is priced package, in EUR. The quantity is 30.5. Without what is included: 30.5 - 1 = 29.5; "
        "to be paid: the greatest of 0, 29.5 = 29.5. In packages: 29.5 / 10 = 2.95; "
        "whole packages: rounded down, 2.95 = 2; 2 * 3 = 6; that is 6.00 EUR.",
    ),
    (
        rate_usage(
            a_price("expression", expression="if(quantity > 1 and not (quantity <= 2 or quantity == 3), 1, 2 / 3)"),
            Usage(Decimal(3)),
        ),
        "Desk is priced expression, in EUR. The quantity is 3. 3 > 1 is true; 3 <= 2 is false; 3 == 3 is true; "
        "one of false, true is true; not true is false; all of true, false is false; 2 / 3 = 2/3 (about 0.666667); "
        "hence 2/3 (about 0.666667); 1 * 2/3 = 2/3 (about 0.666667); "
        "to the minor unit: 2/3 rounded to 2 decimals = 0.67; that is 0.67 EUR.",
    ),
    (
        rate_usage(
            a_price(
                "expression",
                expression='sum(event("/km")) + sum(if(event("/class") == "größer", 1, event("/no", 2)))',
            ),
            events("1", "1", "1", "1", "1", "1", km=2, **{"class": "größer"}),
        ),
        "Desk is priced expression, in EUR. The quantity is 6. The sum of 2, 2, 2, 2, 2, 2 = 12; "
        "the sum of 1, 1, 1, 1, 1, 1 = 6; 12 + 6 = 18; 1 * 18 = 18; that is 18.00 EUR.",
    ),
    (
        rate_usage(
            a_price("expression", expression='sum(if(event("/class") == "x", 1, 2))'), events("1", **{"class": ""})
        ),
        "Desk is priced expression, in EUR. The quantity is 1. 2; 1 * 2 = 2; that is 2.00 EUR.",
    ),
    (
        rate_usage(a_price("expression", expression="sum(value)"), events()),
        "Desk is priced expression, in EUR. The quantity is 0. The sum of nothing = 0; 1 * 0 = 0; that is 0.00 EUR.",
    ),
    (
        rate_usage(a_price("dynamic"), events("1.5", "2")),
        "Desk is priced dynamic, in EUR. The quantity is 3.5. 3.5 * 1 = 3.5; that is 3.50 EUR.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rated", "paragraph"), PARAGRAPHS, ids=lambda found: getattr(found, "price", None) and found.price.model
)
def test_a_paragraph_for_people(rated: Rated, paragraph: str) -> None:
    assert explain(rated).paragraph() == paragraph


KEPT = Path(__file__).with_name("explanations.json")


@pytest.mark.parametrize(
    ("rollover", "rounding", "is_kept"),
    [(Rollover(), "up", True), (None, "up", False), (Rollover(), "down", False)],
)
def test_only_a_block_that_was_begun_leaves_something_for_later(
    rollover: Rollover | None, rounding: str, is_kept: bool
) -> None:
    price = a_price("package", "1", package_size="10", package_rounding=rounding, rollover=rollover)
    rated = rate_usage(price, Usage(Decimal(15)), allowance=AllowanceBalance(Decimal(0)))
    assert ("kept for later: 20 - 15 = 5" in explain(rated).paragraph()) == is_kept
    assert ("kept for later" in explain(rated).paragraph()) == is_kept
    assert rated.closing == AllowanceBalance(Decimal(0), (), (RolledOver(Decimal(5), 2),) if is_kept else ())


def told() -> list[Any]:
    """Whole explanations, as programs get them."""
    spent = [
        Spent(LIGHT, Decimal(85000), Money(36593, "EUR")),
        Spent(LIGHT, Decimal(5000), Money(2153, "EUR")),
    ]
    capped = replace(BOTH, minimum_quantity=None, minimum_amount=None, maximum_amount=Decimal("300.005"))
    return [
        *[explain(rated).to_json() for rated, _ in PARAGRAPHS],
        explain_commitment(BOTH, spent, fraction=Fraction(11, 12)).to_json(),
        explain_commitment(capped, spent).to_json(),
    ]


def test_the_json_for_programs_is_as_it_was() -> None:
    """`python -m tests.unit.billing.test_explain` writes the file anew; whoever does reads what has changed."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert told() == kept
    for each in kept:
        assert recompute(json.dumps(each))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"51"', '"52"'), ('"26.00"', '"26.01"'), ('"1526.00"', '"1526.01"'), ('"*"', '"+"'), ('"2"', "2")],
)
def test_an_explanation_that_was_altered_is_found_out(old: str, new: str) -> None:
    told = json.dumps(explain(rate_usage(SEATS, Usage(Decimal(51)))).to_json())
    assert recompute(told) == [150000, 2600]
    assert old in told
    with pytest.raises(AssertionError):
        recompute(told.replace(old, new))


LIGHT = replace(a_price("per_unit", "0.004305"), code="light")
BOTH = Commitment(
    "light", "Light", "EUR", ("light",), minimum_quantity=Decimal(100_000), minimum_amount=Decimal(500)
)


def test_a_commitment_is_explained_likewise() -> None:
    explanation = explain_commitment(BOTH, [Spent(LIGHT, Decimal(85000), Money(36593, "EUR"))])
    assert explanation.paragraph() == (
        "Light is a commitment, in EUR. "
        "Short of the quantity committed to: used: 85000; short: 100000 - 85000 = 15000; "
        "15000 * 0.004305 = 64.575; to the minor unit: 64.575 rounded to 2 decimals = 64.58; that is 64.58 EUR. "
        "Up to the minimum: what it came to: the sum of 365.93, 64.58 = 430.51; 500 - 430.51 = 69.49; "
        "that is 69.49 EUR. Together: 134.07 EUR."
    )
    assert explanation.price_code == "light"
    assert minors_of(explanation) == [6458, 6949]


@given(
    quantity=st.decimals(0, 10**6, places=2),
    minors=st.lists(st.integers(0, 10**6), min_size=1, max_size=3),
    least=st.one_of(st.none(), st.decimals(0, 5000, places=3)),
    most=st.one_of(st.none(), st.decimals(5000, 6000, places=3)),
    units=st.one_of(st.none(), st.decimals(0, 10**6, places=2)),
    fraction=st.fractions(0, 1, max_denominator=366),
)
def test_every_commitment_comes_to_the_same_minor_units(
    quantity: Decimal,
    minors: list[int],
    least: Decimal | None,
    most: Decimal | None,
    units: Decimal | None,
    fraction: Fraction,
) -> None:
    terms = replace(BOTH, minimum_amount=least, maximum_amount=most, minimum_quantity=units)
    spent = [Spent(LIGHT, quantity, Money(minor, "EUR")) for minor in minors]
    lines = settle(terms, spent, fraction=fraction)
    explanation = explain_commitment(terms, spent, fraction=fraction)
    assert minors_of(explanation) == [line.amount.amount_minor for line in lines]


if __name__ == "__main__":
    KEPT.write_text(json.dumps(told(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
