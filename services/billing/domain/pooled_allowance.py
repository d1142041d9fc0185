"""Allowances that are earned with time: how far a pool has come with the usage of a period, and what settles it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction

from libs.common.periods import Interval, boundary, index_on
from services.billing.domain.agreement import Agreement, Bounds
from services.billing.domain.charge import NOTHING, Charge
from services.billing.domain.rating.allowance import (
    MONTH,
    MONTHS_OF_A_YEAR,
    AllowanceBalance,
    AllowancePool,
    PoolUnit,
    months_held,
    with_usage,
)
from services.billing.domain.rating.price import Price
from services.billing.domain.terms import PeriodTerms

DAYS_OF_A_WEEK = 7

Span = tuple[date, date]


def pool_with(
    price: Price,
    interval: Interval,
    spans: list[Span],
    *,
    anchor_on: date,
    grid_on: date,
    ends_on: date,
    began: Bounds,
    before: AllowancePool | None,
    planned: AllowancePool | None = None,
    is_end: bool = False,
) -> AllowanceBalance:
    """The pool with usage until `ends_on`, of which the price was held for `spans`; it goes on from `before`, or begins.

    The price earns what it includes with each `interval`. A pool over an interval is settled with the usage that reaches
    the end of that interval, counted from `anchor_on`, as it was `planned` when the pool began; any pool is settled where
    its price `is_end`ed. Months are counted from `grid_on`.
    Source: R13.
    """
    unit, length = units_of(interval)
    held = _time_held(spans, unit, grid_on=grid_on)
    if before is not None:
        pool = replace(before, held=before.held + held)
    else:
        until_on = _until(price, interval, anchor_on, began.start_on)
        if planned is not None and planned.start_on == began.start_on:
            until_on = planned.until_on
        pool = AllowancePool(began.start_on, began.start, until_on, held, length, unit, used_before=NOTHING)
    is_reached = pool.until_on is not None and ends_on >= pool.until_on
    return AllowanceBalance(price.included_quantity, pool=replace(pool, is_last=is_end or is_reached))


def open_pool(earlier: Charge | None) -> AllowancePool | None:
    """The pool after a charge, where that did not settle it."""
    if earlier is None or earlier.is_end or earlier.allowance is None or earlier.allowance.pool is None:
        return None
    pool = earlier.allowance.pool
    if pool.is_last:
        return None
    return with_usage(pool, earlier.quantity)


def wrong_pools(charges: Sequence[Charge]) -> Iterator[str]:
    """The ids of charges that do not go on from the pool before them: of one item and price, all revisions."""
    newest: dict[int, Charge] = {}
    for charge in sorted(charges, key=lambda charge: charge.revision):
        newest[charge.period_index] = charge
    before: AllowancePool | None = None
    for index in sorted(newest):
        charge = newest[index]
        pool = None if charge.allowance is None else charge.allowance.pool
        if pool is not None and not charge.is_end:
            used, held = (NOTHING, Fraction(0)) if before is None else (before.used_before, before.held)
            if pool.used_before != used or pool.held < held:
                yield charge.id
        before = open_pool(charge)


def spans_of(terms: PeriodTerms | None, key: tuple[str, str], held: Bounds) -> list[Span]:
    """The local dates in which an item was agreed on at a price: a pause lies between them."""
    if terms is None:
        return [(held.start_on, held.end_on)]
    return [
        (segment.start_on, segment.end_on)
        for segment in terms.segments
        if (segment.item_id, segment.price.id) == key and segment.start_on < segment.end_on
    ]


def grid_of(agreement: Agreement, terms: PeriodTerms | None) -> date:
    """From which date months are counted: the anchor, or where the period lies on none of its months, its beginning."""
    anchor_on = agreement.anchor_on
    assert anchor_on is not None, "only where it is known, something is carried on"
    if terms is None:
        return anchor_on
    start_on = terms.period.whole.start_on
    is_of_anchor = boundary(anchor_on, MONTH, index_on(anchor_on, MONTH, start_on)) == start_on
    return anchor_on if is_of_anchor else start_on


def goes_on_in(terms: PeriodTerms | None, agreement: Agreement, key: tuple[str, str]) -> bool | None:
    """Whether the price holds in a period that follows; None where nothing is agreed on for its item, as in a pause."""
    if terms is None:
        return key in {(item.id, item.price.id) for item in agreement.items}
    prices = set(_prices_of(terms, key[0]))
    return None if not prices else key[1] in prices


def replaced_within(terms: PeriodTerms | None, key: tuple[str, str], held: Bounds) -> bool:
    """Whether another price takes the place of this one before its period ends."""
    if terms is None:
        return False
    item_id, price_id = key
    return any(
        segment.item_id == item_id
        and segment.price.kind == "usage"
        and segment.price.id != price_id
        and held.end <= segment.start < segment.end
        for segment in terms.segments
    )


def _prices_of(terms: PeriodTerms, item_id: str) -> Iterator[str]:
    for segment in terms.segments:
        if segment.item_id == item_id and segment.start < segment.end:
            yield segment.price.id


def _until(price: Price, interval: Interval, anchor_on: date, start_on: date) -> date | None:
    if price.allowance_pool == "subscription":
        return None
    return boundary(anchor_on, interval, index_on(anchor_on, interval, start_on) + 1)


def units_of(interval: Interval) -> tuple[PoolUnit, int]:
    """The unit in which the time of such intervals is counted, and how many of it make one."""
    if interval.unit in ("day", "week"):
        return "day", interval.count * (DAYS_OF_A_WEEK if interval.unit == "week" else 1)
    return "month", interval.count * (MONTHS_OF_A_YEAR if interval.unit == "year" else 1)


def _time_held(spans: list[Span], unit: PoolUnit, *, grid_on: date) -> Fraction:
    if unit == "day":
        return Fraction(sum((end_on - start_on).days for start_on, end_on in spans))
    return sum(
        (months_held(start_on, end_on, anchor_on=grid_on) for start_on, end_on in spans), start=Fraction(0)
    )
