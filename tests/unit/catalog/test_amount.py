"""What an amount in a price may look like, and its one spelling."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.amount import amount_faults, plain


@pytest.mark.parametrize(
    ("amount", "fault_count"),
    [
        ("0", 0),
        ("0.000000000001", 0),  # twelve decimals
        ("0.0000000000010000", 0),  # zeros at the end are no decimals
        ("0.0000000000001", 1),
        ("999999999999999999", 0),  # eighteen digits
        ("1000000000000000000", 1),
        ("1E+17", 0),
        ("1E+18", 1),
        ("-1", 1),
        ("-0.0000000000001", 2),
        ("NaN", 1),
        ("Infinity", 1),
    ],
)
def test_amount_faults(amount: str, fault_count: int) -> None:
    assert len(list(amount_faults(Decimal(amount), "/amount"))) == fault_count


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        ("5.20", "5.2"),
        ("5", "5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("0.00", "0"),
        ("-0", "0"),
        ("-1.50", "-1.5"),
    ],
)
def test_plain(number: str, spelled: str) -> None:
    assert plain(Decimal(number)) == spelled


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=12))
def test_plain_is_the_same_number_and_the_same_for_equal_numbers(number: Decimal) -> None:
    assert Decimal(plain(number)) == number
    assert plain(Decimal(plain(number))) == plain(number)
