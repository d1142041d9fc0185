"""A price that cannot be sold says so at once, and says everything."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.billing.domain.rating.price import Price, Rollover
from services.billing.domain.rating.validate_price import validate_price
from tests.unit.billing.prices import a_cell, a_price, a_tier

PER_UNIT = a_price("per_unit", "3.20")
GRADUATED = a_price("graduated", tiers=(a_tier("50", "30"), a_tier(None, "26")))
USAGE = replace(PER_UNIT, kind="usage", timing="arrears", meter="light")
PACKAGE = a_price("package", "1", package_size="10")
INCLUDED = a_price("per_unit", "1", included="10")


def metered(price: Price) -> Price:
    return replace(price, kind="usage", timing="arrears", meter="light")


RECURRING: dict[str, Any] = {"kind": "recurring", "timing": "advance", "meter": None}
PERCENTAGE = metered(a_price("percentage", rate_percent="1.3"))
MATRIX = metered(
    a_price(
        "matrix",
        dimensions=("region", "class"),
        cells=(a_cell("1", "eu", "gold"), a_cell("2", "eu", "*"), a_cell("3", "*", "*")),
    )
)
CAPACITY = metered(a_price("capacity", "2", capacity_basis="peak"))
EXPRESSION = metered(a_price("expression", expression="max(5, sum(value))"))
SHARES = metered(
    a_price("graduated_percentage", tiers=(a_tier("10", "0", percent="1"), a_tier(None, "0", percent="2")))
)

SOUND = [
    PER_UNIT,
    GRADUATED,
    USAGE,
    PACKAGE,
    PERCENTAGE,
    MATRIX,
    CAPACITY,
    EXPRESSION,
    SHARES,
    a_price("flat", "1"),
    replace(PER_UNIT, kind="one_time"),
    replace(PER_UNIT, proration="second"),
    replace(PER_UNIT, minimum_amount=Decimal(1), maximum_amount=Decimal(1)),
    a_price("graduated", tiers=(a_tier("0.5", "1"), a_tier(None, "2"))),
    replace(PACKAGE, package_rounding="down"),
    replace(PACKAGE, rollover=Rollover()),
    replace(INCLUDED, rollover=Rollover(Decimal(0), 1), allowance_interval_unit="year"),
    replace(CAPACITY, unit_amount=None, tiers=GRADUATED.tiers),
    metered(a_price("dynamic")),
    metered(a_price("dynamic", "1.2")),
    replace(PERCENTAGE, **RECURRING),
    replace(PERCENTAGE, **RECURRING, free_amount=Decimal(5)),
    replace(
        PERCENTAGE,
        free_events=0,
        free_amount=Decimal(0),
        fixed_amount_per_event=Decimal(1),
        minimum_amount_per_event=Decimal(1),
        maximum_amount_per_event=Decimal(1),
    ),
    replace(EXPRESSION, **RECURRING, expression="quantity * 2"),
]


@pytest.mark.parametrize("price", SOUND, ids=lambda price: price.model)
def test_a_price_that_can_be_sold(price: Price) -> None:
    assert validate_price(price) == ()


def test_a_fault_in_an_expression_says_where_and_what_to_do() -> None:
    (fault,) = validate_price(replace(EXPRESSION, expression="quantity *"))
    assert fault["detail"] == (
        "it ends where a number, a name or a bracket should be, at character 11. "
        "Put a number, a name or a bracket here."
    )


@pytest.mark.parametrize(
    ("price", "detail"),
    [
        (replace(PER_UNIT, unit_amount=None), "is missing: the model per_unit needs it"),
        (replace(PER_UNIT, package_size=Decimal(1)), "does not belong to the model per_unit"),
        (replace(PER_UNIT, kind="one_time", meter="light"), "a one-time price is not metered"),
        (tiered := a_price("graduated", tiers=(a_tier("0", "30"), a_tier(None, "26"))), "is more than zero"),
        (replace(tiered, tiers=(a_tier("5", "3"), a_tier("5", "2"), a_tier(None, "1"))),
         "is more than where the tier before it ends"),
        (replace(PER_UNIT, unit_amount=Decimal("1e18")), "has at most 18 digits before the point"),
        (replace(PER_UNIT, unit_amount=Decimal("1e-13")), "has at most 12 decimals"),
        (replace(PER_UNIT, minimum_amount=Decimal(2), maximum_amount=Decimal(1)), "is no less than minimum_amount"),
    ],
)  # fmt: skip
def test_a_fault_says_what_would_be_right(price: Price, detail: str) -> None:
    assert [fault["detail"] for fault in validate_price(price)] == [detail]


def tiered(*tiers: tuple[str | None, str]) -> Price:
    return a_price("graduated", tiers=tuple(a_tier(up_to, unit) for up_to, unit in tiers))


FAULTY: list[tuple[Price, list[str]]] = [
    (replace(PER_UNIT, currency="XAU"), ["/currency"]),
    (replace(PER_UNIT, unit_amount=None), ["/unit_amount"]),
    (replace(PER_UNIT, unit_amount=Decimal("-0.01")), ["/unit_amount"]),
    (replace(PER_UNIT, unit_amount=Decimal("NaN")), ["/unit_amount"]),
    (replace(PER_UNIT, unit_amount=Decimal("0.0000000000001")), ["/unit_amount"]),
    (replace(PER_UNIT, unit_amount=Decimal("1e18")), ["/unit_amount"]),
    (replace(PER_UNIT, included_quantity=Decimal("-1")), ["/included_quantity"]),
    (replace(PER_UNIT, package_size=Decimal(10)), ["/package_size"]),
    (replace(PER_UNIT, tiers=GRADUATED.tiers), ["/tiers"]),
    (replace(PER_UNIT, meter="light"), ["/meter"]),
    (replace(USAGE, meter=None), ["/meter"]),
    (replace(USAGE, timing="advance"), ["/timing"]),
    (replace(USAGE, model="flat"), ["/model"]),
    (replace(PACKAGE, package_size=None), ["/package_size"]),
    (replace(PACKAGE, package_size=Decimal(-1)), ["/package_size"]),
    (replace(PER_UNIT, package_rounding="down"), ["/package_rounding"]),
    (replace(PER_UNIT, rate_percent=Decimal(1)), ["/rate_percent"]),
    (replace(PER_UNIT, free_events=1), ["/free_events"]),
    (replace(PER_UNIT, dimensions=("region",)), ["/dimensions"]),
    (replace(PER_UNIT, capacity_basis="peak"), ["/capacity_basis"]),
    (replace(PER_UNIT, expression="quantity"), ["/expression"]),
    (replace(PER_UNIT, interval_count=0), ["/interval_count"]),
    (replace(PER_UNIT, allowance_interval_count=0), ["/allowance_interval_count"]),
    (replace(PER_UNIT, allowance_interval_unit="year"), ["/allowance_interval_unit"]),
    (replace(PER_UNIT, rollover=Rollover()), ["/rollover"]),
    (replace(INCLUDED, rollover=Rollover(Decimal(-1), 0)), ["/rollover/cap", "/rollover/periods"]),
    (replace(a_price("flat", "1", included="5"), rollover=Rollover()), ["/rollover"]),
    (replace(PER_UNIT, minimum_amount=Decimal(-1)), ["/minimum_amount"]),
    (replace(PER_UNIT, maximum_amount=Decimal("NaN"), minimum_amount=Decimal(1)), ["/maximum_amount"]),
    (replace(PER_UNIT, minimum_amount=Decimal(2), maximum_amount=Decimal(1)), ["/maximum_amount"]),
    (replace(USAGE, kind="one_time", timing="advance"), ["/meter"]),
    (replace(PERCENTAGE, rate_percent=None), ["/rate_percent"]),
    (replace(PERCENTAGE, unit_amount=Decimal(1)), ["/unit_amount"]),
    (replace(PERCENTAGE, free_events=-1), ["/free_events"]),
    (replace(PERCENTAGE, free_amount=Decimal(-1)), ["/free_amount"]),
    (replace(PERCENTAGE, fixed_amount_per_event=Decimal(-1)), ["/fixed_amount_per_event"]),
    (
        replace(PERCENTAGE, minimum_amount_per_event=Decimal(2), maximum_amount_per_event=Decimal(1)),
        ["/maximum_amount_per_event"],
    ),
    (replace(PERCENTAGE, rollover=Rollover()), ["/rollover"]),
    (replace(PERCENTAGE, **RECURRING, fixed_amount_per_event=Decimal(1)), ["/model"]),
    (replace(PERCENTAGE, **RECURRING, free_events=1), ["/model"]),
    (replace(MATRIX, **RECURRING), ["/model"]),
    (replace(MATRIX, dimensions=()), ["/dimensions", *[f"/cells/{n}/values" for n in range(3)]]),
    (replace(MATRIX, cells=()), ["/cells"]),
    (replace(MATRIX, dimensions=("region", "region")), ["/dimensions/1"]),
    (replace(MATRIX, dimensions=("region", "")), ["/dimensions/1"]),
    (
        replace(MATRIX, cells=(a_cell("1", "eu"), a_cell("-1", "*", "*"))),
        ["/cells/0/values", "/cells/1/unit_amount"],
    ),
    (replace(MATRIX, cells=(a_cell("1", "eu", "*"), a_cell("2", "eu", "*"))), ["/cells/1/values"]),
    (replace(CAPACITY, capacity_basis=None), ["/capacity_basis"]),
    (replace(CAPACITY, unit_amount=None), ["/unit_amount"]),
    (replace(CAPACITY, tiers=GRADUATED.tiers), ["/unit_amount"]),
    (replace(EXPRESSION, expression=None), ["/expression"]),
    (replace(EXPRESSION, expression="quantity +"), ["/expression"]),
    (replace(EXPRESSION, **RECURRING, expression="quantity +"), ["/expression"]),
    (replace(EXPRESSION, **RECURRING, expression="sum(value)"), ["/model"]),
    (replace(EXPRESSION, **RECURRING, expression="event_count"), ["/model"]),
    (replace(SHARES, tiers=(a_tier(None, "0"),)), ["/tiers/0/rate_percent"]),
    (replace(SHARES, tiers=(a_tier(None, "1", percent="2"),)), ["/tiers/0/unit_amount"]),
    (replace(SHARES, tiers=(a_tier(None, "0", percent="-2"),)), ["/tiers/0/rate_percent"]),
    (replace(GRADUATED, tiers=(a_tier(None, "0", percent="2"),)), ["/tiers/0/rate_percent"]),
    (replace(GRADUATED, tiers=(a_tier(None, "0", cap="-2"),)), ["/tiers/0/cap_amount"]),
    (replace(PACKAGE, package_size=Decimal(0)), ["/package_size"]),
    (replace(GRADUATED, unit_amount=Decimal(1)), ["/unit_amount"]),
    (replace(GRADUATED, tiers=()), ["/tiers"]),
    (tiered(("50", "30")), ["/tiers/0/up_to"]),
    (tiered((None, "30"), (None, "26")), ["/tiers/0/up_to"]),
    (tiered(("0", "30"), (None, "26")), ["/tiers/0/up_to"]),
    (tiered(("50", "30"), ("50", "28"), (None, "26")), ["/tiers/1/up_to"]),
    (tiered(("50", "30"), ("40", "28"), (None, "26")), ["/tiers/1/up_to"]),
    (tiered(("50", "-30"), (None, "26")), ["/tiers/0/unit_amount"]),
    (tiered(("Infinity", "30"), (None, "26")), ["/tiers/0/up_to"]),
    (a_price("volume", tiers=(a_tier(None, "1", "-2"),)), ["/tiers/0/flat_amount"]),
]


@pytest.mark.parametrize(("price", "pointers"), FAULTY)
def test_each_fault_points_to_its_place(price: Price, pointers: list[str]) -> None:
    assert [fault["pointer"] for fault in validate_price(price)] == pointers


def test_all_faults_are_told_at_once() -> None:
    price = replace(
        tiered(("50", "-1"), ("40", "1"), ("60", "1")), currency="???", included_quantity=Decimal(-1)
    )
    assert [fault["pointer"] for fault in validate_price(price)] == [
        "/currency",
        "/tiers/0/unit_amount",
        "/tiers/1/up_to",
        "/tiers/2/up_to",
        "/included_quantity",
    ]


def test_twelve_decimals_and_eighteen_digits_are_on_the_edge() -> None:
    edge = Decimal("999999999999999999.123456789012")
    assert validate_price(replace(PER_UNIT, unit_amount=edge)) == ()
    assert validate_price(replace(PER_UNIT, unit_amount=Decimal("1.5000000000000000"))) == ()


WORDS = """
/allowance_interval_count: is at least one
/allowance_interval_unit: there is nothing included that could begin anew
/capacity_basis: does not belong to the model per_unit
/capacity_basis: is missing: the model capacity needs it
/cells/0/values: has one value for each dimension, * being any
/cells/1/unit_amount: is not negative
/cells/1/values: has one value for each dimension, * being any
/cells/1/values: is the same as in an earlier cell
/cells/2/values: has one value for each dimension, * being any
/cells: is missing: the model matrix needs it
/currency: is not a currency of ISO 4217 that one can pay in
/dimensions/1: is named twice
/dimensions/1: is not empty
/dimensions: does not belong to the model per_unit
/dimensions: is missing: the model matrix needs it
/expression: does not belong to the model per_unit
/expression: is missing: the model expression needs it
/fixed_amount_per_event: is not negative
/free_amount: is not negative
/free_events: does not belong to the model per_unit
/free_events: is not negative
/included_quantity: is not negative
/interval_count: is at least one
/maximum_amount: is a number
/maximum_amount: is no less than minimum_amount
/maximum_amount_per_event: is no less than minimum_amount_per_event
/meter: a one-time price is not metered
/meter: a price of usage names the meter that measures it
/meter: a recurring price is not metered
/minimum_amount: is not negative
/model: a flat fee is no price of usage: make it a recurring one
/model: needs events, which only a price of usage has
/package_rounding: does not belong to the model per_unit
/package_size: does not belong to the model per_unit
/package_size: is missing: the model package needs it
/package_size: is more than zero
/package_size: is not negative
/rate_percent: does not belong to the model per_unit
/rate_percent: is missing: the model percentage needs it
/rollover/cap: is not negative
/rollover/periods: is at least one
/rollover: there is nothing included that could roll over
/rollover: units of the model flat cannot be carried on
/rollover: units of the model percentage cannot be carried on
/tiers/0/cap_amount: is not negative
/tiers/0/flat_amount: is not negative
/tiers/0/rate_percent: does not belong to the model graduated
/tiers/0/rate_percent: is missing: the tier takes a percentage
/tiers/0/rate_percent: is not negative
/tiers/0/unit_amount: a tier that takes a percentage has no unit amount
/tiers/0/unit_amount: is not negative
/tiers/0/up_to: is a number
/tiers/0/up_to: is missing: only the last tier has no end
/tiers/0/up_to: is more than zero
/tiers/0/up_to: the last tier has no end
/tiers/1/up_to: is more than where the tier before it ends
/tiers: does not belong to the model per_unit
/tiers: is missing: the model graduated needs it
/timing: usage is known afterwards: it is charged in arrears
/unit_amount: a capacity has either a unit amount or tiers
/unit_amount: does not belong to the model graduated
/unit_amount: does not belong to the model percentage
/unit_amount: has at most 12 decimals
/unit_amount: has at most 18 digits before the point
/unit_amount: is a number
/unit_amount: is missing: the model per_unit needs it
/unit_amount: is not negative
"""


def test_each_fault_says_what_is_wrong() -> None:
    """But for what is wrong within an expression, which its language says."""
    faults = [fault for price, _ in FAULTY for fault in validate_price(price)]
    told = {
        f"{fault['pointer']}: {fault['detail']}" for fault in faults if "character" not in fault["detail"]
    }
    assert sorted(told) == WORDS.strip().splitlines()
