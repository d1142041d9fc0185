"""What the cases that come with these tests leave open of the schema: slices with discounts, and what is refused."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.cases.case_files import Case
from tests.cases.running import failures

GRADUATED: Mapping[str, Any] = {
    "type": "graduated",
    "tiers": [
        {"up_to": "10", "unit_amount": "2", "flat_amount": "5"},
        {"up_to": None, "unit_amount": "1", "flat_amount": "3"},
    ],
}
VOLUME = {**GRADUATED, "type": "volume"}
PER_UNIT: Mapping[str, Any] = {"type": "per_unit", "unit_amount": "2"}
PACKAGE: Mapping[str, Any] = {"type": "package", "package_size": "10", "package_amount": "3"}
PERCENTAGE: Mapping[str, Any] = {"type": "percentage", "rate_percent": "10", "fixed_amount_per_event": "1"}
BOUNDED: Mapping[str, Any] = {"type": "graduated", "tiers": [{"up_to": "10", "unit_amount": "2"}]}


def a_case(
    kind: str,
    given: Mapping[str, Any],
    expect: Mapping[str, Any],
    convention: Mapping[str, str] | None = None,
) -> Case:
    return Case("pricing-made", "pricing", kind, {"currency": "EUR", **given}, expect, convention or {})


def a_slice(slice_: str, quantity: str, **given: Any) -> Mapping[str, Any]:
    return {"slice": slice_, "quantity": quantity, **given}


FLAT_IN_ADVANCE = {"type": "flat", "amount": "7", "payment_term": "in_advance"}
FLAT_IN_ARREARS = {"type": "flat", "amount": "7", "payment_term": "in_arrears"}

SLICES = [
    #  model          given                                                                     amount   lines' totals
    (GRADUATED, a_slice("single", "12"), "30", ["25", "5"]),
    (GRADUATED, a_slice("single", "12"), "30", ["20", "5", "2", "3"]),
    (GRADUATED, a_slice("middle", "4", quantity_before="0"), "8", ["8"]),
    (GRADUATED, a_slice("middle", "4", quantity_before="8"), "9", ["4", "5"]),
    (GRADUATED, a_slice("final", "0", quantity_before="8"), "0", []),
    (VOLUME, a_slice("middle", "12"), "0", []),
    (VOLUME, a_slice("final", "12"), "15", ["15"]),
    (VOLUME, a_slice("final", "12"), "15", ["3", "12"]),
    (PACKAGE, a_slice("middle", "5", quantity_before="3"), "0", []),
    (PACKAGE, a_slice("middle", "9", quantity_before="3"), "3", ["3"]),
    (FLAT_IN_ADVANCE, a_slice("single", "1"), "7", ["7"]),
    (FLAT_IN_ADVANCE, a_slice("final", "1"), "0", []),
    (FLAT_IN_ARREARS, a_slice("middle", "1"), "0", []),
    (FLAT_IN_ARREARS, a_slice("final", "1"), "7", ["7"]),
    (PER_UNIT, a_slice("single", "5", discount_percent="25"), "7.5", ["7.5"]),
    (PER_UNIT, a_slice("single", "15", usage_discount="10"), "10", ["10"]),
    (PER_UNIT, a_slice("middle", "15", usage_discount="10", quantity_before="5"), "20", ["20"]),
    (
        PER_UNIT,
        a_slice("single", "1400", quantity_conversion={"divide_by": "1000", "rounding": "up"}),
        "4",
        ["4"],
    ),
    (
        PER_UNIT,
        a_slice("single", "1400", quantity_conversion={"divide_by": "1000", "rounding": "down"}),
        "2",
        ["2"],
    ),
    (
        PER_UNIT,
        a_slice("single", "10", quantity_conversion={"divide_by": "3", "rounding": None}),
        "6.67",
        ["6.67"],
    ),
    (
        PER_UNIT,
        a_slice("single", "1400", quantity_conversion={"divide_by": "1000", "rounding": None}),
        "2.8",
        ["2.8"],
    ),
    (PER_UNIT, a_slice("middle", "9", billed_before="5", maximum_spend="20"), "15", ["15"]),
    (PER_UNIT, a_slice("middle", "9", billed_before="25", maximum_spend="20"), "0", ["0"]),
    (GRADUATED, a_slice("single", "12", maximum_spend="24"), "24", ["24", "0"]),
    (GRADUATED, a_slice("single", "12", maximum_spend="24"), "24", ["20", "4", "0", "0"]),
    (PER_UNIT, a_slice("middle", "9", minimum_spend="50"), "18", ["18"]),
    (PER_UNIT, a_slice("final", "9", minimum_spend="50", billed_before="10"), "40", ["18", "22"]),
    (PER_UNIT, a_slice("single", "9", discount_percent="50", minimum_spend="10"), "10", ["9", "1"]),
]


@pytest.mark.parametrize(("model", "given", "amount", "totals"), SLICES)
def test_slices(model: Mapping[str, Any], given: Mapping[str, Any], amount: str, totals: list[str]) -> None:
    expect = {"amount": amount, "lines": [{"total": each} for each in totals]}
    assert failures(a_case("rate_slice", {"model": model, **given}, expect)) == []


OTHERS = [
    a_case("rate_quantity", {"model": VOLUME, "quantity": "2", "quantity_before": "10"}, {"amount": "-10"}),
    a_case("rate_quantity", {"model": BOUNDED, "quantity": "15"}, {"amount": "20"}),
    a_case(
        "rate_quantity", {"model": PACKAGE, "quantity": "0"}, {"amount": "6"}, {"minimum_packages": "2 per period"}
    ),
    a_case(
        "rate_quantity",
        {"model": GRADUATED, "quantity": "0"},
        {"amount": "0"},
        {"flat_fee_at_zero_quantity": "not charged"},
    ),
    a_case("rate_quantity", {"model": {**PER_UNIT, "unit_amount": "0.0015"}, "quantity": "3"}, {"amount": "0.0045"}),
    a_case("rate_quantity", {"model": {**PER_UNIT, "unit_amount": "0.0015"}, "quantity": "3"}, {"amount": "0.00"}),
    a_case("rate_quantity", {"model": {"type": "multiplier", "multiplier": "1.5"}, "quantity": "4"}, {"amount": "6"}),
    a_case("rate_events", {"model": PERCENTAGE, "events": ["10", "20"]}, {"amount": "5"}),
    a_case(
        "rate_events",
        {"model": {**PERCENTAGE, "free_events": 1, "max_amount_per_event": "2"}, "events": ["10", "20"]},
        {"amount": "2", "details": {"free_events": 1, "paid_events": 1, "fixed_total": "1", "percentage_total": "2"}},
    ),
    a_case("rate_buckets", {"model": GRADUATED, "bucket_quantities": ["0", "1", "11"]}, {"amount": "36"}),
    a_case("rate_invalid", {"model": BOUNDED, "quantity": "15"}, {"error": "no_tier_covers_the_quantity"}),
    a_case("rate_invalid", {"model": PER_UNIT, "quantity": "-1"}, {"error": "negative_quantity"}),
    a_case("round_amount", {"currency": None, "decimals": 3, "amount": "-0.0005"}, {"amount": "-0.001"}),
    a_case(
        "minimum_true_up", {"minimum_spend": "10", "usage_amount": "12"}, {"true_up": "0"}
    ),
    a_case(
        "rate_events_prorated",
        {
            "currency": None,
            "model": GRADUATED,
            "events": [{"quantity": "4", "prorated_quantity": "2"}, {"quantity": "-4", "prorated_quantity": "-3"}],
        },
        {"amount": "5"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: f"{case.kind} {case.expect}")
def test_other_kinds(case: Case) -> None:
    assert failures(case) == []


@pytest.mark.parametrize(
    "case",
    [
        a_case("rate_invalid", {"model": PER_UNIT, "quantity": "1"}, {"error": "negative_quantity"}),
        a_case("rate_invalid", {"model": BOUNDED, "quantity": "1"}, {"error": "negative_quantity"}),
        a_case("rate_quantity", {"model": {**PER_UNIT, "moon": "1"}, "quantity": "1"}, {"amount": "2"}),
        a_case("rate_quantity", {"model": PER_UNIT, "quantity": "1", "moon": "1"}, {"amount": "2"}),
        a_case(
            "rate_quantity",
            {"model": {**PER_UNIT, "unit_amount": "0.0015"}, "quantity": "3"},
            {"amount": "0.005"},
        ),
        a_case(
            "rate_quantity",
            {"model": {**PER_UNIT, "unit_amount": "0.0015"}, "quantity": "3"},
            {"amount": "0.0045"},
            {"rounding": "currency minor unit, half away from zero"},
        ),
        a_case("rate_slice", {"model": PER_UNIT, **a_slice("single", "1")}, {"amount": "2", "lines": []}),
    ],
    ids=lambda case: f"{case.kind} {case.expect}",
)
def test_what_is_not_so_fails(case: Case) -> None:
    assert failures(case) != []
