"""What a recurring price comes to for one of its periods, unrounded."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from libs.common.periods import Interval
from services.subscriptions.domain.recurring_fee import FeeNotReckoned, FeePrice, FeeTier, fee_of


def a_price(model: str, **changes: Any) -> FeePrice:
    return FeePrice("prc", "Seats", model, Interval("month"), **changes)


def tiers(*rows: tuple[str | None, str]) -> tuple[FeeTier, ...]:
    return tuple(FeeTier(None if to is None else Decimal(to), Decimal(unit)) for to, unit in rows)


SEATS = tiers(("50", "30"), (None, "26"))
STARTING = (FeeTier(Decimal(10), Decimal(2), flat_amount=Decimal(5)), FeeTier(None, Decimal(1)))
CAPPED = (FeeTier(Decimal(10), Decimal(2), cap_amount=Decimal(15)), FeeTier(None, Decimal(1)))
SHARES = (
    FeeTier(Decimal(1000), rate_percent=Decimal("1.5")),
    FeeTier(None, rate_percent=Decimal(1)),
)


class Case(NamedTuple):
    name: str
    price: FeePrice
    quantity: str
    fee: str


CASES = [
    #    name                      price                                              quantity   fee
    Case("flat", a_price("flat", unit_amount=Decimal("549")), "1", "549"),
    Case("flat_whatever_quantity", a_price("flat", unit_amount=Decimal("549")), "3", "549"),
    Case("per_unit", a_price("per_unit", unit_amount=Decimal("4.50")), "8", "36.00"),
    Case("finer_than_a_cent", a_price("per_unit", unit_amount=Decimal("0.0042")), "3", "0.0126"),
    Case("graduated", a_price("graduated", tiers=SEATS), "64", "1864"),
    Case("graduated_at_a_bound", a_price("graduated", tiers=SEATS), "50", "1500"),
    Case("volume", a_price("volume", tiers=SEATS), "64", "1664"),
    Case("volume_at_a_bound", a_price("volume", tiers=SEATS), "50", "1500"),
    Case("tier_with_a_flat_amount", a_price("graduated", tiers=STARTING), "12", "27"),
    Case("flat_amount_at_zero", a_price("graduated", tiers=STARTING), "0", "5"),
    Case(
        "flat_amount_waived_at_zero",
        a_price("graduated", tiers=STARTING, charges_first_flat_at_zero=False),
        "0",
        "0",
    ),
    Case("capped_tier", a_price("graduated", tiers=CAPPED), "12", "17"),
    Case("package_begun", a_price("package", unit_amount=Decimal(7), package_size=Decimal(10)), "11", "14"),
    Case(
        "package_full_only",
        a_price("package", unit_amount=Decimal(7), package_size=Decimal(10), package_rounding="down"),
        "19",
        "7",
    ),
    Case("percentage", a_price("percentage", rate_percent=Decimal("1.5")), "1000", "15.000"),
    Case("graduated_percentage", a_price("graduated_percentage", tiers=SHARES), "1500", "20"),
    Case("minimum", a_price("per_unit", unit_amount=Decimal(2), minimum_amount=Decimal(10)), "3", "10"),
    Case("maximum", a_price("per_unit", unit_amount=Decimal(2), maximum_amount=Decimal(10)), "9", "10"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fee_of(case: Case) -> None:
    assert fee_of(case.price, Decimal(case.quantity)) == Decimal(case.fee)


def test_a_price_that_is_reckoned_elsewhere_is_refused() -> None:
    with pytest.raises(FeeNotReckoned):
        fee_of(a_price("expression"), Decimal(1))
