"""A price by itself: what can be sold, and what is wrong with the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from libs.common.expression import LENGTH_MAX
from libs.common.periods import Interval
from services.catalog.domain.price import MatrixCell, Price, Rollover, price_id
from services.catalog.domain.price_faults import price_faults
from services.catalog.domain.price_tier import PriceTier
from tests.support.catalog import TIERS, a_fee, a_usage_price


class Case(NamedTuple):
    name: str
    price: Price
    faults: tuple[str, ...] = ()


ONE, NONE = Decimal(1), Decimal(0)
YEARLY = Interval("year", 1)
CELLS = (MatrixCell(("eu", "*"), ONE), MatrixCell(("*", "*"), Decimal(2)))
RATES = (PriceTier(ONE, rate_percent=Decimal("2.9")), PriceTier(None, rate_percent=Decimal("1.9")))


def fee(**changes: Any) -> Price:
    return a_fee(**changes)


def setup(**changes: Any) -> Price:
    return a_fee(**{"kind": "one_time", "model": "flat", **changes})


def usage(**changes: Any) -> Price:
    return a_usage_price(**changes)


def per_unit(**changes: Any) -> Price:
    return usage(**{"model": "per_unit", "tiers": (), "unit_amount": ONE, **changes})


def package(**changes: Any) -> Price:
    return per_unit(**{"model": "package", "package_size": Decimal(10), **changes})


def percentage(**changes: Any) -> Price:
    return usage(**{"model": "percentage", "tiers": (), "rate_percent": Decimal("2.9"), **changes})


def graduated_percentage(**changes: Any) -> Price:
    return usage(**{"model": "graduated_percentage", "tiers": RATES, **changes})


def matrix(**changes: Any) -> Price:
    terms = {"model": "matrix", "tiers": (), "dimensions": ("region", "size"), "cells": CELLS}
    return usage(**{**terms, **changes})


def dynamic(**changes: Any) -> Price:
    return usage(**{"model": "dynamic", "tiers": (), **changes})


def capacity(**changes: Any) -> Price:
    return usage(
        **{"model": "capacity", "tiers": (), "unit_amount": ONE, "capacity_basis": "peak", **changes}
    )


def expression(**changes: Any) -> Price:
    return usage(**{"model": "expression", "tiers": (), "expression": "quantity * 2", **changes})


CASES = [
    # what can be sold
    Case("fee_per_unit_in_advance", fee()),
    Case("fee_in_arrears", fee(timing="arrears")),
    Case("flat_fee", fee(model="flat")),
    Case("free_fee", fee(unit_amount=NONE)),
    Case("fee_never_prorated", fee(proration="none")),
    Case("fee_charged_whole", fee(proration="full")),
    Case("fee_prorated_by_the_second", fee(proration="second")),
    Case("graduated_fee", fee(model="graduated", unit_amount=None, tiers=TIERS)),
    Case("volume_fee", fee(model="volume", unit_amount=None, tiers=TIERS)),
    Case("fee_in_packages", fee(model="package", package_size=Decimal(5))),
    Case("fee_in_percent", fee(model="percentage", unit_amount=None, rate_percent=ONE)),
    Case("yearly_fee", fee(interval=YEARLY)),
    Case("setup_fee", setup()),
    Case("setup_fee_in_arrears", setup(timing="arrears")),
    Case("graduated_usage", usage()),
    Case("volume_usage", usage(model="volume")),
    Case("first_flat_not_charged_for_nothing", usage(charges_first_flat_at_zero=False)),
    Case("usage_per_unit", per_unit()),
    Case("usage_with_included_quantity", per_unit(included_quantity=Decimal("10.5"))),
    Case("usage_in_packages", package(package_rounding="down")),
    Case("pooled", per_unit(included_quantity=ONE, allowance_interval=YEARLY, rollover=Rollover(ONE, 3))),
    Case("uncapped_rollover", per_unit(included_quantity=ONE, rollover=Rollover())),
    Case("percentage", percentage()),
    Case("whole_percentage", percentage(rate_percent=Decimal(100))),
    Case(
        "percentage_with_everything",
        percentage(
            fixed_amount_per_event=ONE,
            free_events=0,
            free_amount=ONE,
            minimum_amount_per_event=ONE,
            maximum_amount_per_event=ONE,
        ),
    ),
    Case("graduated_percentage", graduated_percentage()),
    Case("matrix", matrix()),
    Case("dynamic", dynamic()),
    Case("marked_up", dynamic(unit_amount=Decimal("1.2"))),
    Case("capacity", capacity()),
    Case("capacity_in_tiers", capacity(unit_amount=None, tiers=TIERS, capacity_basis="time_weighted")),
    Case("expression", expression()),
    Case("bounded", per_unit(minimum_amount=ONE, maximum_amount=ONE)),
    Case("tax_included", per_unit(tax_behavior="inclusive", tax_category="standard")),
    # when it is charged, and for what
    Case("usage_in_advance", per_unit(timing="advance"), ("/timing",)),
    Case("flat_usage", per_unit(model="flat"), ("/model",)),
    Case("prorated_usage", per_unit(proration="none"), ("/proration",)),
    Case("usage_without_meter", per_unit(meter=None), ("/meter",)),
    Case("fee_with_meter", fee(meter="minutes"), ("/meter",)),
    Case("fee_with_included_quantity", fee(included_quantity=ONE), ("/included_quantity",)),
    Case("setup_fee_each_year", setup(interval=YEARLY), ("/interval",)),
    Case("prorated_setup_fee", setup(proration="second"), ("/proration",)),
    Case("setup_fee_with_meter", setup(meter="minutes"), ("/meter",)),
    Case("eleven_years", fee(interval=Interval("year", 11)), ("/interval/count",)),
    Case("matrix_fee", matrix(kind="recurring", meter=None), ("/model",)),
    Case("dynamic_fee", dynamic(kind="one_time", meter=None), ("/model",)),
    Case("capacity_fee", capacity(kind="recurring", meter=None), ("/model",)),
    Case("expression_of_a_fee", expression(kind="recurring", meter=None)),
    Case(
        "expression_of_events_of_a_fee",
        expression(kind="recurring", meter=None, expression="event_count"),
        ("/expression",),
    ),
    Case(
        "events_of_a_fee",
        percentage(kind="recurring", meter=None, free_events=1, fixed_amount_per_event=ONE),
        ("/fixed_amount_per_event", "/free_events"),
    ),
    # what a model needs, and what it has not
    Case("fee_without_amount", fee(unit_amount=None), ("/unit_amount",)),
    Case("flat_without_amount", fee(model="flat", unit_amount=None), ("/unit_amount",)),
    Case("fee_with_tiers", fee(tiers=TIERS), ("/tiers",)),
    Case("fee_with_package_size", fee(package_size=ONE), ("/package_size",)),
    Case("graduated_with_amount", usage(unit_amount=ONE), ("/unit_amount",)),
    Case("graduated_without_tiers", usage(tiers=()), ("/tiers",)),
    Case("graduated_with_end", usage(tiers=(PriceTier(ONE, ONE),)), ("/tiers/0/up_to",)),
    Case("graduated_in_percent", usage(tiers=RATES[1:]), ("/tiers/0/unit_amount", "/tiers/0/rate_percent")),
    Case(
        "package_without_size_or_amount",
        package(package_size=None, unit_amount=None),
        ("/unit_amount", "/package_size"),
    ),
    Case("package_of_nothing", package(package_size=NONE), ("/package_size",)),
    Case("half_packages_of_units", per_unit(package_rounding="down"), ("/package_rounding",)),
    Case("flat_at_zero_of_a_fee", fee(charges_first_flat_at_zero=False), ("/charges_first_flat_at_zero",)),
    Case("percentage_without_rate", percentage(rate_percent=None), ("/rate_percent",)),
    Case("percentage_with_amount", percentage(unit_amount=ONE), ("/unit_amount",)),
    Case("percentage_with_included_quantity", percentage(included_quantity=ONE), ("/included_quantity",)),
    Case("per_unit_with_rate", per_unit(rate_percent=ONE), ("/rate_percent",)),
    Case("per_unit_with_free_events", per_unit(free_events=3), ("/free_events",)),
    Case(
        "graduated_percentage_with_amounts",
        graduated_percentage(tiers=(PriceTier(None, ONE),)),
        ("/tiers/0/rate_percent", "/tiers/0/unit_amount"),
    ),
    Case("dynamic_with_tiers", dynamic(tiers=TIERS), ("/tiers",)),
    Case("capacity_without_basis", capacity(capacity_basis=None), ("/capacity_basis",)),
    Case("capacity_with_both", capacity(tiers=TIERS), ("/unit_amount",)),
    Case("capacity_with_neither", capacity(unit_amount=None), ("/unit_amount",)),
    Case("basis_of_units", per_unit(capacity_basis="peak"), ("/capacity_basis",)),
    Case("expression_without_words", expression(expression=None), ("/expression",)),
    Case("empty_expression", expression(expression=" "), ("/expression",)),
    Case("long_expression", expression(expression="1" + " " * LENGTH_MAX), ("/expression",)),
    Case("odd_expression", expression(expression="quantity \u00a7 2"), ("/expression",)),
    Case("expression_of_units", per_unit(expression="quantity"), ("/expression",)),
    Case("expression_of_unknown_things", expression(expression="total * 2"), ("/expression",)),
    Case("expression_with_included_quantity", expression(included_quantity=ONE)),
    Case("matrix_with_included_quantity", matrix(included_quantity=ONE)),
    Case("flat_with_everything_included", fee(model="flat", included_quantity=ONE), ("/included_quantity",)),
    # the matrix
    Case("matrix_without_anything", matrix(dimensions=(), cells=()), ("/dimensions", "/cells")),
    Case("same_dimension_twice", matrix(dimensions=("size", "size")), ("/dimensions/1",)),
    Case("cell_too_short", matrix(cells=(MatrixCell(("eu",), ONE),)), ("/cells/0/values",)),
    Case("cell_too_long", matrix(cells=(MatrixCell(("eu", "s", "x"), ONE),)), ("/cells/0/values",)),
    Case("same_cell_twice", matrix(cells=(*CELLS, CELLS[0])), ("/cells/2/values",)),
    Case("cell_out_of_reach", matrix(cells=(MatrixCell(("eu", ""), ONE),)), ("/cells/0/values/1",)),
    Case("negative_cell", matrix(cells=(MatrixCell(("eu", "s"), -ONE),)), ("/cells/0/unit_amount",)),
    Case(
        "too_big_a_matrix",
        matrix(
            dimensions=tuple(f"d{n}" for n in range(11)),
            cells=tuple(MatrixCell((str(n), *"*" * 10), ONE) for n in range(1_001)),
        ),
        ("/dimensions", "/cells"),
    ),
    Case("cells_of_units", per_unit(cells=CELLS, dimensions=("a", "b")), ("/dimensions", "/cells")),
    # numbers
    Case("negative_fee", fee(unit_amount=-ONE), ("/unit_amount",)),
    Case("negative_inclusion", per_unit(included_quantity=-ONE), ("/included_quantity",)),
    Case("negative_rate", percentage(rate_percent=-ONE), ("/rate_percent",)),
    Case("more_than_everything", percentage(rate_percent=Decimal("100.01")), ("/rate_percent",)),
    Case("negative_free_events", percentage(free_events=-1), ("/free_events",)),
    Case(
        "other_negative_amounts",
        percentage(free_amount=-ONE, fixed_amount_per_event=-ONE, minimum_amount=-ONE),
        ("/fixed_amount_per_event", "/free_amount", "/minimum_amount"),
    ),
    Case("least_above_most", per_unit(minimum_amount=Decimal(2), maximum_amount=ONE), ("/maximum_amount",)),
    Case(
        "least_above_most_per_event",
        percentage(minimum_amount_per_event=Decimal(2), maximum_amount_per_event=ONE),
        ("/maximum_amount_per_event",),
    ),
    # what is included
    Case(
        "allowance_of_nothing",
        per_unit(allowance_interval=YEARLY, rollover=Rollover()),
        ("/allowance_interval", "/rollover"),
    ),
    Case("rest_of_a_package", package(rollover=Rollover())),
    Case("rollover_of_capacity", capacity(included_quantity=ONE, rollover=Rollover()), ("/rollover",)),
    Case(
        "rollover_of_nothing_for_no_time",
        per_unit(included_quantity=ONE, rollover=Rollover(NONE, 0)),
        ("/rollover/periods", "/rollover/cap"),
    ),
    Case("negative_rollover", per_unit(included_quantity=ONE, rollover=Rollover(-ONE)), ("/rollover/cap",)),
    Case(
        "everything_wrong_at_once",
        fee(model="dynamic", unit_amount=-ONE, tiers=TIERS, meter="m", included_quantity=ONE, free_events=-1),
        ("/model", "/meter", "/included_quantity", "/tiers", "/free_events", "/unit_amount", "/free_events"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_price_faults(case: Case) -> None:
    assert tuple(fault["pointer"] for fault in price_faults(case.price, "")) == case.faults


@pytest.mark.parametrize("case", [c for c in CASES if c.faults], ids=lambda case: case.name)
def test_every_fault_says_what_is_wrong_and_what_to_do(case: Case) -> None:
    for fault in price_faults(case.price, ""):
        assert ": " in fault["detail"], fault["detail"]


def test_faults_stand_below_the_place_of_the_price() -> None:
    (fault,) = price_faults(matrix(cells=(MatrixCell(("eu",), ONE),)), "/prices/7")
    assert fault["pointer"] == "/prices/7/cells/0/values"


def test_a_price_id_is_derived_from_version_code_and_currency() -> None:
    price = usage()

    def id_of(version: str = "plv_1", **changes: Any) -> str:
        return price_id(version, usage(**changes), currency="USD")

    assert id_of() == price_id("plv_1", price, currency="USD")
    others = {id_of("plv_2"), id_of(code="aircraft"), id_of(currency="EUR"), id_of()}
    assert len(others) == 4


def test_a_price_in_the_plans_own_currency_has_the_id_that_it_always_had() -> None:
    assert price_id("plv_1", usage(), currency="USD") == price_id(
        "plv_1", usage(currency="EUR"), currency="EUR"
    )
    assert price_id("plv_1", usage(), currency="USD") == "prc_23ce62mdzdaczsaxsrw96znz11"
