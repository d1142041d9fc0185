"""The reference that payers quote: valid, stable, and one for each document."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iso11649

from services.billing.domain.remittance import (
    creditor_reference,
    in_groups,
    is_creditor_reference,
    number_key,
    quoted_reference,
)


@given(number=st.text(min_size=1, max_size=60), document_id=st.text(min_size=1, max_size=40))
@settings(max_examples=60)
def test_any_number_makes_a_valid_reference(number: str, document_id: str) -> None:
    reference = creditor_reference(number, document_id)
    assert len(reference) <= 25
    assert iso11649.is_valid(reference)
    assert is_creditor_reference(reference)
    found = quoted_reference(in_groups(reference).lower())
    if number_key(number):
        assert found is not None
        assert (found.reference, found.number_key) == (reference, number_key(number))


def test_it_never_changes() -> None:
    """It is printed on paper: what makes another of it makes old documents unfindable."""
    assert creditor_reference("INV-000042", "inv_0123456789abcdefghjkmnpqrs") == "RF90INV000042HICZIN"


def test_one_number_of_two_documents_makes_two() -> None:
    assert creditor_reference("F-000001", "inv_a") != creditor_reference("F-000001", "inv_b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RF",
        "RF18",
        "RF18539007547034x!",
        "RF19539007547034",
        "DE89370400440532013000",
        "RF18 5390 0754 7035",
    ],
)
def test_what_is_no_reference_is_none(text: str) -> None:
    assert quoted_reference(text) is None


def test_the_example_of_the_standard() -> None:
    assert is_creditor_reference("RF18539007547034")
