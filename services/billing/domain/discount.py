"""What coupons take off the lines of an invoice, one after another, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.money import CurrencyMismatch, Money, allocate, total

PERCENT = Fraction(1, 100)


@dataclass(frozen=True, slots=True)
class Coupon:
    """A coupon as one customer has it: `percent` off, or `amount` off, one of the two.

    Or else it is what credits take back of discounts that were given before: `taken_back` by line, in minor units. No
    coupon is for those lines then.

    Without `product_ids` it is for all products, without `plan_codes` for all plans; with both, for these
    products in these plans. `already_used` is what of `amount` earlier invoices took: of all invoices where it
    is for once, of the same billing period where each period has the amount anew.
    `subscription_ids` are those of the document that it is for, None being all that is on it; `period_index` is the
    billing period of the one subscription for which it counts. `redemption_id` says by what the customer has it.
    """

    code: str
    name: str
    percent: Decimal | None = None
    amount: Money | None = None
    product_ids: tuple[str, ...] = ()
    plan_codes: tuple[str, ...] = ()
    stacking_order: int = 0
    already_used: Money | None = None
    redemption_id: str | None = None
    subscription_ids: tuple[str, ...] | None = None
    period_index: int | None = None
    taken_back: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        worth = (self.percent is not None) + (self.amount is not None) + bool(self.taken_back)
        assert worth == 1, "a coupon is worth a percentage or an amount"
        assert self.percent is None or 0 < self.percent <= 100, "a percentage is a part of the whole"
        assert self.amount is None or self.amount.amount_minor > 0, "an amount off is more than nothing"
        if self.already_used is not None:
            assert self.amount is not None, "only an amount is used up"
            if self.already_used.currency != self.amount.currency:
                raise CurrencyMismatch(
                    "what was used of a coupon is in its currency",
                    one=self.already_used.currency,
                    other=self.amount.currency,
                )

    @property
    def available(self) -> Money | None:
        """What is left of the amount; None for a percentage, which is never used up."""
        if self.amount is None or self.already_used is None:
            return self.amount
        return Money(max(self.amount.amount_minor - self.already_used.amount_minor, 0), self.amount.currency)


@dataclass(frozen=True, slots=True)
class DiscountableLine:
    """A line before discounts; negative when it is a credit.

    `only_if_named`: it follows from no agreement, or is no supply, so that only a coupon for its product is for it.
    """

    amount: Money
    product_id: str
    plan_code: str
    subscription_id: str | None = None
    only_if_named: bool = False
    id: str = ""


@dataclass(frozen=True, slots=True)
class Discount:
    """`amount` off `base`, which is what the coupons before left of the lines that this one is for.

    `parts` say how much of it falls on each line of the invoice, in their order; they sum to `amount`.
    """

    coupon: Coupon
    base: Money
    amount: Money
    parts: tuple[Money, ...]

    @property
    def remaining(self) -> Money | None:
        """What a later invoice may still take of the coupon's amount; None for a percentage."""
        available = self.coupon.available
        if available is None or available.currency != self.amount.currency:
            return available
        return available - self.amount


@dataclass(frozen=True, slots=True)
class Discounted:
    """`line_nets` are the lines after all discounts, in their order: line - its parts of the discounts = net."""

    line_nets: tuple[Money, ...]
    discounts: tuple[Discount, ...]
    amount: Money


def apply_coupons(
    lines: Sequence[DiscountableLine],
    coupons: Sequence[Coupon],
    currency: str,
    *,
    rounds: Literal["sum", "line"] = "sum",
) -> Discounted:
    """Take the coupons off the lines: in rising `stacking_order`, then by code, each off what is left.

    A credit counts with its sign among the lines that a coupon is for: taking back what was discounted takes
    back its discount. Where credits outweigh the charges, there is nothing to take off; nothing goes below zero.
    An amount in another currency than the invoice takes nothing off, and stays whole.
    Rounding: a percentage once, of the sum of the lines, half away from zero; the discount is then spread over
    the lines in proportion to what is left of each, by largest remainder, ties to the first line. No line changes
    its sign, and the parts sum to the discount. Where `rounds` says `line`, a percentage is one of each line, each
    rounded, and the discount is their sum: it then depends on how an amount is cut into lines.
    Units: minor units of `currency`, in which all lines are.
    Raises: CurrencyMismatch.
    """
    left = [line.amount for line in lines]
    discounts = []
    taken_back = {id for coupon in coupons for id, _ in coupon.taken_back}
    for coupon in sorted(coupons, key=lambda coupon: (coupon.stacking_order, coupon.code)):
        if coupon.taken_back:
            discount = _taken_back(coupon, lines, currency)
        else:
            covered = [
                position
                for position, line in enumerate(lines)
                if line.id not in taken_back and _is_for(coupon, line)
            ]
            discount = _discount(coupon, left, covered, currency, rounds)
        left = [net - part for net, part in zip(left, discount.parts, strict=True)]
        discounts.append(discount)
    taken = total((discount.amount for discount in discounts), currency)
    return Discounted(tuple(left), tuple(discounts), taken)


