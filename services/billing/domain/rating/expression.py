"""Expression: the amount is what an expression over the totals, and over the events within `sum`, comes to."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from libs.common.errors import RuleViolation
from libs.common.exact import Number, text
from libs.common.expression import PRICE_TOTALS, EventView, Expression, parse
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, ONE, Part
from services.billing.domain.rating.usage import Usage, needed_count, needed_events

WHY = "this expression"
EXPRESSIONS_KEPT = 1_024


class NegativeAmount(RuleViolation):
    code = "negative_amount"
    title = "An amount below zero"


def expression(price: Price, quantity: Decimal, billable: Number, usage: Usage | None) -> tuple[Part, ...]:
    """Units: what the expression comes to is an amount in major units of the price's currency.

    Raises: UsageIncomplete, ExpressionFailed, NegativeAmount.
    """
    assert price.expression is not None, "an expression price has an expression"
    read = expression_of(price.expression)
    names = {"quantity": quantity, "billable": billable, "included": price.included_quantity}
    if "event_count" in read.names:
        names["event_count"] = Decimal(needed_count(usage, WHY))
    amount = read.work_out(names, events_of(usage) if read.needs_events else ())
    if amount < NOTHING:
        raise NegativeAmount(
            f"the expression comes to {text(amount)}",
            pointer="/expression",
            remedy="Write max(0, …): a charge is not negative.",
        )
    return ((0, ONE, amount, NOTHING, None, None),)


@lru_cache(maxsize=EXPRESSIONS_KEPT)
def expression_of(text: str) -> Expression:
    return parse(text, PRICE_TOTALS)


def events_of(usage: Usage | None) -> list[EventView]:
    """What an expression sees of the events, in the order of time."""
    return [EventView({"value": event.value}, event.properties) for event in needed_events(usage, WHY)]
