"""Marks of usage alerts: what they come to, and which of them usage has reached."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.meter import Aggregation
from services.metering.domain.usage_alert import (
    MARKS_MAX,
    InvalidUsageAlert,
    Mark,
    UsageAlert,
    firing_id,
    marks_of,
    reached,
    together,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)


def decimals(*texts: str | None) -> list[Decimal | None]:
    return [None if text is None else Decimal(text) for text in texts]


def an_alert(*thresholds: str) -> UsageAlert:
    marks = tuple(Mark(Decimal(threshold)) for threshold in thresholds)
    return UsageAlert("ualt_1", "sub_1", "cus_1", None, "minutes", None, marks, None, AT)


def test_marks_ascend_whatever_their_order_and_a_percentage_is_exactly_of_the_limit() -> None:
    marks = marks_of(decimals("100", None, "0.5"), decimals(None, "33.3", None), Decimal("10.01"))
    assert marks == (
        Mark(Decimal("0.5")),
        Mark(Decimal("3.33333"), Decimal("33.3")),
        Mark(Decimal(100)),
    )


class Refused(NamedTuple):
    name: str
    quantities: list[str | None]
    percents: list[str | None]
    limit: str | None
    pointer: str


REFUSED = [
    #       name                          quantities         percents       limit  pointer
    Refused("no_mark",                    [],                [],            None,  "/marks"),
    Refused("too_many",                   ["1"] * 21,        [None] * 21,   None,  "/marks"),
    Refused("neither",                    ["1", None],       [None, None],  None,  "/marks/1"),
    Refused("both",                       ["1"],             ["1"],         "10",  "/marks/0"),
    Refused("percent_of_nothing",         ["1", None],       [None, "80"],  None,  "/marks/1"),
    Refused("limit_of_nothing",           [None],            ["80"],        "0",   "/limit"),
    Refused("a_mark_at_nothing",          ["0"],             [None],        None,  "/marks/0"),
    Refused("the_same_twice",             ["8", None],       [None, "80"],  "10",  "/marks/1"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_no_set_of_marks_is_refused(case: Refused) -> None:
    limit = None if case.limit is None else Decimal(case.limit)
    with pytest.raises(InvalidUsageAlert) as refusal:
        marks_of(decimals(*case.quantities), decimals(*case.percents), limit)
    assert refusal.value.pointer == case.pointer


def test_the_most_marks_are_taken() -> None:
    quantities = [Decimal(n + 1) for n in range(MARKS_MAX)]
    assert len(marks_of(quantities, [None] * MARKS_MAX, None)) == MARKS_MAX


class Case(NamedTuple):
    name: str
    quantity: str
    fired: set[int]
    places: list[int]


CASES = [
    #    name                    quantity  fired    places
    Case("below_all",            "9.99",   set(),   []),
    Case("exactly_there",        "10",     set(),   [0]),
    Case("over_several_at_once", "25",     set(),   [0, 1]),
    Case("those_left",           "30",     {0, 1},  [2]),
    Case("a_lower_one_left",     "30",     {1, 2},  [0]),
    Case("nothing_left",         "99",     {0, 1, 2}, []),
    Case("less_than_nothing",    "-5",     set(),   []),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_marks_are_reached(case: Case) -> None:
    assert reached(an_alert("10", "20", "30"), Decimal(case.quantity), case.fired) == case.places


@settings(max_examples=50)
@given(
    marks=st.sets(st.integers(1, 50), min_size=1, max_size=10),
    quantities=st.lists(st.integers(0, 60), max_size=20),
)
def test_whatever_usage_does_each_mark_fires_once_and_only_if_it_was_reached(
    marks: set[int], quantities: list[int]
) -> None:
    alert, fired = an_alert(*(str(mark) for mark in sorted(marks))), list[int]()
    for quantity in quantities:
        places = reached(alert, Decimal(quantity), set(fired))
        assert places == sorted(places)
        fired += places
    assert len(fired) == len(set(fired))
    most = max(quantities, default=0)
    assert {int(alert.marks[place].threshold) for place in fired} == {mark for mark in marks if mark <= most}


@pytest.mark.parametrize(
    ("aggregation", "quantity"), [("count", "7"), ("sum", "7"), ("max", "4"), ("latest", "4")]
)
def test_items_of_a_subscription_together(aggregation: Aggregation, quantity: str) -> None:
    assert together(aggregation, [Decimal(3), Decimal(4)]) == Decimal(quantity)


def test_a_firing_has_one_name_whoever_finds_it() -> None:
    assert firing_id("ualt_1", "uwin_1", 0) == firing_id("ualt_1", "uwin_1", 0)
    ids = {firing_id(a, w, p) for a in ("ualt_1", "ualt_2") for w in ("uwin_1", "uwin_2") for p in (0, 1)}
    assert len(ids) == 8
