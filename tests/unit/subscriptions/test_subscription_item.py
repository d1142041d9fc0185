"""One item for each price of the plan."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.subscriptions.domain.subscription_item import (
    OfferedPrice,
    QuantityNegative,
    QuantityWithoutPrice,
    items_of,
)

PRICES = [
    OfferedPrice("prc_1", "aircraft", "recurring", None),
    OfferedPrice("prc_2", "minutes", "usage", "flying-minutes"),
]


def test_recurring_prices_have_a_quantity_and_usage_prices_a_meter() -> None:
    fee, minutes = items_of(PRICES, {"aircraft": Decimal(629)}, tenant="t", subscription_id="s")
    assert (fee.kind, fee.quantity, fee.meter) == ("recurring", Decimal(629), None)
    assert (minutes.kind, minutes.quantity, minutes.meter) == ("usage", None, "flying-minutes")


def test_a_quantity_that_is_left_out_is_one_and_may_be_zero() -> None:
    assert items_of(PRICES, {}, tenant="t", subscription_id="s")[0].quantity == Decimal(1)
    zero = items_of(PRICES, {"aircraft": Decimal(0)}, tenant="t", subscription_id="s")[0]
    assert zero.quantity == Decimal(0)


@pytest.mark.parametrize("code", ["minutes", "unknown"])
def test_a_quantity_belongs_to_a_recurring_price(code: str) -> None:
    with pytest.raises(QuantityWithoutPrice) as refused:
        items_of(PRICES, {code: Decimal(1)}, tenant="t", subscription_id="s")
    assert refused.value.pointer == f"/quantities/{code}"


def test_a_quantity_is_not_negative() -> None:
    with pytest.raises(QuantityNegative):
        items_of(PRICES, {"aircraft": Decimal(-1)}, tenant="t", subscription_id="s")


def test_an_items_id_follows_from_tenant_subscription_and_price() -> None:
    def ids(tenant: str, subscription_id: str) -> list[str]:
        return [item.id for item in items_of(PRICES, {}, tenant=tenant, subscription_id=subscription_id)]

    assert ids("t", "s") == ids("t", "s")
    assert len({*ids("t", "s"), *ids("t", "other"), *ids("other", "s")}) == 6
