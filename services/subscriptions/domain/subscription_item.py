"""The priced parts of a subscription, and for how long each was agreed on at which price and quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from libs.common.errors import NotFound, RuleViolation
from libs.common.ids import derived_id
from libs.common.periods import Interval

PriceKind = Literal["recurring", "usage", "one_time"]
Proration = Literal["none", "day", "second", "full"]
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
    phase: str | None = None
    product_id: str = ""


@dataclass(frozen=True, slots=True)
class OfferedPhase:
    """`periods` is None on the last."""

    code: str
    periods: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan version, or add-on version, as it is agreed on: in one currency, with a customer's own prices or not."""

    plan_version_id: str
    plan_code: str
    plan_name: str
    prices: tuple[OfferedPrice, ...]
    interval: Interval
    currency: str
    phases: tuple[OfferedPhase, ...] = ()
    overlay_id: str | None = None
    is_add_on: bool = False

    def prices_in(self, phase: str | None) -> tuple[OfferedPrice, ...]:
        return tuple(price for price in self.prices if price.phase in (None, phase))

    def phase_after(self, phase: str | None) -> OfferedPhase | None:
        """The phase that follows, the first one after none; None after the last and for a plan without phases."""
        codes = [known.code for known in self.phases]
        place = codes.index(phase) + 1 if phase in codes else 0
        return self.phases[place] if place < len(codes) else None


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """`quantity` is None where usage is metered; `meter` says by what. `add_on` is the code of the add-on it is of.

    Its id follows from subscription, add-on and price code: it stays the same item at another price.
    """

    id: str
    price_id: str
    price_code: str
    kind: PriceKind
    meter: str | None
    quantity: Decimal | None
    plan_version_id: str = ""
    overlay_id: str | None = None
    add_on: str | None = None

    @property
    def code(self) -> str:
        """What a request names it by: the price's code, after that of the add-on if it is of one."""
        return self.price_code if self.add_on is None else f"{self.add_on}/{self.price_code}"


@dataclass(frozen=True, slots=True)
class ItemSegment:
    """From `start` until `end` (None: open) the item was agreed on as it stands here.

    `start_proration` and `end_proration` are those of the changes that began and ended it; None is the price's own.
    `start_on` and `end_on` are the local dates as they were then: a zone may have been changed since. `is_indexation`: it
    began because the price was adjusted to an index, as had been agreed on.
    """

    item: SubscriptionItem
    start: datetime
    start_on: date
    end: datetime | None = None
    end_on: date | None = None
    start_proration: Proration | None = None
    end_proration: Proration | None = None
    is_indexation: bool = False

    def ended(self, at: datetime, on: date, proration: Proration | None) -> ItemSegment:
        return replace(self, end=at, end_on=max(on, self.start_on), end_proration=proration)


def items_of(
    offer: Offer,
    quantities: Mapping[str, Decimal],
    *,
    tenant: str,
    subscription_id: str,
    phase: str | None = None,
    before: Mapping[str, Decimal | None] | None = None,
    pointer: str = "/quantities",
) -> tuple[SubscriptionItem, ...]:
    """One item for each price of the phase, in the plan's order.

    A recurring price that no quantity is given for keeps the one `before` (by item id), or has one.
    Raises: QuantityWithoutPrice, QuantityNegative.
    """
    check_quantities(offer.prices, quantities, pointer=pointer)
    items = []
    for price in offer.prices_in(phase):
        code = price.code if not offer.is_add_on else f"{offer.plan_code}/{price.code}"
        id = derived_id("si", tenant, subscription_id, code)
        quantity: Decimal | None = None
        if price.kind != "usage":
            quantity = quantities.get(price.code)
            if quantity is None:
                kept = (before or {}).get(id)
                quantity = ONE if kept is None else kept
        items.append(
            SubscriptionItem(
                id=id,
                price_id=price.id,
                price_code=price.code,
                kind=price.kind,
                meter=price.meter,
                quantity=quantity,
                plan_version_id=offer.plan_version_id,
                overlay_id=offer.overlay_id,
                add_on=offer.plan_code if offer.is_add_on else None,
            )
        )
    return tuple(items)


def check_quantities(
    prices: Sequence[OfferedPrice], quantities: Mapping[str, Decimal], *, pointer: str = "/quantities"
) -> None:
    """Raises: QuantityWithoutPrice, QuantityNegative."""
    sold_by_quantity = {price.code for price in prices if price.kind != "usage"}
    for code, quantity in quantities.items():
        if code not in sold_by_quantity:
            raise QuantityWithoutPrice(
                "the plan has no recurring or one-time price with this code",
                pointer=f"{pointer}/{code}",
                remedy="Name one of the plan's prices that are not for usage.",
                price=code,
                prices=sorted(sold_by_quantity),
            )
        if quantity < 0:
            raise QuantityNegative("a quantity is zero or more", pointer=f"{pointer}/{code}")
