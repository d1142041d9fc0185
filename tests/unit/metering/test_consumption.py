from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.consumption import Rule
from services.metering.domain.counter import CounterRules
from services.metering.domain.plausibility import Settled, settle
from services.metering.domain.reading import Reading
from services.metering.domain.true_up import TrueUp
from tests.unit.metering.readings import (
    PLAIN,
    SIX_DIGITS,
    a_reading,
    estimated,
    exchanged,
    on_day,
    quantities,
    settled,
)


class Case(NamedTuple):
    name: str
    rules: CounterRules
    readings: Sequence[Reading]
    used: list[int]
    by: list[Rule]


A_RESET = {"kind": "reset", "new_start": 0}

CASES = [
    Case("the_first_reading_opens", PLAIN, [a_reading(0, 100)], [], []),
    Case("difference", PLAIN, [a_reading(0, 100), a_reading(1, 130)], [30], ["difference"]),
    Case(
        "an_estimate_before_all_readings",
        PLAIN,
        [estimated(0, 900), a_reading(1, 5), a_reading(2, 9)],
        [4],
        ["difference"],
    ),
    Case("nothing_used", PLAIN, [a_reading(0, 100), a_reading(1, 100)], [0], ["difference"]),
    Case("a_wrap_drops_far", SIX_DIGITS, [a_reading(0, 981_250), a_reading(13, 27_750)], [46_500], ["wrap"]),
    Case("a_wrap_to_zero", SIX_DIGITS, [a_reading(0, 999_999), a_reading(1, 0)], [1], ["wrap"]),
    Case("a_drop_just_over_half", SIX_DIGITS, [a_reading(0, 500_001), a_reading(1, 0)], [499_999], ["wrap"]),
    Case(
        "light_as_a_service_in_march",
        SIX_DIGITS,
        [
            a_reading(0, 981_250, device="A"),
            exchanged(13, old_end=27_750, new_start=12, device="B"),
            a_reading(31, 38_512, device="B"),
        ],
        [46_500, 38_500],
        ["exchange", "difference"],
    ),
    Case(
        "an_exchange_told_with_a_later_reading",
        PLAIN,
        [a_reading(0, 100), exchanged(9, old_end=140, new_start=7, device="B", value=27)],
        [60],
        ["exchange"],
    ),
    Case(
        "a_new_device_of_fewer_digits_wraps_in_its_own",
        SIX_DIGITS,
        [
            a_reading(0, 999_000),
            exchanged(5, old_end=999_900, new_start=9_000, device="B", register_digits=4),
            a_reading(9, 100),
        ],
        [900, 1_100],
        ["exchange", "wrap"],
    ),
    Case(
        "a_reset_whose_end_is_known",
        PLAIN,
        [a_reading(0, 100), a_reading(1, 5, **A_RESET, old_end=120)],
        [25],
        ["reset"],
    ),
    Case(
        "a_reset_whose_end_nobody_saw",
        PLAIN,
        [a_reading(0, 100), a_reading(1, 5, **A_RESET)],
        [5],
        ["reset"],
    ),
    Case(
        "a_counter_that_begins_again_by_itself",
        CounterRules(backwards="reset"),
        [a_reading(0, 100), a_reading(1, 5), a_reading(2, 9)],
        [5, 4],
        ["reset", "difference"],
    ),
    Case(
        "what_a_person_takes_as_it_is_may_go_back",
        PLAIN,
        [a_reading(0, 100), a_reading(1, 90, is_certain=True), a_reading(2, 95)],
        [-10, 5],
        ["difference", "difference"],
    ),
    Case(
        "a_wrap_that_a_person_saw",
        SIX_DIGITS,
        [a_reading(0, 400_000), a_reading(1, 300_000, kind="wrap", is_certain=True)],
        [900_000],
        ["wrap"],
    ),
    Case(
        "washes_estimated_and_trued_up",
        PLAIN,
        [a_reading(0, 1_204), estimated(31, 1_220), a_reading(61, 1_229)],
        [16, 9],
        ["estimate", "difference"],
    ),
    Case(
        "an_estimate_that_was_too_high",
        PLAIN,
        [a_reading(0, 100), estimated(31, 150), a_reading(61, 120)],
        [50, -30],
        ["estimate", "difference"],
    ),
    Case(
        "two_estimates_and_a_wrap",
        SIX_DIGITS,
        [a_reading(0, 999_000), estimated(1, 999_600), estimated(2, 200), a_reading(3, 500)],
        [600, 600, 300],
        ["estimate", "estimate", "wrap"],
    ),
    Case(
        "an_estimate_that_a_late_reading_overtook",
        PLAIN,
        [a_reading(0, 100), a_reading(5, 160), estimated(9, 150), a_reading(12, 170)],
        [60, 0, 10],
        ["difference", "estimate", "difference"],
    ),
    Case(
        "an_estimate_before_an_exchange",
        PLAIN,
        [
            a_reading(0, 100),
            estimated(5, 130),
            exchanged(9, old_end=145, new_start=0, device="B"),
            a_reading(12, 20),
        ],
        [30, 15, 20],
        ["estimate", "exchange", "difference"],
    ),
    Case(
        "what_is_estimated_before_a_reset_that_nobody_saw_is_final",
        PLAIN,
        [a_reading(0, 100), estimated(5, 130), a_reading(9, 4, **A_RESET)],
        [30, 4],
        ["estimate", "reset"],
    ),
    Case(
        "the_estimated_end_of_a_device_that_is_gone_is_final",
        PLAIN,
        [
            a_reading(0, 100),
            exchanged(9, old_end=145, new_start=0, device="B", quality="estimated"),
            a_reading(12, 20),
        ],
        [45, 20],
        ["exchange", "difference"],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_consumption(case: Case) -> None:
    found = settled(*case.readings, rules=case.rules)
    assert found.held == {}
    assert (quantities(found), [used.rule for used in found.consumptions]) == (case.used, case.by)


def test_a_true_up_names_the_estimates_it_replaces() -> None:
    april, may, june = a_reading(0, 1_204), estimated(31, 1_220), a_reading(61, 1_229)
    told, put_right = settled(april, may, june).consumptions
    assert (told.is_estimated, told.true_up, told.behind) == (True, None, (april.id, may.id))
    assert (put_right.is_estimated, put_right.behind) == (False, (april.id, may.id, june.id))
    assert put_right.true_up == TrueUp("lamp-1", on_day(0), on_day(61), Decimal(25), Decimal(16))
    assert (put_right.start, put_right.end) == (on_day(31), on_day(61))
    assert put_right.counts_at == on_day(61) - timedelta(microseconds=1)


def test_quantities_keep_all_their_digits() -> None:
    finest = Decimal("999999999999999999.123456789012")
    found = settled(a_reading(0, "0.000000000001"), a_reading(1, str(finest)))
    assert found.consumptions[0].quantity == Decimal("999999999999999999.123456789011")


def test_an_estimate_of_an_instant_that_was_read_after_all_gives_way() -> None:
    guess = estimated(5, 130, id="guess")
    found = settled(a_reading(0, 100), guess, a_reading(5, 120))
    assert (quantities(found), found.superseded) == ([20], {"guess"})


SIZE = 10**6
advances = st.integers(0, SIZE // 2 - 1)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Reading], int]:
    """What a counter of six digits truly showed, with exchanges and estimates; and how far it went."""
    device, shown, total = 0, draw(st.integers(0, SIZE - 1)), 0
    readings = [a_reading(0, shown, device="d0")]
    for day in range(1, draw(st.integers(2, 9))):
        kind = draw(st.sampled_from(["regular"] * 4 + ["exchange", "estimated"]))
        if kind == "estimated":
            readings.append(estimated(day, draw(st.integers(0, SIZE - 1))))
            continue
        advance = draw(advances)
        total += advance
        end = (shown + advance) % SIZE
        if kind == "exchange":
            device, shown = device + 1, draw(st.integers(0, SIZE - 1))
            readings.append(exchanged(day, old_end=end, new_start=shown, device=f"d{device}"))
        else:
            shown = end
            readings.append(a_reading(day, shown, device=f"d{device}"))
    end = draw(advances)
    readings.append(a_reading(20, (shown + end) % SIZE, device=f"d{device}"))
    return readings, total + end


def _one_by_one(readings: Sequence[Reading], rules: CounterRules) -> Settled:
    """As they come, each looked at with what was taken and what was kept aside before."""
    found = Settled((), {}, frozenset(), ())
    known: dict[str, Reading] = {}
    for reading in readings:
        known[reading.id] = reading
        waiting = [known[id] for id in (*found.held, reading.id)]
        found = settle(None, found.taken, waiting, rules)
    return found


@settings(max_examples=150, deadline=None)
@given(history=histories(), random=st.randoms(use_true_random=False))
def test_consumptions_add_up_to_how_far_the_counter_went_in_whatever_order_it_is_told(
    history: tuple[list[Reading], int], random: object
) -> None:
    readings, total = history
    in_order = settled(*readings, rules=SIX_DIGITS)
    assert in_order.held == {}
    assert sum(quantities(in_order)) == total
    shuffled = list(readings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _one_by_one(shuffled, SIX_DIGITS) == in_order


@settings(max_examples=100, deadline=None)
@given(history=histories(), data=st.data())
def test_a_correction_gives_what_the_right_value_would_have_given_at_once(
    history: tuple[list[Reading], int], data: st.DataObject
) -> None:
    readings, _ = history
    place = data.draw(st.integers(0, len(readings) - 1))
    wrong_value = Decimal(data.draw(st.integers(0, SIZE - 1)))
    wrong = replace(readings[place], value=wrong_value)
    found = _one_by_one([*readings[:place], wrong, *readings[place + 1 :]], SIX_DIGITS)
    rest = [reading for reading in found.taken if reading.id != wrong.id]
    waiting = [reading for reading in readings if reading.id in found.held and reading.id != wrong.id]
    right = settle(None, rest, [*waiting, readings[place]], SIX_DIGITS)
    assert right == settled(*readings, rules=SIX_DIGITS)
