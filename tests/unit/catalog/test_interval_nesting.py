"""Intervals that are made of whole periods of each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import Interval
from services.catalog.domain.interval_nesting import is_same, length_faults, nest, nesting_faults, spelled

intervals = st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 12))


def interval(text: str) -> Interval:
    count, unit = text.split()
    return Interval(unit, int(count))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "nested"),
    [
        ("1 month", "1 month", True),
        ("1 month", "1 year", True),
        ("3 month", "1 year", True),
        ("5 month", "1 year", False),
        ("12 month", "1 year", True),
        ("2 month", "3 month", False),
        ("1 week", "14 day", True),
        ("3 day", "1 week", False),
        ("1 week", "1 month", False),
        ("30 day", "1 month", False),
        ("365 day", "1 year", False),
    ],
)
def test_nest(one: str, other: str, nested: bool) -> None:
    first, second = interval(one), interval(other)
    assert nest(first, second) is nest(second, first) is nested
    faults = list(nesting_faults(first, second, "/interval", of="the plan"))
    assert [fault["pointer"] for fault in faults] == ([] if nested else ["/interval"])


def test_a_fault_names_both() -> None:
    (fault,) = nesting_faults(interval("2 month"), interval("3 month"), "/interval", of="the plan")
    assert fault["detail"] == (
        "2 months and 3 months, that of the plan, are no whole number of each other: "
        "choose one that divides it or is a multiple of it"
    )


@given(one=intervals, other=intervals)
def test_intervals_of_one_length_nest(one: Interval, other: Interval) -> None:
    assert is_same(one, one)
    assert is_same(one, other) == is_same(other, one)
    assert not is_same(one, other) or nest(one, other)


@pytest.mark.parametrize(
    ("text", "is_good"), [("366 day", True), ("367 day", False), ("120 month", True), ("11 year", False)]
)
def test_there_is_a_bound_on_lengths(text: str, is_good: bool) -> None:
    assert bool(list(length_faults(interval(text), ""))) is not is_good


def test_spelled() -> None:
    assert [spelled(interval(text)) for text in ("1 week", "3 month")] == ["1 week", "3 months"]
