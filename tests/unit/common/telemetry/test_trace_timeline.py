"""Waits are cut short; work is drawn to one scale."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.web.trace_timeline import timeline_of

HOUR = 3_600 * 1_000


def test_work_without_waits_is_to_scale() -> None:
    timeline = timeline_of([(0, 100), (20, 60)])

    assert [timeline.at(at) for at in (-5, 0, 50, 100, 200)] == [0, 0, 50, 100, 100]


def test_a_long_wait_leaves_room_for_the_work() -> None:
    timeline = timeline_of([(0, 10), (HOUR, HOUR + 10)])

    assert [stretch.wait for stretch in timeline.stretches] == [False, True, False]
    assert timeline.at(10) == pytest.approx(47)
    assert timeline.at(HOUR) == pytest.approx(53)
    assert timeline.at(HOUR + 10) == pytest.approx(100)


def test_a_short_wait_is_drawn_as_it_was() -> None:
    timeline = timeline_of([(0, 50), (60, 110)])

    assert len(timeline.stretches) == 1
    assert timeline.at(55) == 50


def test_spans_without_length_do_not_break_it() -> None:
    assert timeline_of([(5, 5)]).at(5) == 0
    assert timeline_of([]).at(5) == 100


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**9)).map(lambda t: (t[0], t[0] + t[1])),
        min_size=1,
        max_size=60,
    )
)
def test_time_never_runs_backwards_and_fills_the_line(intervals: list[tuple[int, int]]) -> None:
    timeline = timeline_of(intervals)
    instants = sorted(instant for interval in intervals for instant in interval)
    places = [timeline.at(instant) for instant in instants]

    assert places == sorted(places)
    assert places[0] >= -1e-6
    assert places[-1] <= 100 + 1e-6
    assert sum(stretch.width for stretch in timeline.stretches) <= 100 + 1e-6
