"""Which intervals are made of which."""

from __future__ import annotations

import pytest

from libs.common.periods import Interval
from services.billing.domain.intervals import shortest, times, told

MONTH, YEAR, WEEK, DAY = Interval("month"), Interval("year"), Interval("week"), Interval("day")


@pytest.mark.parametrize(
    ("longer", "shorter", "count"),
    [
        (YEAR, MONTH, 12),
        (YEAR, Interval("month", 5), None),
        (YEAR, Interval("month", 12), 1),
        (MONTH, YEAR, None),
        (MONTH, WEEK, None),
        (WEEK, DAY, 7),
        (Interval("day", 28), Interval("week", 2), 2),
        (Interval("month", 6), Interval("month", 4), None),
        (MONTH, MONTH, 1),
    ],
)
def test_times(longer: Interval, shorter: Interval, count: int | None) -> None:
    assert times(longer, shorter) == count


def test_the_shortest_is_the_one_of_which_the_others_are_made() -> None:
    assert shortest([YEAR, Interval("month", 3), MONTH, Interval("month", 6)]) == MONTH
    assert shortest([MONTH]) == MONTH
    assert shortest([MONTH, WEEK]) == MONTH


def test_an_interval_is_told_in_words() -> None:
    assert (told(MONTH), told(Interval("week", 3))) == ("month", "3 weeks")