def explain(discount: Discount) -> str:
    """The discount in a line of text, from which it can be worked out again; `≈` stands where it was rounded."""
    coupon, base = discount.coupon, discount.base
    if coupon.taken_back:
        told = f"{coupon.name}: {_text(discount.amount)} of {_text(base)}"
    elif coupon.percent is not None:
        exact = Fraction(coupon.percent) * PERCENT * base.amount_minor
        equals = "=" if exact == discount.amount.amount_minor else "≈"
        told = f"{coupon.code}: {coupon.percent:f} % of {_text(base)} {equals} {_text(discount.amount)}"
    else:
        told = _explain_amount(discount)
    parts = [part for part in discount.parts if part.amount_minor]
    if len(parts) < 2 or coupon.taken_back:
        return told
    spread = ", ".join(f"{part.to_decimal():f}" for part in parts)
    return f"{told}, spread over {len(parts)} lines in proportion to what was left of each: {spread}"


def _is_for(coupon: Coupon, line: DiscountableLine) -> bool:
    if line.only_if_named and not coupon.product_ids:
        return False
    about, wanted = line.subscription_id, coupon.subscription_ids
    if wanted is not None and about is not None and about not in wanted:
        return False
    return (not coupon.product_ids or line.product_id in coupon.product_ids) and (
        not coupon.plan_codes or line.plan_code in coupon.plan_codes
    )


def _discount(
    coupon: Coupon,
    left: Sequence[Money],
    covered: Sequence[int],
    currency: str,
    rounds: Literal["sum", "line"],
) -> Discount:
    nothing = Money.zero(currency)
    base = total((left[position] for position in covered), currency)
    taken = _worth(coupon, base)
    parts = [nothing] * len(left)
    if rounds == "line" and coupon.percent is not None:
        share = Fraction(coupon.percent) * PERCENT
        for position in covered if taken.amount_minor else ():
            parts[position] = left[position].share(share.numerator, share.denominator)
        taken = total(parts, currency)
    elif taken.amount_minor:
        weights = [left[position].amount_minor for position in covered]
        for position, part in zip(covered, allocate(taken, weights), strict=True):
            parts[position] = part
    return Discount(coupon, base, taken, tuple(parts))


def _taken_back(coupon: Coupon, lines: Sequence[DiscountableLine], currency: str) -> Discount:
    parts_by_line = dict(coupon.taken_back)
    base = total((line.amount for line in lines if line.id in parts_by_line), currency)
    parts = tuple(Money(parts_by_line.get(line.id, 0), currency) for line in lines)
    return Discount(coupon, base, total(parts, currency), parts)


def _worth(coupon: Coupon, base: Money) -> Money:
    """What the coupon takes off `base`: never more than there is."""
    if base.amount_minor <= 0:
        return Money.zero(base.currency)
    if coupon.percent is not None:
        share = Fraction(coupon.percent) * PERCENT
        return base.share(share.numerator, share.denominator)
    available = coupon.available
    assert available is not None, "what is no percentage is an amount"
    if available.currency != base.currency:
        return Money.zero(base.currency)
    return Money(min(available.amount_minor, base.amount_minor), base.currency)


def _explain_amount(discount: Discount) -> str:
    coupon = discount.coupon
    assert coupon.amount is not None, "what is no percentage is an amount"
    told = f"{coupon.code}: {_text(coupon.amount)}"
    if coupon.already_used is not None and coupon.already_used.amount_minor:
        told += f", {_text(coupon.already_used)} of it used before,"
    if coupon.amount.currency != discount.base.currency:
        return f"{told} takes nothing off an invoice in {discount.base.currency}"
    told += f" off {_text(discount.base)} = {_text(discount.amount)}"
    remaining = discount.remaining
    if remaining is not None and remaining.amount_minor:
        told += f", {_text(remaining)} remain"
    return told


def _text(money: Money) -> str:
    return f"{money.to_decimal():f} {money.currency}"
