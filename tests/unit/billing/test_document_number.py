"""Numbers: what stands before the ordinal, and that none is missing or taken twice, whatever is changed midway."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.document_number import NumberReset, document_number, number_head
from services.billing.domain.seller import NumberedKind, number_head_of
from tests.support.billing import a_seller


@pytest.mark.parametrize(
    ("prefix", "reset", "issued_on", "ordinal", "number"),
    [
        ("INV-", "never", date(2026, 5, 1), 1, "INV-000001"),
        ("INV-", "never", date(2027, 5, 1), 999_999, "INV-999999"),
        ("INV-", "never", date(2027, 5, 1), 1_000_000, "INV-1000000"),
        ("F-", "year", date(2026, 12, 31), 17, "F-2026-000017"),
        ("F-", "year", date(2027, 1, 1), 1, "F-2027-000001"),
    ],
)
def test_a_number(prefix: str, reset: NumberReset, issued_on: date, ordinal: int, number: str) -> None:
    assert document_number(number_head(prefix, reset, issued_on), ordinal) == number


@pytest.mark.parametrize(
    ("changes", "heads"),
    [
        ({}, ("INV-", "CN-", "DEP-", "CMP-")),
        ({"number_reset": "year"}, ("INV-2026-", "CN-2026-", "DEP-2026-", "CMP-2026-")),
        (
            {"credit_note_prefix": "INV-", "deposit_prefix": "D/", "compensation_prefix": "S-"},
            ("INV-", "INV-", "D/", "S-"),
        ),
    ],
)
def test_each_kind_of_document_has_a_head_of_its_own_unless_told_otherwise(
    changes: dict[str, Any], heads: tuple[str, ...]
) -> None:
    seller, day = a_seller(**changes), date(2026, 5, 1)
    kinds = get_args(NumberedKind)
    assert tuple(number_head_of(seller, kind, day) for kind in kinds) == heads


# Among them heads that meet: counting "F-" by year, and "F-2026-" for ever.
prefixes = st.sampled_from(["F-", "F-2026-", "INV-", "CN-INV-", "A/"])
resets: st.SearchStrategy[NumberReset] = st.sampled_from(["never", "year"])
issues = st.tuples(prefixes, resets, st.dates(date(2025, 12, 1), date(2028, 1, 31)))


@settings(max_examples=60)
@given(st.lists(issues, max_size=60))
def test_whatever_changes_midway_no_number_is_taken_twice_or_left_out(
    issued: list[tuple[str, NumberReset, date]],
) -> None:
    counts: Counter[str] = Counter()
    taken: defaultdict[str, list[str]] = defaultdict(list)
    for prefix, reset, day in issued:
        head = number_head(prefix, reset, day)
        counts[head] += 1
        taken[head].append(document_number(head, counts[head]))
    numbers = [number for of_head in taken.values() for number in of_head]
    assert len(set(numbers)) == len(numbers)
    for head, of_head in taken.items():
        assert [int(number.removeprefix(head)) for number in of_head] == list(range(1, len(of_head) + 1))
