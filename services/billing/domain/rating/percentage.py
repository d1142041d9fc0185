"""Percentage: a share of the amount used, and for each event a fixed part, with what is free and what bounds it."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from libs.common.exact import EXACT, Number, subtract
from services.billing.domain.rating.graduated_percentage import share_of
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, Part
from services.billing.domain.rating.usage import (
    Usage,
    needed_amounts,
    needed_count,
)

_add, _multiply = EXACT.add, EXACT.multiply
_new = tuple.__new__  # what a named tuple calls, without the call around it


class EventFee(NamedTuple):
    """What one event costs: `taken` is the part of its amount that is not free. Nothing where all of it is."""

    amount: Decimal
    taken: Decimal
    is_free: bool
    fee: Decimal


def percentage(price: Price, _quantity: Decimal, billable: Number, usage: Usage | None) -> tuple[Part, ...]:
    """Units: the quantity is an amount in major units of the price's currency.

    Where no rule is about single events, the total and the count are enough.
    Raises: UsageIncomplete, UsageInconsistent, NegativeQuantity.
    """
    rate = share_of(price.rate_percent)
    if is_about_events(price):
        fees = event_fees(price, usage)
        taken = whole = NOTHING
        for _, part, is_free, fee in fees:
            if not is_free:
                taken, whole = _add(taken, part), _add(whole, fee)
        return ((0, taken, rate, EXACT.subtract(whole, _multiply(taken, rate)), None, None),)
    rest = max(NOTHING, subtract(billable, price.free_amount or NOTHING))
    fixed = NOTHING
    if price.fixed_amount_per_event:
        fixed = EXACT.multiply(price.fixed_amount_per_event, Decimal(needed_count(usage, WHY)))
    return ((0, rest, rate, fixed, None, None),)


WHY = "a percentage with rules for single events"


def is_about_events(price: Price) -> bool:
    """Whether the fee depends on the single events, and not only on their sum and count."""
    if price.minimum_amount_per_event is not None or price.maximum_amount_per_event is not None:
        return True
    return bool(price.free_events) or bool(free_amount(price) and price.fixed_amount_per_event)


def free_amount(price: Price) -> Decimal:
    """What is included, and what is free: of an amount they are the same."""
    return EXACT.add(price.included_quantity, price.free_amount or NOTHING)


def event_fees(price: Price, usage: Usage | None) -> list[EventFee]:
    """Each event with its fee, in the order of time.

    The first events are free while neither `free_events` nor what is free of the amount is used up, whichever the
    price has; the event that goes beyond that amount pays for what is beyond, and its fixed part. Then all pay.
    The least and the most bound the percentage and the fixed part together, but not an event that is free.
    Rounding: none; the line is rounded.
    """
    events = needed_amounts(usage, WHY)
    rate, fixed = share_of(price.rate_percent), price.fixed_amount_per_event or NOTHING
    least, most = price.minimum_amount_per_event, price.maximum_amount_per_event
    amount_left = free_amount(price) or None
    events_left = price.free_events or None
    has_free = amount_left is not None or events_left is not None
    fees: list[EventFee] = []
    for event in events:
        taken = event.value
        if has_free and events_left != 0:
            if amount_left is None or taken <= amount_left:
                amount_left = None if amount_left is None else EXACT.subtract(amount_left, taken)
                events_left = None if events_left is None else events_left - 1
                fees.append(EventFee(taken, NOTHING, True, NOTHING))
                continue
            taken = EXACT.subtract(taken, amount_left)
        has_free = False
        fee = _add(_multiply(taken, rate), fixed)
        if least is not None and fee < least:
            fee = least
        if most is not None and fee > most:
            fee = most
        fees.append(_new(EventFee, (event.value, taken, False, fee)))
    return fees
