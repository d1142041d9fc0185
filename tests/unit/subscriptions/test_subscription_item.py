"""One item for each price of the plan."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from libs.common.periods import Interval
from services.subscriptions.domain.subscription_item import (
    Offer,
    OfferedPhase,
    OfferedPrice,
    QuantityNegative,
    QuantityWithoutPrice,
    items_of,
)

PRICES = (
    OfferedPrice("prc_1", "aircraft", "recurring", None),
    OfferedPrice("prc_2", "minutes", "usage", "flying-minutes"),
)
OFFER = Offer("plv_1", "power", "Power", PRICES, Interval("month"), "USD")


def test_recurring_prices_have_a_quantity_and_usage_prices_a_meter() -> None:
    fee, minutes = items_of(OFFER, {"aircraft": Decimal(629)}, tenant="t", subscription_id="s")
    assert (fee.kind, fee.quantity, fee.meter) == ("recurring", Decimal(629), None)
    assert (minutes.kind, minutes.quantity, minutes.meter) == ("usage", None, "flying-minutes")


def test_a_quantity_that_is_left_out_is_one_and_may_be_zero() -> None:
    assert items_of(OFFER, {}, tenant="t", subscription_id="s")[0].quantity == Decimal(1)
    zero = items_of(OFFER, {"aircraft": Decimal(0)}, tenant="t", subscription_id="s")[0]
    assert zero.quantity == Decimal(0)


@pytest.mark.parametrize("code", ["minutes", "unknown"])
def test_a_quantity_belongs_to_a_recurring_price(code: str) -> None:
    with pytest.raises(QuantityWithoutPrice) as refused:
        items_of(OFFER, {code: Decimal(1)}, tenant="t", subscription_id="s")
    assert refused.value.pointer == f"/quantities/{code}"


def test_a_quantity_is_not_negative() -> None:
    with pytest.raises(QuantityNegative):
        items_of(OFFER, {"aircraft": Decimal(-1)}, tenant="t", subscription_id="s")


def test_an_items_id_follows_from_tenant_subscription_and_price() -> None:
    def ids(tenant: str, subscription_id: str) -> list[str]:
        return [item.id for item in items_of(OFFER, {}, tenant=tenant, subscription_id=subscription_id)]

    assert ids("t", "s") == ids("t", "s")
    assert len({*ids("t", "s"), *ids("t", "other"), *ids("other", "s")}) == 6


def test_an_items_id_does_not_depend_on_its_price() -> None:
    dearer = replace(OFFER, plan_version_id="plv_2", prices=(replace(PRICES[0], id="prc_9"), PRICES[1]))
    old = items_of(OFFER, {}, tenant="t", subscription_id="s")
    new = items_of(dearer, {}, tenant="t", subscription_id="s")
    assert [item.id for item in old] == [item.id for item in new]
    assert old[0].price_id != new[0].price_id


def test_an_add_ons_items_are_named_after_it_too() -> None:
    add_on = replace(OFFER, plan_code="spare", is_add_on=True)
    own, added = (items_of(offer, {}, tenant="t", subscription_id="s")[0] for offer in (OFFER, add_on))
    assert (own.code, added.code, added.add_on) == ("aircraft", "spare/aircraft", "spare")
    assert own.id != added.id


def test_a_quantity_that_is_left_out_is_the_one_from_before() -> None:
    (fee, _) = items_of(OFFER, {"aircraft": Decimal(629)}, tenant="t", subscription_id="s")
    (kept, _) = items_of(OFFER, {}, tenant="t", subscription_id="s", before={fee.id: fee.quantity})
    assert kept.quantity == Decimal(629)


def test_a_phase_has_its_own_prices_and_those_of_all_phases() -> None:
    phased = replace(
        OFFER,
        prices=(replace(PRICES[0], phase="intro"), replace(PRICES[0], id="prc_3", phase="full"), PRICES[1]),
        phases=(OfferedPhase("intro", 3), OfferedPhase("full", None)),
    )
    assert [price.id for price in phased.prices_in("intro")] == ["prc_1", "prc_2"]
    first, second = phased.phase_after(None), phased.phase_after("intro")
    assert first is not None
    assert second is not None
    assert (first.code, second.code, phased.phase_after("full")) == ("intro", "full", None)
