"""Comparing what came out with what a case expects: numbers as numbers, instants as instants."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.money import Money, round_half_away
from tests.cases.case_files import Case, as_instant

# Fields that some cases pin and that the engine has no word for. Nothing else may be left out of a comparison.
NOT_STATED = {
    ("rate_quantity", "unit_amount"): "the mean price of a unit",
}

FRACTION_DECIMALS = 9


def assert_as_expected(case: Case, found: Mapping[str, Any]) -> None:
    for name, expected in case.expect.items():
        if (case.kind, name) in NOT_STATED:
            continue
        assert name in found, f"{case.id}: nothing came out for {name}"
        assert is_same(expected, found[name]), f"{case.id}: {name} is {found[name]!r}, expected {expected!r}"


def is_same(expected: Any, found: Any) -> bool:
    match found:
        case Mapping():
            return all(is_same(value, found[name]) for name, value in expected.items())
        case list() | tuple():
            pairs = zip(expected, found, strict=False)
            return len(expected) == len(found) and all(is_same(*pair) for pair in pairs)
        case Money():
            return Decimal(str(expected)) == found.to_decimal()
        case datetime():
            return expected is not None and as_instant(expected) == found
        case date():
            return bool(expected == found.isoformat())
        case bool() | str() | None:
            return bool(expected == found)
        case _:
            return expected is not None and Fraction(str(expected)) == Fraction(found)


def rounded_fraction(fraction: Fraction) -> Decimal:
    """Where the convention states fractions with nine decimals."""
    return Decimal(round_half_away(fraction, FRACTION_DECIMALS)).scaleb(-FRACTION_DECIMALS)
