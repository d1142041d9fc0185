"""What is owed for the usage of a period that is over: each price that held in it, rated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from libs.common.money import Money
from libs.common.periods import Interval, index_on, local_date
from services.billing.domain.agreement import Agreement, Bounds
from services.billing.domain.charge import (
    WHOLE,
    Charge,
    ItemUsage,
    UsageOfPeriod,
    UsageOfUnknownItem,
    charge_id,
    with_amount,
)
from services.billing.domain.intervals import times
from services.billing.domain.rating.allowance import AllowanceBalance, draw, opening_balance, renew
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.usage import sum_of
from services.billing.domain.terms import PeriodTerms

ItemPrice = tuple[str, str]  # the ids of an item and a price


@dataclass(frozen=True, slots=True)
class _Metered:
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
) -> list[Charge]:
    """What is owed for the usage of a period that is over. Tiers start anew and are not prorated.

    Each total is rated with the price that it belongs to, by the `terms` of the period, or else by the agreement's items.
    A metered item of which the window does not tell was not used: that is a charge too, of a quantity of zero.
    `earlier` are the last charges before this one for prices of which free units last longer than a charge.
    Raises: UsageOfUnknownItem.
    """
    if not is_billed(agreement, terms, usage):
        return []
    metered = metered_in(agreement, usage, terms)
    totals: dict[ItemPrice, ItemUsage] = {}
    for told in usage.totals:
        found = _metered_of(told, metered, agreement, usage)
        key = found.item_id, found.price.id
        metered.setdefault(key, found)
        totals[key] = _together(totals.get(key), told)
    return [
        _usage_charge(agreement, found, totals.get(key), usage, (earlier or {}).get(key), now=now)
        for key, found in metered.items()
    ]


def metered_in(
    agreement: Agreement, usage: UsageOfPeriod, terms: PeriodTerms | None
) -> dict[ItemPrice, _Metered]:
    """By which prices the items were metered in the window."""
    window = _window(agreement, usage)
    if terms is None:
        return {
            (item.id, item.price.id): _Metered(item.id, item.price, window)
            for item in agreement.items
            if item.is_metered
        }
    found: dict[ItemPrice, _Metered] = {}
    for segment in sorted(terms.segments, key=lambda segment: segment.start):
        if segment.price.kind != "usage" or segment.start >= segment.end:
            continue
        key = segment.item_id, segment.price.id
        first = found[key].held if key in found else segment
        held = Bounds(first.start_on, segment.end_on, first.start, segment.end)
        found[key] = _Metered(segment.item_id, segment.price, held)
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
    told: ItemUsage, metered: Mapping[ItemPrice, _Metered], agreement: Agreement, usage: UsageOfPeriod
) -> _Metered:
    """Whose usage it is; where the window does not say at which price, it is the last one that held."""
    mine = [found for (item_id, _), found in metered.items() if item_id == told.item_id]
    for found in reversed(mine):
        if told.price_id in (None, found.price.id):
            return found
    for item in agreement.items:
        if item.is_metered and item.id == told.item_id and told.price_id in (None, item.price.id):
            return _Metered(item.id, item.price, _window(agreement, usage))
    raise UsageOfUnknownItem("the agreement has no such metered item", item=told.item_id, price=told.price_id)


def _together(known: ItemUsage | None, told: ItemUsage) -> ItemUsage:
    if known is None:
        return told
    quantity = sum_of((known.quantity, told.quantity))
    return replace(known, quantity=quantity, event_count=known.event_count + told.event_count)


def _usage_charge(
    agreement: Agreement,
    metered: _Metered,
    used: ItemUsage | None,
    usage: UsageOfPeriod,
    earlier: Charge | None,
    *,
    now: datetime,
) -> Charge:
    price, held = metered.price, metered.held
    return with_amount(
        Charge(
            id=charge_id(metered.item_id, price.id, usage.period_index, "usage"),
            subscription_id=agreement.id,
            item_id=metered.item_id,
            price=price,
            period_index=usage.period_index,
            kind="usage",
            revision=0,
            quantity=Decimal(0) if used is None else used.quantity,
            fraction=WHOLE,
            service_start=held.start,
            service_end=held.end,
            service_start_on=held.start_on,
            service_end_on=held.end_on,
            amount=Money.zero(price.currency),
            created_at=now,
            usage_window_id=usage.window_id,
            event_count=0 if used is None else used.event_count,
            allowance=_opening(agreement, price, held, earlier),
        )
    )


def carries_on(agreement: Agreement, price: Price) -> bool:
    """Whether free units of one window are left for the next: they last longer than a charge, or roll over."""
    if price.kind != "usage" or agreement.interval is None or agreement.anchor_on is None:
        return False
    if price.rollover is not None:
        return True
    return (
        bool(price.included_quantity)
        and (times(_allowed_every(agreement, price), agreement.interval) or 1) > 1
    )


def _allowed_every(agreement: Agreement, price: Price) -> Interval:
    assert agreement.interval is not None, "only where it is known, something is carried on"
    if price.allowance_interval_unit is None:
        return agreement.interval
    return Interval(price.allowance_interval_unit, price.allowance_interval_count)


def _opening(
    agreement: Agreement, price: Price, held: Bounds, earlier: Charge | None
) -> AllowanceBalance | None:
    """The free units before this usage: what the window before left of them, begun anew as often as was agreed on.

    The intervals of an allowance are counted from the anchor.
    """
    if not carries_on(agreement, price):
        return None
    if earlier is None:
        return opening_balance(price)
    assert agreement.anchor_on is not None, "only where it is known, something is carried on"
    interval = _allowed_every(agreement, price)
    then, now = (
        index_on(agreement.anchor_on, interval, on) for on in (earlier.service_start_on, held.start_on)
    )
    balance = earlier.allowance or opening_balance(price)
    balance = draw(price, earlier.quantity, balance).closing
    for _ in range(then, now):
        balance = renew(price, balance)
    return balance
