"""What a meter takes from an event, and why it cannot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from services.metering.domain.measurement import measure, objections
from services.metering.domain.meter import InvalidMeter
from tests.unit.metering.meters import a_meter


class Case(NamedTuple):
    name: str
    value: Any
    counted: int | Decimal | None
    reason: str | None


CASES = [
    #    name                value                counted              reason
    Case("whole", 5, 5, None),
    Case("decimal", Decimal("1.5"), Decimal("1.5"), None),
    Case("text", "12.50", Decimal("12.50"), None),
    Case("negative_text", "-3", Decimal(-3), None),
    Case("longest_text", "1" * 40, Decimal("1" * 40), None),
    Case("too_long_text", "1" * 41, None, "value_not_a_number"),
    Case("exponent_in_text", "1e3", None, "value_not_a_number"),
    Case("plus_in_text", "+1", None, "value_not_a_number"),
    Case("no_digits", ".5", None, "value_not_a_number"),
    Case("other_digits", "١", None, "value_not_a_number"),
    Case("newline_at_end", "1\n", None, "value_not_a_number"),
    Case("word", "ten", None, "value_not_a_number"),
    Case("empty", "", None, "value_not_a_number"),
    Case("true", True, None, "value_not_a_number"),
    Case("list", [1], None, "value_not_a_number"),
    Case("null", None, None, "value_missing"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_value_of_an_event(case: Case) -> None:
    meter, data = a_meter(), {"minutes": case.value}
    measured = measure(meter, data)
    assert (measured.value if measured else None) == case.counted
    assert [reason.code for reason in objections(meter, data)] == ([case.reason] if case.reason else [])


@pytest.mark.parametrize("data", [None, 5, "text", [], {}])
def test_data_that_has_no_such_place_has_no_value(data: Any) -> None:
    assert measure(a_meter(), data) is None
    assert [r.pointer for r in objections(a_meter(), data)] == ["/data/minutes"]


def test_a_meter_that_counts_needs_no_data() -> None:
    measured = measure(a_meter(aggregation="count"), None)
    assert measured is not None
    assert (measured.value, measured.group) == (None, "[]")


@pytest.mark.parametrize(
    ("data", "group"),
    [
        ({"a": "x", "b": {"c": 1}}, '["x", "1"]'),
        ({"a": True, "b": {"c": Decimal("1E-7")}}, '["true", "0.0000001"]'),
        ({"a": 'quote" é \t', "b": None}, '["quote\\" é \\t", null]'),
        ({"a": ["x"], "b": {"c": "y" * 257}}, "[null, null]"),
        ({"a": "y" * 256, "b": {"c": "é" * 129}}, f'["{"y" * 256}", null]'),
        ({}, "[null, null]"),
    ],
)
def test_the_group_of_an_event(data: Any, group: str) -> None:
    measured = measure(a_meter(aggregation="count", group_by=["a", "/b/c"]), data)
    assert measured is not None
    assert measured.group == group


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"minutes": 1, "class": "1", "paid": "true"}, True),
        ({"minutes": 1, "class": 2, "paid": True}, True),
        ({"minutes": 1, "class": Decimal("2.5"), "paid": True}, False),
        ({"minutes": 1, "paid": True}, False),
        ({"minutes": 1, "class": ["1"], "paid": True}, False),
    ],
)
def test_a_filter(data: Any, counts: bool) -> None:
    meter = a_meter(filter={"/class": ["1", "2"], "/paid": ["true"]})
    assert (measure(meter, data) is not None) == counts


def test_what_a_filter_leaves_out_may_be_unreadable() -> None:
    meter = a_meter(filter={"/paid": ["true"]}, group_by=["kind"])
    assert objections(meter, {"paid": False, "kind": []}) == ()
    found = objections(meter, {"paid": True, "kind": []})
    assert [(r.code, r.pointer) for r in found] == [
        ("value_missing", "/data/minutes"),
        ("dimension_unreadable", "/data/kind"),
    ]


@pytest.mark.parametrize("bucket_s", [30, 601, 1800])
def test_buckets_that_would_not_fit_a_quarter_of_an_hour_are_refused(bucket_s: int) -> None:
    with pytest.raises(InvalidMeter):
        a_meter(bucket_s=bucket_s)
