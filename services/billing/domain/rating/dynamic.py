"""Dynamic: the events carry the amount in major units, of which the unit amount, if there is one, is a multiple."""

from __future__ import annotations

from libs.common.exact import Number
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, ONE, Part


def dynamic(price: Price, billable: Number) -> tuple[Part, ...]:
    multiple = ONE if price.unit_amount is None else price.unit_amount
    return ((0, billable, multiple, NOTHING, None, None),)
