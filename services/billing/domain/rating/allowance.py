"""Units that cost nothing: included, rolled over from earlier periods, or left of a block that was paid for.

A balance belongs to one price of one agreement. It begins, is drawn on as usage is rated, and is renewed when what is
included begins anew, which may be less often than usage is charged (a yearly allowance, billed monthly).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.exact import EXACT, Number, divide, multiply, plain, subtract
from libs.common.periods import Interval, boundary, index_on
from services.billing.domain.rating.package import packages_of
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, Covered
from services.billing.domain.rating.usage import sum_of

MONTH = Interval("month")
MONTHS_OF_A_YEAR = 12

PoolUnit = Literal["month", "day"]


@dataclass(frozen=True, slots=True)
class RolledOver:
    """Units from earlier, to be used in this allowance period or one of the `periods_left` - 1 after it."""

    quantity: Decimal
    periods_left: int


@dataclass(frozen=True, slots=True)
class AllowancePool:
    """What is included, where it is earned with time and settled once, as it stands with the usage that is rated next.

    It began on `start_on`, at `start`. It is settled with the period that reaches `until_on` (None: only when its price
    ends), or in which its price ends: `is_last`. At the end of this usage, its price has been held for `held` of the
    `length` months, or days, of an interval; `used_before` was used in the pool before this usage. Source: R13.
    """

    start_on: date
    start: datetime
    until_on: date | None
    held: Fraction
    length: int
    unit: PoolUnit
    used_before: Decimal
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class AllowanceBalance:
    """What may still be used for nothing, before the usage that is rated next.

    `included` is left of this allowance period's own; `rolled_over` and `left_of_blocks` come from earlier. In a `pool`,
    `included` is what a whole interval earns.
    """

    included: Decimal
    rolled_over: tuple[RolledOver, ...] = ()
    left_of_blocks: tuple[RolledOver, ...] = ()
    pool: AllowancePool | None = None

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

    Of a pool, nothing is to be paid until it is settled; then what was used in all of it beyond what was earned is.
    What is rolled over goes in the order in which it expires. Of a price per package, what is left of the last
    block that was begun is kept if the price has a rollover.
    Source: HP Instant Ink: plan, rollover, overage set.
    """
    if opening.pool is not None:
        billable = beyond_pool(opening.included, opening.pool, quantity) if opening.pool.is_last else NOTHING
        return Drawn(Covered(NOTHING), billable, opening)
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


def earned_by(included: Decimal, pool: AllowancePool) -> Number:
    """What the pool has earned: `included` for each interval that its price was held, exactly. Source: R13."""
    return plain(divide(multiply(included, pool.held), Decimal(pool.length)))


def with_usage(pool: AllowancePool, quantity: Decimal) -> AllowancePool:
    """The pool after this usage."""
    return replace(pool, used_before=EXACT.add(pool.used_before, quantity))


def used_of(pool: AllowancePool, quantity: Decimal) -> Decimal:
    """All that was used in the pool. An estimate that was put right may take back what was used before it."""
    return max(EXACT.add(pool.used_before, quantity), NOTHING)


def beyond_pool(included: Decimal, pool: AllowancePool, quantity: Decimal) -> Number:
    return max(NOTHING, plain(subtract(used_of(pool, quantity), earned_by(included, pool))))


def months_held(start_on: date, end_on: date, *, anchor_on: date) -> Fraction:
    """The months from `start_on` until before `end_on`, as they are counted from `anchor_on`.

    Units: months, exactly; of a month that is not whole, its days in use over all of its days. Source: R13, R8.
    """
    return _months_until(end_on, anchor_on) - _months_until(start_on, anchor_on)


def _months_until(on: date, anchor_on: date) -> Fraction:
    months = index_on(anchor_on, MONTH, on)
    month_on, next_on = boundary(anchor_on, MONTH, months), boundary(anchor_on, MONTH, months + 1)
    return months + Fraction((on - month_on).days, (next_on - month_on).days)


def earned_allowance(yearly: Decimal, start_on: date, end_on: date) -> Fraction:
    """The part of a pooled yearly allowance that is earned from `start_on` until before `end_on`.

    Units: yearly x months held / 12, exactly; a month that is not whole counts by its days.
    Source: R13, a car of 18,000 km a year held for 20 months has 30,000 km.
    """
    held = months_held(start_on, end_on, anchor_on=start_on)
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
