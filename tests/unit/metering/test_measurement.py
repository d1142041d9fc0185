"""What a meter takes from an event, and why it cannot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from services.metering.domain.json_pointer import InvalidPointer
from services.metering.domain.measurement import measure, objections
from services.metering.domain.meter import InvalidMeter, MeterOptions
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
    Case("longest_text", "-" + "1" * 37 + ".1", Decimal("-" + "1" * 37 + ".1"), None),
    Case("long_text_stored_before", "1" * 39, Decimal("1" * 39), "number_too_long"),
    Case("decimals_stored_before", "1." + "0" * 38, Decimal("1." + "0" * 38), "number_too_long"),
    Case("zeros_are_no_digits", "00" + "1" * 38, Decimal("1" * 38), None),
    Case("too_long_text", "1" * 41, None, "number_too_long"),
    Case("endless_text", "1" * 10_000, None, "number_too_long"),
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


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"minutes": 1}, True),
        ({"minutes": 1, "city": None}, True),
        ({"minutes": 1, "city": "paris", "country": "france"}, True),
        ({"minutes": 1, "city": "rome"}, False),
        ({"minutes": 1, "city": "caen"}, False),
        ({"minutes": 1, "city": "paris", "country": "texas"}, False),
    ],
)
def test_what_is_missing_can_be_let_in_and_what_matches_all_of_an_exclusion_is_out(
    data: Any, counts: bool
) -> None:
    meter = a_meter(
        filter={"/city": ["paris", "caen", None]},
        exclude=[{"/city": ["caen"]}, {"/city": ["paris"], "/country": ["texas", "ontario"]}],
    )
    assert (measure(meter, data) is not None) == counts


@pytest.mark.parametrize(
    ("data", "member", "is_in", "reason"),
    [
        ({"user": "a"}, "a", True, None),
        ({"user": 7, "op": "add"}, "7", True, None),
        ({"user": "a", "op": "remove"}, "a", False, None),
        ({"user": "a", "op": "borrow"}, None, True, "operation_unknown"),
        ({"user": ["a"]}, None, True, "value_unreadable"),
        ({"user": "é" * 129}, None, True, "value_unreadable"),
        ({}, None, True, "value_missing"),
    ],
)
def test_what_is_counted_once(data: Any, member: str | None, is_in: bool, reason: str | None) -> None:
    meter = a_meter(aggregation="unique", value="/user", options=MeterOptions(operation=("op",)))
    measured = measure(meter, data)
    assert (None if measured is None else (measured.member, measured.is_in)) == (
        None if member is None else (member, is_in)
    )
    assert [r.code for r in objections(meter, data)] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("expression", "data", "value"),
    [
        ('event("/bytes") / 1000', {"bytes": 1500}, "1.5"),
        ('event("/a") / 3', {"a": 2}, "0.666666666667"),
        ('event("/a") / 3', {"a": -2}, "-0.666666666667"),
        ('event("/a") * event("/b", 2)', {"a": "1.25"}, "2.5"),
        ('if(event("/kind") == "night", 0, event("/a"))', {"kind": "night", "a": 5}, "0"),
        ('event("/a") / event("/b")', {"a": 1, "b": 0}, None),
        ('event("/a")', {}, None),
        ('event("/a") * event("/a")', {"a": "9" * 30}, None),
    ],
)
def test_a_value_that_is_worked_out(expression: str, data: Any, value: str | None) -> None:
    meter = a_meter(value_expression=expression)
    measured = measure(meter, data)
    assert (None if measured is None else measured.value) == (None if value is None else Decimal(value))
    assert [r.code for r in objections(meter, data)] == ([] if value else ["value_not_worked_out"])


def test_dimensions_and_filters_that_are_worked_out() -> None:
    meter = a_meter(
        aggregation="count",
        group_by=["carrier", ("longhaul", 'if(event("/distance") > 3000, 1, 0)')],
        filter_expression='event("/air_time", 0) > 0',
    )
    assert meter.is_computed
    far, near = {"carrier": "UA", "distance": 4000, "air_time": 1}, {"distance": 10, "air_time": 1}
    assert [measured.group for data in (far, near) if (measured := measure(meter, data))] == [
        '["UA", "1"]',
        '[null, "0"]',
    ]
    assert measure(meter, {"distance": 10}) is None


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"aggregation": "unique", "value": None}, "/value"),
        ({"value": None}, "/value"),
        ({"value_expression": "1 +"}, "/value_expression"),
        ({"filter_expression": '"a"'}, "/filter_expression"),
        ({"group_by": [("x", "oops")]}, "/group_by"),
        ({"options": MeterOptions(keeps=True)}, "/keeps"),
        ({"aggregation": "unique", "options": MeterOptions(keeps=True)}, "/operation"),
        ({"options": MeterOptions(per="day")}, "/per"),
        ({"aggregation": "time_weighted", "options": MeterOptions(by_day=True)}, "/by_day"),
        ({"options": MeterOptions(peak_of="1h")}, "/peak_of"),
        ({"filter": {"/a": []}}, "/filter"),
        ({"filter": {"a": ["1"]}}, "/filter"),
        ({"exclude": [{"/a": []}]}, "/exclude/0"),
    ],
)
def test_a_meter_that_makes_no_sense_is_refused_and_says_where(wrong: dict[str, Any], pointer: str) -> None:
    with pytest.raises((InvalidMeter, InvalidPointer)) as refused:
        a_meter(**wrong)
    assert refused.value.pointer == pointer
