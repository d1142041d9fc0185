"""What is owed for the usage of a period that is over: each price that held in it, rated once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.money import Money
from libs.common.periods import Interval, index_on, local_date
from services.billing.domain.agreement import Agreement, Bounds
from services.billing.domain.charge import (
    NOTHING,
    WHOLE,
    Charge,
    ItemUsage,
    UsageOfPeriod,
    UsageOfUnknownItem,
    charge_id,
    with_amount,
)
from services.billing.domain.intervals import times
from services.billing.domain.pooled_allowance import grid_of, open_pool, pool_with, spans_of
from services.billing.domain.rating.allowance import (
    AllowanceBalance,
    AllowancePool,
    draw,
    opening_balance,
    renew,
)
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.usage import sum_of
from services.billing.domain.terms import PeriodTerms
from services.billing.domain.usage_pool import UsagePool

ItemPrice = tuple[str, str]  # the ids of an item and a price


@dataclass(frozen=True, slots=True)
class Metered:
    """A price by which an item was metered, and when."""

    item_id: str
    price: Price
    held: Bounds


def is_billed(agreement: Agreement, terms: PeriodTerms | None, usage: UsageOfPeriod) -> bool:
    """Whether usage of this window is owed: of a trial as it was agreed on, and nothing of what was billed elsewhere."""
    if terms is not None and terms.period.kind == "trial" and not terms.has_usage:
        return False
    return agreement.billed_until is None or usage.window_end > agreement.billed_until


def usage_charges(
    agreement: Agreement,
    usage: UsageOfPeriod,
    *,
    now: datetime,
    terms: PeriodTerms | None = None,
    earlier: Mapping[ItemPrice, Charge] | None = None,
    pools: Mapping[ItemPrice, Sequence[UsagePool]] | None = None,
    ends: Set[ItemPrice] = frozenset(),
    planned: Mapping[ItemPrice, AllowancePool] | None = None,
) -> list[Charge]:
    """What is owed for the usage of a period, as if nothing had been charged. Tiers start anew and are not prorated.

    Each total is rated with the price that it belongs to, by the `terms` of the period, or else by the agreement's items.
    A metered item of which the window does not tell was not used: that is a charge too, of a quantity of zero.
    `earlier` are the last charges before this one for prices of which free units last longer than a charge. `pools` are
    the true-ups that a price has part in. Prices that `ends` hold no longer after this usage, which settles their
    pooled allowances; `planned` are such pools as they were recorded for this usage before.
    Raises: UsageOfUnknownItem.
    """
    if not is_billed(agreement, terms, usage):
        return []
    metered, totals = totals_by_price(agreement, usage, terms)
    openings = {
        key: pooled_opening(
            agreement,
            key,
            found,
            usage,
            terms,
            earlier=(earlier or {}).get(key),
            planned=(planned or {}).get(key),
            is_end=key in ends,
        )
        for key, found in metered.items()
        if is_pooled(agreement, found.price)
    }
    return [
        _usage_charge(
            agreement,
            found,
            totals.get(key),
            usage,
            (earlier or {}).get(key),
            tuple((pools or {}).get(key, ())),
            openings.get(key),
            now=now,
        )
        for key, found in metered.items()
    ]


def totals_by_price(
    agreement: Agreement, usage: UsageOfPeriod, terms: PeriodTerms | None
) -> tuple[dict[ItemPrice, Metered], dict[ItemPrice, ItemUsage]]:
    """By which prices the items were metered, and how much was used at each.

    Raises: UsageOfUnknownItem.
    """
    metered = metered_in(agreement, usage, terms)
    told_at = {(told.item_id, told.price_id) for told in usage.totals}
    totals: dict[ItemPrice, ItemUsage] = {}
    for told in usage.totals:
        found = _metered_of(told, metered, told_at, agreement, usage)
        key = found.item_id, found.price.id
        metered.setdefault(key, found)
        totals[key] = _together(totals.get(key), told)
    return metered, totals


def metered_in(
    agreement: Agreement, usage: UsageOfPeriod, terms: PeriodTerms | None
) -> dict[ItemPrice, Metered]:
    """By which prices the items were metered in the window."""
    window = _window(agreement, usage)
    if terms is None:
        return {
            (item.id, item.price.id): Metered(item.id, item.price, window)
            for item in agreement.items
            if item.is_metered
        }
    found: dict[ItemPrice, Metered] = {}
    for segment in sorted(terms.segments, key=lambda segment: segment.start):
        if segment.price.kind != "usage" or segment.start >= segment.end:
            continue
        key = segment.item_id, segment.price.id
        first = found[key].held if key in found else segment
        held = Bounds(first.start_on, segment.end_on, first.start, segment.end)
        found[key] = Metered(segment.item_id, segment.price, held)
    return {key: replace(metered, held=_inside(metered.held, window)) for key, metered in found.items()}


def _window(agreement: Agreement, usage: UsageOfPeriod) -> Bounds:
    return Bounds(
        local_date(usage.window_start, agreement.zone),
        local_date(usage.window_end, agreement.zone),
        usage.window_start,
        usage.window_end,
    )


def _inside(held: Bounds, window: Bounds) -> Bounds:
    start = held if held.start > window.start else window
    end = held if held.end < window.end else window
    return Bounds(start.start_on, end.end_on, start.start, end.end)


def _metered_of(
    told: ItemUsage,
    metered: Mapping[ItemPrice, Metered],
    told_at: Set[tuple[str, str | None]],
    agreement: Agreement,
    usage: UsageOfPeriod,
) -> Metered:
    """Whose usage it is; where the window does not say at which price, it is the last one that held.

    A price that the terms do not have was changed since the window was counted: what was used at it belongs to the one
    in its place, which the window does not name.
    """
    mine = [found for (item_id, _), found in metered.items() if item_id == told.item_id]
    for found in reversed(mine):
        if told.price_id in (None, found.price.id):
            return found
    if mine:
        untold = [found for found in mine if (found.item_id, found.price.id) not in told_at]
        return (untold or mine)[-1]
    for item in agreement.items:
        if item.is_metered and item.id == told.item_id and told.price_id in (None, item.price.id):
            return Metered(item.id, item.price, _window(agreement, usage))
    raise UsageOfUnknownItem("the agreement has no such metered item", item=told.item_id, price=told.price_id)


def _together(known: ItemUsage | None, told: ItemUsage) -> ItemUsage:
    if known is None:
        return told
    return replace(
        known,
        quantity=sum_of((known.quantity, told.quantity)),
        event_count=known.event_count + told.event_count,
        estimated_quantity=sum_of((known.estimated_quantity, told.estimated_quantity)),
        true_ups=(*known.true_ups, *told.true_ups),
    )


def _usage_charge(
    agreement: Agreement,
    metered: Metered,
    used: ItemUsage | None,
    usage: UsageOfPeriod,
    earlier: Charge | None,
    pools: tuple[UsagePool, ...],
    pooled: AllowanceBalance | None,
    *,
    now: datetime,
) -> Charge:
    price, held = metered.price, metered.held
    since = held
    if pooled is not None and pooled.pool is not None and pooled.pool.is_last:
        since = Bounds(pooled.pool.start_on, held.end_on, pooled.pool.start, held.end)
    quantity = NOTHING if used is None else used.quantity
    if used is not None and used.true_ups and not pools and pooled is None:
        quantity = max(quantity, NOTHING)  # what it puts right was not billed here
    estimated = None if used is None else used.estimated_quantity or None
    return with_amount(
        Charge(
            id=charge_id(metered.item_id, price.id, usage.period_index, "usage"),
            subscription_id=agreement.id,
            item_id=metered.item_id,
            price=price,
            period_index=usage.period_index,
            kind="usage",
            revision=0,
            quantity=quantity,
            fraction=WHOLE,
            service_start=since.start,
            service_end=held.end,
            service_start_on=since.start_on,
            service_end_on=held.end_on,
            amount=Money.zero(price.currency),
            created_at=now,
            usage_window_id=usage.window_id,
            event_count=0 if used is None else used.event_count,
            allowance=pooled or opening_of(agreement, price, held, earlier),
            plan_code=agreement.plan_code,
            pools=pools,
            estimated_quantity=estimated,
        )
    )


def carries_on(agreement: Agreement, price: Price) -> bool:
    """Whether free units of one window are left for the next: they last longer than a charge, or roll over."""
    if price.kind != "usage" or agreement.interval is None or agreement.anchor_on is None:
        return False
    if price.rollover is not None or price.allowance_pool is not None:
        return True
    return (
        bool(price.included_quantity)
        and (times(_allowed_every(agreement, price), agreement.interval) or 1) > 1
    )


def is_pooled(agreement: Agreement, price: Price) -> bool:
    """Whether what is included is earned with time, and settled once."""
    return price.allowance_pool is not None and carries_on(agreement, price)


def pooled_opening(
    agreement: Agreement,
    key: ItemPrice,
    metered: Metered,
    usage: UsageOfPeriod,
    terms: PeriodTerms | None,
    *,
    earlier: Charge | None,
    planned: AllowancePool | None,
    is_end: bool,
) -> AllowanceBalance:
    """The pool with this usage. Its intervals, and their months, are counted from the anchor. Source: R13."""
    assert agreement.anchor_on is not None, "only where it is known, something is carried on"
    return pool_with(
        metered.price,
        _allowed_every(agreement, metered.price),
        spans_of(terms, key, metered.held),
        anchor_on=agreement.anchor_on,
        grid_on=grid_of(agreement, terms),
        ends_on=local_date(usage.window_end, agreement.zone),
        began=metered.held,
        before=open_pool(earlier),
        planned=planned,
        is_end=is_end,
    )


def _allowed_every(agreement: Agreement, price: Price) -> Interval:
    assert agreement.interval is not None, "only where it is known, something is carried on"
    if price.allowance_interval_unit is None:
        return agreement.interval
    return Interval(price.allowance_interval_unit, price.allowance_interval_count)


def opening_of(
    agreement: Agreement, price: Price, held: Bounds, earlier: Charge | None
) -> AllowanceBalance | None:
    """The free units before this usage: what the window before left of them, begun anew as often as was agreed on.

    The intervals of an allowance are counted from the anchor.
    """
    if not carries_on(agreement, price):
        return None
    if earlier is None:
        return opening_balance(price)
    balance = left_by(price, earlier)
    since = Bounds(
        earlier.service_start_on, earlier.service_end_on, earlier.service_start, earlier.service_end
    )
    for _ in range(renewals_between(agreement, price, since, held)):
        balance = renew(price, balance)
    return balance


def renewals_between(agreement: Agreement, price: Price, first: Bounds, last: Bounds) -> int:
    """How often what is included begins anew from the start of one window until that of another."""
    assert agreement.anchor_on is not None, "only where it is known, something is carried on"
    interval = _allowed_every(agreement, price)
    then, now = (index_on(agreement.anchor_on, interval, on) for on in (first.start_on, last.start_on))
    return max(now - then, 0)


def left_by(price: Price, earlier: Charge) -> AllowanceBalance:
    """The free units that usage left, or all periods of a true-up together."""
    quantity, opening = earlier.quantity, earlier.allowance
    for pool in earlier.pools:
        if pool.is_last:
            quantity, opening = pool.quantity, pool.allowance
    return draw(price, max(quantity, NOTHING), opening or opening_balance(price)).closing
