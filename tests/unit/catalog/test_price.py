"""A price by itself: what can be sold, and what is wrong with the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from services.catalog.domain.price import Price, price_faults, price_id
from services.catalog.domain.price_tier import PriceTier
from tests.support.catalog import TIERS, a_fee, a_usage_price


class Case(NamedTuple):
    name: str
    price: Price
    faults: tuple[str, ...]


def fee(**changes: Any) -> Price:
    return a_fee(**changes)


def usage(**changes: Any) -> Price:
    return a_usage_price(**changes)


ONE = Decimal(1)
PER_UNIT: dict[str, Any] = {"model": "per_unit", "tiers": (), "unit_amount": ONE}

CASES = [
    Case("fee_per_unit_in_advance", fee(), ()),
    Case("flat_fee_in_advance", fee(model="flat"), ()),
    Case("free_fee", fee(unit_amount=Decimal(0)), ()),
    Case("fee_never_prorated", fee(proration="none"), ()),
    Case("fee_charged_whole", fee(proration="full"), ()),
    Case("graduated_usage", usage(), ()),
    Case("usage_per_unit", usage(**PER_UNIT), ()),
    Case("usage_with_included_quantity", usage(included_quantity=Decimal("10.5")), ()),
    Case("fee_in_arrears", fee(timing="arrears"), ("/timing",)),
    Case("usage_in_advance", usage(timing="advance"), ("/timing",)),
    Case("graduated_fee", fee(model="graduated", unit_amount=None, tiers=TIERS), ("/model",)),
    Case("flat_usage", usage(**PER_UNIT | {"model": "flat"}), ("/model",)),
    Case("volume_usage", usage(model="volume"), ("/model",)),
    Case(
        "usage_in_packages",
        usage(model="package", tiers=(), unit_amount=ONE, package_size=Decimal(10)),
        ("/model",),
    ),
    Case("prorated_by_second", fee(proration="second"), ("/proration",)),
    Case("prorated_usage", usage(proration="none"), ("/proration",)),
    Case("fee_without_amount", fee(unit_amount=None), ("/unit_amount",)),
    Case("negative_fee", fee(unit_amount=Decimal(-1)), ("/unit_amount",)),
    Case("fee_with_tiers", fee(tiers=TIERS), ("/tiers",)),
    Case("fee_with_package_size", fee(package_size=ONE), ("/package_size",)),
    Case("fee_with_meter", fee(meter="minutes"), ("/meter",)),
    Case("fee_with_included_quantity", fee(included_quantity=ONE), ("/included_quantity",)),
    Case("graduated_with_amount", usage(unit_amount=ONE), ("/unit_amount",)),
    Case("graduated_without_tiers", usage(tiers=()), ("/tiers",)),
    Case("graduated_with_end", usage(tiers=(PriceTier(ONE, ONE),)), ("/tiers/0/up_to",)),
    Case("usage_without_meter", usage(meter=None), ("/meter",)),
    Case("negative_inclusion", usage(included_quantity=Decimal(-1)), ("/included_quantity",)),
    Case(
        "everything_wrong_at_once",
        fee(timing="arrears", unit_amount=Decimal(-1), tiers=TIERS, meter="m", included_quantity=ONE),
        ("/timing", "/unit_amount", "/tiers", "/meter", "/included_quantity"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_price_faults(case: Case) -> None:
    assert tuple(fault["pointer"] for fault in price_faults(case.price, "")) == case.faults


@pytest.mark.parametrize("case", [c for c in CASES if c.faults], ids=lambda case: case.name)
def test_every_fault_says_what_is_wrong_and_what_to_do(case: Case) -> None:
    for fault in price_faults(case.price, ""):
        assert ": " in fault["detail"], fault["detail"]


def test_a_price_id_is_derived_from_version_and_code() -> None:
    assert price_id("plv_1", "minutes") == price_id("plv_1", "minutes")
    assert price_id("plv_1", "minutes") != price_id("plv_2", "minutes")
    assert price_id("plv_1", "minutes") != price_id("plv_1", "aircraft")
