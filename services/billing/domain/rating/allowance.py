"""Units that cost nothing: included, rolled over from earlier periods, or left of a block that was paid for.

A balance belongs to one price of one agreement. It begins, is drawn on as usage is rated, and is renewed when what is
included begins anew, which may be less often than usage is charged (a yearly allowance, billed monthly).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from libs.common.exact import EXACT, Number
from libs.common.periods import Interval, boundary, index_on
from services.billing.domain.rating.package import packages_of
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, Covered
from services.billing.domain.rating.usage import sum_of

MONTH = Interval("month")
MONTHS_OF_A_YEAR = 12


@dataclass(frozen=True, slots=True)
class RolledOver:
    """Units from earlier, to be used in this allowance period or one of the `periods_left` - 1 after it."""

    quantity: Decimal
    periods_left: int


@dataclass(frozen=True, slots=True)
class AllowanceBalance:
    """What may still be used for nothing, before the usage that is rated next.

    `included` is left of this allowance period's own; `rolled_over` and `left_of_blocks` come from earlier.
    """

    included: Decimal
    rolled_over: tuple[RolledOver, ...] = ()
    left_of_blocks: tuple[RolledOver, ...] = ()

    @property
    def total(self) -> Decimal:
        return EXACT.add(self.included, sum_of(e.quantity for e in (*self.rolled_over, *self.left_of_blocks)))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What usage drew: `covered` is free, `billable` is not, and `closing` is what is left."""

    covered: Covered
    billable: Number
    closing: AllowanceBalance


def opening_balance(price: Price) -> AllowanceBalance:
    """The balance with which the first allowance period begins."""
    return AllowanceBalance(included=price.included_quantity)


def draw(price: Price, quantity: Decimal, opening: AllowanceBalance) -> Drawn:
    """Take `quantity` from the balance: first what is included, then what rolled over, then what is left of blocks.

    What is rolled over goes in the order in which it expires. Of a price per package, what is left of the last
    block that was begun is kept if the price has a rollover.
    Source: HP Instant Ink: plan, rollover, overage set.
    """
    included = min(quantity, opening.included)
    rest = EXACT.subtract(quantity, included)
    rest, rolled_over = _take(rest, opening.rolled_over)
    before_blocks = rest
    rest, left_of_blocks = _take(rest, opening.left_of_blocks)
    left = _left_of_begun_block(price, rest)
    if left:
        assert price.rollover is not None
        left_of_blocks = (*left_of_blocks, RolledOver(left, price.rollover.periods + 1))
    covered = Covered(
        included=included,
        rolled_over=EXACT.subtract(EXACT.subtract(quantity, included), before_blocks),
        left_of_block=EXACT.subtract(before_blocks, rest),
    )
    closing = AllowanceBalance(EXACT.subtract(opening.included, included), rolled_over, left_of_blocks)
    return Drawn(covered, rest, closing)


def renew(price: Price, closing: AllowanceBalance) -> AllowanceBalance:
    """The balance with which the next allowance period of `price` begins.

    What is included begins anew. Without a rollover, nothing else is left. With one, what was not used goes on for
    `periods` periods; of what was included, at most `cap` is kept in all, and what expires first is dropped first.
    What is left of a block that was paid for expires likewise, but no cap takes it. After a change of plan, `price`
    is the new one: a lower cap clips what is kept.
    """
    rollover = price.rollover
    if rollover is None:
        return opening_balance(price)
    kept = _older(closing.rolled_over)
    if closing.included:
        kept = (*kept, RolledOver(closing.included, rollover.periods))
    if rollover.cap is not None:
        kept = _clipped(kept, rollover.cap)
    return AllowanceBalance(price.included_quantity, kept, _older(closing.left_of_blocks))


def earned_allowance(yearly: Decimal, start_on: date, end_on: date) -> Fraction:
    """The part of a pooled yearly allowance that is earned from `start_on` until before `end_on`.

    Units: yearly x months held / 12, exactly; a month that is not whole counts by its days.
    Source: R13, a car of 18,000 km a year held for 20 months has 30,000 km.
    """
    months = index_on(start_on, MONTH, end_on)
    month_on, next_on = boundary(start_on, MONTH, months), boundary(start_on, MONTH, months + 1)
    held = months + Fraction((end_on - month_on).days, (next_on - month_on).days)
    return Fraction(yearly) * held * Fraction(1, MONTHS_OF_A_YEAR)


def _take(quantity: Decimal, entries: Sequence[RolledOver]) -> tuple[Decimal, tuple[RolledOver, ...]]:
    """What the entries do not cover, and what is left of them."""
    left: list[RolledOver] = []
    for entry in sorted(entries, key=lambda entry: entry.periods_left):
        taken = min(quantity, entry.quantity)
        quantity = EXACT.subtract(quantity, taken)
        if taken < entry.quantity:
            left.append(replace(entry, quantity=EXACT.subtract(entry.quantity, taken)))
    return quantity, tuple(left)


def keeps_rest_of_block(price: Price) -> bool:
    """Whether what is left of a block that was begun, and paid, may be used later."""
    return price.model == "package" and price.rollover is not None and price.package_rounding == "up"


def _left_of_begun_block(price: Price, billable: Decimal) -> Decimal:
    if not keeps_rest_of_block(price):
        return NOTHING
    assert price.package_size is not None, "a package has a size"
    blocks = packages_of(billable, price.package_size, "up")
    return EXACT.subtract(EXACT.multiply(blocks, price.package_size), billable)


def _older(entries: Sequence[RolledOver]) -> tuple[RolledOver, ...]:
    aged = (replace(entry, periods_left=entry.periods_left - 1) for entry in entries)
    return tuple(entry for entry in aged if entry.periods_left > 0)


def _clipped(entries: Sequence[RolledOver], cap: Decimal) -> tuple[RolledOver, ...]:
    kept: list[RolledOver] = []
    for entry in sorted(entries, key=lambda entry: -entry.periods_left):
        quantity = min(entry.quantity, cap)
        cap = EXACT.subtract(cap, quantity)
        if quantity:
            kept.append(replace(entry, quantity=quantity))
    return tuple(reversed(kept))
