"""The priced parts of a subscription: one for each price of the plan version, with the quantity agreed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from libs.common.errors import NotFound, RuleViolation
from libs.common.ids import derived_id

PriceKind = Literal["recurring", "usage", "one_time"]
ONE = Decimal(1)


class SubscriptionItemNotFound(NotFound):
    code = "subscription_item_not_found"
    title = "There is no such subscription item"


class QuantityWithoutPrice(RuleViolation):
    """A quantity is given for something that the plan does not sell by quantity."""

    code = "quantity_without_price"
    title = "No price of the plan takes this quantity"


class QuantityNegative(RuleViolation):
    code = "quantity_negative"
    title = "A quantity is not negative"


@dataclass(frozen=True, slots=True)
class OfferedPrice:
    """What of a plan's price decides how an item is made; the price itself stays in the copy of the plan."""

    id: str
    code: str
    kind: PriceKind
    meter: str | None


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """`quantity` is None where usage is metered; `meter` says by what."""

    id: str
    price_id: str
    price_code: str
    kind: PriceKind
    meter: str | None
    quantity: Decimal | None


def items_of(
    prices: Sequence[OfferedPrice],
    quantities: Mapping[str, Decimal],
    *,
    tenant: str,
    subscription_id: str,
) -> tuple[SubscriptionItem, ...]:
    """One item for each price, in the plan's order. A recurring price that no quantity is given for has one.

    Raises: QuantityWithoutPrice, QuantityNegative.
    """
    sold_by_quantity = {price.code for price in prices if price.kind == "recurring"}
    for code, quantity in quantities.items():
        if code not in sold_by_quantity:
            raise QuantityWithoutPrice(
                "the plan has no recurring price with this code",
                pointer=f"/quantities/{code}",
                remedy="Name one of the plan's recurring prices.",
                price=code,
                prices=sorted(sold_by_quantity),
            )
        if quantity < 0:
            raise QuantityNegative("a quantity is zero or more", pointer=f"/quantities/{code}")
    return tuple(
        SubscriptionItem(
            id=derived_id("si", tenant, subscription_id, price.code),
            price_id=price.id,
            price_code=price.code,
            kind=price.kind,
            meter=price.meter,
            quantity=quantities.get(price.code, ONE) if price.kind == "recurring" else None,
        )
        for price in prices
    )
