from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from services.metering.domain.counter import CounterRules
from services.metering.domain.plausibility import settle
from services.metering.domain.reading import HeldKind, Reading
from tests.unit.metering.readings import (
    PLAIN,
    SIX_DIGITS,
    a_reading,
    estimated,
    exchanged,
    quantities,
    settled,
)

TEN_AN_HOUR = CounterRules(register_digits=6, rate_max=a_reading(0, 10).value)


class Case(NamedTuple):
    name: str
    rules: CounterRules
    readings: Sequence[Reading]
    kept_aside: list[HeldKind]


CASES = [
    Case("forward", PLAIN, [a_reading(0, 5), a_reading(1, 5)], []),
    Case("back_by_one", PLAIN, [a_reading(0, 5), a_reading(1, 4)], ["backwards"]),
    Case("back_by_half", SIX_DIGITS, [a_reading(0, 500_000), a_reading(1, 0)], ["backwards"]),
    Case("back_by_more", SIX_DIGITS, [a_reading(0, 500_001), a_reading(1, 0)], []),
    Case("back_though_digits_are_unknown", PLAIN, [a_reading(0, 999_999), a_reading(1, 0)], ["backwards"]),
    Case("just_fast_enough", TEN_AN_HOUR, [a_reading(0, 0), a_reading(1, 240)], []),
    Case("too_fast", TEN_AN_HOUR, [a_reading(0, 0), a_reading(1, 241)], ["beyond_rate"]),
    Case("too_fast_a_wrap", TEN_AN_HOUR, [a_reading(0, 999_999), a_reading(1, 240)], ["beyond_rate"]),
    Case("at_once", TEN_AN_HOUR, [a_reading(0, 0), a_reading(0, 1, id="b")], ["beyond_rate"]),
    Case(
        "too_fast_since_it_was_read_not_since_it_was_estimated",
        TEN_AN_HOUR,
        [a_reading(0, 0), estimated(1, 9_000), a_reading(2, 480)],
        [],
    ),
    Case(
        "too_fast_an_exchange",
        TEN_AN_HOUR,
        [a_reading(0, 0), exchanged(1, old_end=241, new_start=0, device="B")],
        ["beyond_rate"],
    ),
    Case(
        "the_old_end_falls",
        PLAIN,
        [a_reading(0, 9), exchanged(1, old_end=8, new_start=0, device="B")],
        ["backwards"],
    ),
    Case(
        "below_the_new_start",
        PLAIN,
        [a_reading(0, 9), exchanged(1, old_end=9, new_start=5, device="B", value=4)],
        ["backwards"],
    ),
    Case(
        "another_device_than_is_known",
        PLAIN,
        [a_reading(0, 9, device="A"), a_reading(1, 12, device="B")],
        ["before_exchange"],
    ),
    Case(
        "the_device_that_was_taken_away",
        PLAIN,
        [
            a_reading(0, 9, device="A"),
            exchanged(1, old_end=9, new_start=9, device="B"),
            a_reading(2, 10, device="A"),
        ],
        ["before_exchange"],
    ),
    Case(
        "the_old_device_before_it_was_taken_away",
        PLAIN,
        [
            a_reading(0, 9, device="A"),
            exchanged(2, old_end=12, new_start=0, device="B"),
            a_reading(1, 10, device="A"),
        ],
        [],
    ),
    Case(
        "a_device_that_nobody_names",
        PLAIN,
        [a_reading(0, 9, device="A"), a_reading(1, 10), a_reading(2, 11, device="A")],
        [],
    ),
    Case("estimates_are_judged_by_nobody", PLAIN, [a_reading(0, 9), estimated(1, 3)], []),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_kept_aside(case: Case) -> None:
    found = settled(*case.readings, rules=case.rules)
    assert [why.kind for why in found.held.values()] == case.kept_aside


def test_what_would_make_a_reading_that_was_taken_impossible_is_kept_aside_and_says_so() -> None:
    known = settled(a_reading(0, 100), a_reading(2, 120))
    found = settle(None, known.taken, [a_reading(1, 130)], PLAIN)
    [why] = found.held.values()
    assert why.kind == "backwards"
    assert why.told.startswith("after it, the reading of 2026-03-03")
    assert quantities(found) == [20]


def test_a_decision_that_contradicts_what_was_taken_has_it_kept_aside() -> None:
    known = settled(a_reading(0, 100), a_reading(2, 120))
    decided = a_reading(1, 130, is_certain=True)
    found = settle(None, [*known.taken, decided], [], PLAIN)
    assert list(found.held) == [a_reading(2, 120).id]
    assert quantities(found) == [30]


def test_readings_that_only_make_sense_together_are_let_in_together() -> None:
    """From 500,000 to 700,000 it went once around: none of those between is plausible without the other."""
    ends = settled(a_reading(0, 500_000), a_reading(3, 700_000), rules=SIX_DIGITS)
    first = settle(None, ends.taken, [a_reading(1, 900_000)], SIX_DIGITS)
    assert len(first.held) == 1
    both = settle(None, ends.taken, [a_reading(1, 900_000), a_reading(2, 300_000)], SIX_DIGITS)
    assert both.held == {}
    assert quantities(both) == [400_000, 400_000, 400_000]
