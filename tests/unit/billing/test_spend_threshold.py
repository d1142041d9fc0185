"""When usage has come to a threshold, and when it is looked at next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from libs.common.money import Money
from services.billing.domain.spend_threshold import SpendThreshold, is_reached, next_look

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


class Case(NamedTuple):
    name: str
    owed: list[Money]
    is_reached: bool


CASES = [
    Case("nothing_was_used", [], False),
    Case("a_cent_less", [Money(99_99, "EUR")], False),
    Case("just_that_much", [Money(100_00, "EUR")], True),
    Case("all_items_together", [Money(60_00, "EUR"), Money(40_00, "EUR")], True),
    Case("what_is_given_back_counts_against_it", [Money(120_00, "EUR"), Money(-30_00, "EUR")], False),
    Case("another_currency_counts_for_nothing", [Money(500_00, "USD")], False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_threshold(case: Case) -> None:
    assert is_reached(Money(100_00, "EUR"), case.owed) == case.is_reached


def test_by_the_wall_it_is_looked_at_again_after_a_while_and_by_a_test_clock_each_day() -> None:
    every = timedelta(minutes=5)
    wall = SpendThreshold("sub_1", "cus_1", NOW)
    clock = SpendThreshold("sub_1", "cus_1", NOW, clock_id="clk_1")
    assert next_look(wall, zone="Europe/Berlin", now=NOW, every=every) == NOW + every
    midnight = datetime(2025, 6, 1, 22, tzinfo=UTC)
    assert next_look(clock, zone="Europe/Berlin", now=NOW, every=every) == midnight
    assert next_look(clock, zone="Europe/Berlin", now=midnight, every=every) == midnight + timedelta(days=1)
