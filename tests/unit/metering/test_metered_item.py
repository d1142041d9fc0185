"""What a window measures, from the segments in which usage prices held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.metered_item import MeteredItem, Span, UsageSegment, items_of, joined

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 31, tzinfo=UTC)


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def segment(start: float, end: float, *, price: str = "p1", item: str = "si_1") -> UsageSegment:
    return UsageSegment(item, "minutes", price, day(start), day(end))


def item(*spans: tuple[float, float], price: str = "p1", item: str = "si_1") -> MeteredItem:
    return MeteredItem(item, "minutes", price, tuple(Span(day(s), day(e)) for s, e in spans))


class Case(NamedTuple):
    name: str
    segments: list[UsageSegment]
    items: tuple[MeteredItem, ...]


WHOLE = MeteredItem("si_1", "minutes")
CASES = [
    Case("end_to_end", [segment(0, 30)], (WHOLE,)),
    Case("end_to_end_in_parts", [segment(10, 30), segment(0, 10)], (WHOLE,)),
    Case("beyond_both_ends", [segment(-5, 40)], (WHOLE,)),
    Case("begins_late", [segment(3, 30)], (item((3, 30)),)),
    Case("a_pause", [segment(0, 10), segment(12, 30)], (item((0, 10), (12, 30)),)),
    Case(
        "a_price_and_the_next",
        [segment(0, 10), segment(10, 30, price="p2")],
        (item((0, 10)), item((10, 30), price="p2")),
    ),
    Case(
        "there_and_back",
        [segment(0, 10), segment(10, 20, price="p2"), segment(20, 30)],
        (item((0, 10), (20, 30)), item((10, 20), price="p2")),
    ),
    Case("two_items", [segment(0, 30), segment(5, 9, item="si_2")], (WHOLE, item((5, 9), item="si_2"))),
    Case("nothing_inside", [segment(-5, 0), segment(30, 40)], ()),
    Case("none", [], ()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_items_of_segments(case: Case) -> None:
    assert items_of(case.segments, start=START, end=END) == case.items


def test_a_window_without_length_measures_nothing() -> None:
    assert items_of([segment(0, 30)], start=START, end=START) == ()


points = st.integers(0, 40)
spans = st.lists(
    st.tuples(points, points)
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda p: Span(day(p[0]), day(p[1]))),
    max_size=8,
)


@settings(max_examples=50)
@given(spans=spans)
def test_joined_spans_cover_the_same_time_once_and_apart(spans: list[Span]) -> None:
    found = joined(sorted(spans))
    for n in range(40):
        inside = sum(span.start <= day(n) < span.end for span in found)
        assert inside == any(span.start <= day(n) < span.end for span in spans)
    assert all(one.end < other.start for one, other in pairwise(found))
