"""A plan as one customer has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.periods import Interval
from services.catalog.domain.plan_overlay import (
    OVERRIDABLE,
    PlanOverlay,
    PlanOverlayInvalid,
    PriceOverride,
    check_overlay,
    overlaid,
    overlay_faults,
    withdraw,
)
from services.catalog.domain.price import Price, price_id
from services.catalog.domain.price_tier import PriceTier
from tests.support.catalog import NOW, a_draft, a_fee, a_usage_price

ONE = Decimal(1)
CONTENT = a_draft(a_fee(), a_usage_price(), replace(a_fee(), currency="EUR"))


def override(code: str = "aircraft", currency: str = "USD", **changes: Any) -> PriceOverride:
    return PriceOverride(code, currency, changes)


CHEAPER = override(unit_amount=Decimal(1100))
POOLED = override("minutes", included_quantity=Decimal(500), maximum_amount=Decimal(9000))


def an_overlay(*overrides: PriceOverride, **changes: Any) -> PlanOverlay:
    overlay = PlanOverlay(
        id="ovl_1",
        customer_id="cus_1",
        plan_id="pln_power",
        plan_version_id="plv_1",
        overrides=overrides or (CHEAPER,),
        term=None,
        description="",
        version=1,
        created_at=NOW,
    )
    return replace(overlay, **changes)


def test_what_is_overridden_is_otherwise_and_the_rest_is_as_the_plan_says() -> None:
    effective = overlaid(CONTENT, (CHEAPER, POOLED))
    fee, minutes, euros = effective.prices
    assert fee == replace(CONTENT.prices[0], unit_amount=Decimal(1100))
    assert (minutes.included_quantity, minutes.maximum_amount) == (Decimal(500), Decimal(9000))
    assert minutes.tiers == CONTENT.prices[1].tiers
    assert euros == CONTENT.prices[2]
    assert replace(effective, prices=CONTENT.prices) == CONTENT


def test_overridden_prices_have_ids_of_their_own() -> None:
    overlay = an_overlay()
    ids = [overlay.id_of(price, "plv_1", currency="USD") for price in CONTENT.prices]
    assert ids[0] == price_id("ovl_1", CONTENT.prices[0], currency="USD")
    assert ids[1:] == [price_id("plv_1", price, currency="USD") for price in CONTENT.prices[1:]]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("overrides", "term", "faults"),
    [
        ((CHEAPER, POOLED), None, ()),
        ((), Interval("year", 3), ()),
        ((override(unit_amount=Decimal(0)),), None, ()),
        ((override("minutes", minimum_amount=None),), None, ()),
        ((), None, ("",)),
        ((CHEAPER,), Interval("year", 11), ("/term/count",)),
        ((override("other", unit_amount=ONE),), None, ("/prices/0/code",)),
        ((override("minutes", "EUR", maximum_amount=ONE),), None, ("/prices/0/code",)),
        ((CHEAPER, CHEAPER), None, ("/prices/1/code",)),
        ((override(),), None, ("/prices/0",)),
        ((override(unit_amount=-ONE),), None, ("/prices/0/unit_amount",)),
        ((override(unit_amount=None),), None, ("/prices/0/unit_amount",)),
        ((CHEAPER, override("minutes", unit_amount=ONE)), None, ("/prices/1/unit_amount",)),
        ((override("minutes", tiers=(PriceTier(ONE, ONE),)),), None, ("/prices/0/tiers/0/up_to",)),
        (
            (override("minutes", minimum_amount=Decimal(2), maximum_amount=ONE),),
            None,
            ("/prices/0/maximum_amount",),
        ),
    ],
)
def test_overlay_faults(
    overrides: tuple[PriceOverride, ...], term: Interval | None, faults: tuple[str, ...]
) -> None:
    found = list(overlay_faults(overrides, term, CONTENT))
    assert tuple(fault["pointer"] for fault in found) == faults
    assert all(": " in fault["detail"] for fault in found)
    if faults:
        with pytest.raises(PlanOverlayInvalid) as refused:
            check_overlay(overrides, term, CONTENT)
        assert list(refused.value.errors) == found
    else:
        check_overlay(overrides, term, CONTENT)


def test_only_how_much_may_be_otherwise_and_never_how() -> None:
    assert set(OVERRIDABLE) < set(Price.__slots__)
    assert not set(OVERRIDABLE) & {
        "code",
        "currency",
        "kind",
        "model",
        "meter",
        "timing",
        "proration",
        "interval",
    }


def test_withdrawing_twice_withdraws_once() -> None:
    withdrawn = withdraw(an_overlay(), NOW)
    assert (withdrawn.withdrawn, withdrawn.withdrawn_at, withdrawn.version) == (True, NOW, 2)
    assert withdraw(withdrawn, NOW + timedelta(days=1)) is withdrawn
