"""A credit takes back, with what was charged, what coupons took off it and what prepaid units covered of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.common.money import Money
from services.billing.domain.charge import Charge
from services.billing.domain.discount import Coupon
from services.billing.domain.invoice_line import InvoiceLine

# What was charged under one of these stands on lines that a credit of the same can refer to.
BilledKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Billed:
    """What lines of one item, price and billing period came to on all documents, and of that, what was taken off."""

    amount: Money
    discount: Money
    prepaid: Money


@dataclass(frozen=True, slots=True)
class TakenBack:
    """By the ids of all lines that give something back; amounts of zero or below."""

    discounts: Mapping[str, Money]
    prepaid: Mapping[str, Money]

    @property
    def as_coupon(self) -> Coupon | None:
        """What stands beside the coupons of a document that gives back; None where nothing on it does."""
        parts = tuple((id, amount.amount_minor) for id, amount in self.discounts.items())
        if not parts:
            return None
        return Coupon(
            code="taken-back",
            name="Discounts taken back with what they were given for",
            stacking_order=-1,
            taken_back=parts,
        )


def key_of(charge: Charge) -> BilledKey:
    return charge.item_id, charge.price.id, charge.period_index


def gives_back(charge: Charge) -> bool:
    """Whether it is a credit of what was charged before; a commitment lessens what is charged beside it."""
    return charge.amount.amount_minor < 0 and charge.kind != "commitment"


def taken_back(
    lines: Sequence[InvoiceLine], charges: Mapping[str, Charge], billed: Mapping[BilledKey, Billed]
) -> TakenBack:
    """What the credits among `lines` take back, in proportion to what they give back of what is still billed.

    Hence one that gives back all takes back all, and no more than was paid is ever given back.
    Rounding: discount and units of a line together, once, half away from zero.
    """
    discounts: dict[str, Money] = {}
    prepaid: dict[str, Money] = {}
    left = dict(billed)
    for line in lines:
        charge = None if line.charge_id is None else charges.get(line.charge_id)
        if charge is None or not gives_back(charge) or line.amount.amount_minor >= 0:
            continue
        discounts[line.id] = prepaid[line.id] = Money.zero(line.amount.currency)
        known = left.get(key_of(charge))
        if known is None or known.amount.amount_minor <= 0:
            continue
        given = min(-line.amount.amount_minor, known.amount.amount_minor)
        off, units = _parts(known, given)
        left[key_of(charge)] = Billed(
            known.amount - Money(given, line.amount.currency), known.discount - off, known.prepaid - units
        )
        discounts[line.id], prepaid[line.id] = -off, -units
    return TakenBack(discounts, prepaid)


def _parts(known: Billed, given: int) -> tuple[Money, Money]:
    """Of the discount, and of what units covered: both together rounded once, so that the rest is never below zero."""
    whole = known.amount.amount_minor
    both = (known.discount + known.prepaid).share(given, whole).amount_minor
    off = known.discount.share(given, whole).amount_minor
    off = min(max(off, both - known.prepaid.amount_minor), both)
    currency = known.amount.currency
    return Money(off, currency), Money(both - off, currency)
