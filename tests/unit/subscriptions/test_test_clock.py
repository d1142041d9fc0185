"""Test clocks go forward, from due instant to due instant, and only when all are at rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import MICROSECOND
from services.subscriptions.domain.clock_rest import Look, find_change, find_unrest, is_behind
from services.subscriptions.domain.test_clock import (
    Arrival,
    ClockGoesBack,
    Step,
    begin_move,
    decide_step,
)
from tests.support.subscriptions import NOW, a_test_clock, utc

START, FEB, MAR = utc("2025-01-31T05:00"), utc("2025-02-28T05:00"), utc("2025-03-31T04:00")


def test_a_clock_does_not_go_back() -> None:
    clock = a_test_clock()
    with pytest.raises(ClockGoesBack):
        clock.moved_to(START - MICROSECOND)
    with pytest.raises(ClockGoesBack) as refused:
        begin_move(clock, id="mov_1", to=START - MICROSECOND, system_now=NOW)
    assert refused.value.pointer == "/to"
    assert begin_move(clock, id="mov_1", to=START, system_now=NOW).to_at == START
    assert clock.moved_to(FEB).version == 2


def test_it_stops_at_what_is_due_first() -> None:
    assert decide_step(START, MAR, []) == Step(MAR)
    assert decide_step(START, MAR, [FEB, MAR]) == Step(FEB)
    assert decide_step(START, FEB, [FEB]) == Step(FEB)
    assert decide_step(START, FEB, [MAR]) == Step(FEB)
    assert decide_step(FEB, FEB, [MAR]) == Arrival()


@given(due=st.sets(st.integers(1, 100)), to=st.integers(0, 120))
def test_it_passes_every_due_instant_once_and_arrives(due: set[int], to: int) -> None:
    clock, target, stops = START, START + timedelta(days=to), []
    while isinstance(
        step := decide_step(
            clock, target, [at for days in due if (at := START + timedelta(days=days)) > clock]
        ),
        Step,
    ):
        assert step.to > clock
        clock = step.to
        stops.append((clock - START).days)
    assert clock == target
    assert stops == sorted({days for days in due if days < to} | ({to} if to else set()))


def looks(**changes: object) -> list[Look]:
    """Four services at rest, and the first of them changed."""
    still = [Look(name, START, None, 0, 0, 7) for name in ("catalog", "subscriptions", "metering", "billing")]
    return [replace(still[0], **changes), *still[1:]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clock_now": None}, "catalog has not heard of the clock's new time"),
        ({"clock_now": START - MICROSECOND}, "catalog has not heard of the clock's new time"),
        ({"busy": 2}, "catalog has 2 due by this time"),
        ({"unpublished": 1}, "catalog has 1 events to publish"),
    ],
)
def test_what_keeps_a_clock_from_resting(changes: dict[str, object], said: str) -> None:
    assert find_unrest(looks(**changes), START) == said


def test_a_clock_rests_when_nothing_changed_between_two_looks() -> None:
    assert find_unrest(looks(), START) is None
    assert find_change(looks(), looks()) is None
    assert find_change(looks(), looks(last_position=8)) == "catalog has told of something new"


def test_a_reader_is_behind_until_it_has_reached_every_end() -> None:
    assert not is_behind({}, {0: 0, 1: 0})
    assert is_behind({0: 5}, {0: 5, 1: 1})
    assert is_behind({0: 4, 1: 1}, {0: 5, 1: 1})
    assert not is_behind({0: 5, 1: 2}, {0: 5, 1: 1})
