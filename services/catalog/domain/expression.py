"""What may be wrong with the expression by which an amount is reckoned."""

from __future__ import annotations

from collections.abc import Iterator

from libs.common.expression import PRICE_TOTALS, InvalidExpression, parse


def expression_faults(expression: str, *, of_usage: bool) -> Iterator[str]:
    """Everything wrong with the expression, each in words that say what to do."""
    try:
        read = parse(expression, PRICE_TOTALS)
    except InvalidExpression as invalid:
        yield f"{invalid.message}: {invalid.remedy}"
        return
    if not of_usage and (read.needs_events or "event_count" in read.names):
        yield "speaks of events, which only usage has: use quantity, or make the price's kind usage"
