from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest

from services.metering.domain.consumption import opening
from services.metering.domain.counter import CounterRules
from services.metering.domain.estimate import PeriodUsed, estimated_value, mean_of_periods
from tests.unit.metering.readings import SIX_DIGITS, a_reading


class Case(NamedTuple):
    name: str
    periods: list[str]
    decimals: int
    mean: str


CASES = [
    Case("washes_of_three_months", ["16", "14", "18"], 0, "16"),
    Case("a_half_rounds_up", ["1", "2"], 0, "2"),
    Case("less_than_half_rounds_down", ["1", "1", "2"], 0, "1"),
    Case("to_the_decimals_of_the_unit", ["1.0", "1.1", "1.1"], 1, "1.1"),
    Case("a_half_of_the_last_decimal", ["0.01", "0.02"], 2, "0.02"),
    Case("one_period_is_its_own_mean", ["7"], 0, "7"),
    Case("nothing_is_less_than_nothing", ["-5", "1"], 0, "0"),
    Case(
        "all_digits_are_kept", ["999999999999999999.999999999999"] * 2, 12, "999999999999999999.999999999999"
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mean_of_periods(case: Case) -> None:
    periods = [PeriodUsed(Decimal(period)) for period in case.periods]
    assert mean_of_periods(periods, decimals=case.decimals) == Decimal(case.mean)


def test_a_period_that_was_cut_counts_for_its_part() -> None:
    periods = [PeriodUsed(Decimal(30)), PeriodUsed(Decimal(7), Fraction(1, 4))]
    assert mean_of_periods(periods, decimals=0) == 30  # 37 in one period and a quarter: 29.6
    assert mean_of_periods(periods, decimals=1, part=Fraction(1, 2)) == Decimal("14.8")


def test_a_part_of_a_period_is_rounded_once() -> None:
    periods = [PeriodUsed(Decimal(31)), PeriodUsed(Decimal(32))]
    assert mean_of_periods(periods, decimals=0, part=Fraction(1, 21)) == 2  # 31.5 / 21 = 1.5
    assert mean_of_periods(periods, decimals=1, part=Fraction(1, 21)) == Decimal("1.5")


def test_an_estimate_goes_on_from_what_the_counter_showed_and_around() -> None:
    position = opening(a_reading(0, 999_990))
    assert estimated_value(position, Decimal(16), CounterRules()) == 1_000_006
    assert estimated_value(position, Decimal(16), SIX_DIGITS) == 6
