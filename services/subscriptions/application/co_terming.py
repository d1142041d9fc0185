"""One anchor for several subscriptions of a customer, so that their periods end together."""

from __future__ import annotations

from datetime import date

from libs.common.errors import RuleViolation
from libs.common.periods import Interval
from services.subscriptions.application.pointing import pointing_at
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.subscription import OVER, SubscriptionNotFound

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}


class CoTermDoesNotFit(RuleViolation):
    """Periods end together only where one is a multiple of the other."""

    code = "co_term_does_not_fit"
    title = "The two cannot have their periods end together"


async def anchor_of(co_term_with: str, *, customer_id: str, interval: Interval, uow: UnitOfWork) -> date:
    """The date from which the periods of `co_term_with` are counted.

    Raises: SubscriptionNotFound, CoTermDoesNotFit.
    """
    with pointing_at("/co_term_with"):
        other = await uow.subscriptions.get(co_term_with)
        if other.customer_id != customer_id:
            raise SubscriptionNotFound("the customer has no subscription with this id")
        if other.state in OVER:
            raise CoTermDoesNotFit(f"that subscription is {other.state}")
        if not fit(interval, other.calendar.interval):
            raise CoTermDoesNotFit(
                "neither interval is a multiple of the other",
                interval={
                    "unit": other.calendar.interval.unit,
                    "count": other.calendar.interval.count,
                },
                remedy="Choose a plan that is billed at the same interval, or at a multiple of it.",
            )
    return other.calendar.anchor_on


def fit(one: Interval, other: Interval) -> bool:
    """Whether every boundary of the longer one is a boundary of the shorter one."""
    for lengths in (_MONTHS, _DAYS):
        if one.unit in lengths and other.unit in lengths:
            counts = sorted((one.count * lengths[one.unit], other.count * lengths[other.unit]))
            return counts[1] % counts[0] == 0
    return False
