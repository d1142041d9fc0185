"""A price that cannot be sold says so at once, and says everything."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.billing.domain.rating.price import Price
from services.billing.domain.rating.validate_price import validate_price
from tests.unit.billing.prices import a_price, a_tier

PER_UNIT = a_price("per_unit", "3.20")
GRADUATED = a_price("graduated", tiers=(a_tier("50", "30"), a_tier(None, "26")))
USAGE = replace(PER_UNIT, kind="usage", timing="arrears", meter="light")
PACKAGE = a_price("package", "1", package_size="10")


@pytest.mark.parametrize("price", [PER_UNIT, GRADUATED, USAGE, PACKAGE], ids=lambda price: price.model)
def test_a_price_that_can_be_sold(price: Price) -> None:
    assert validate_price(price) == ()


def tiered(*tiers: tuple[str | None, str]) -> Price:
    return a_price("graduated", tiers=tuple(a_tier(up_to, unit) for up_to, unit in tiers))


@pytest.mark.parametrize(
    ("price", "pointers"),
    [
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
        (replace(PER_UNIT, proration="second"), ["/proration"]),
        (replace(USAGE, meter=None), ["/meter"]),
        (replace(USAGE, timing="advance"), ["/timing"]),
        (replace(USAGE, model="flat"), ["/model"]),
        (replace(PACKAGE, package_size=None), ["/package_size"]),
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
    ],
)
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
