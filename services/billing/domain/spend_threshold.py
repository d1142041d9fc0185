"""An amount of usage not invoiced yet at which a subscription is billed at once, before its period is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from libs.common.errors import RuleViolation
from libs.common.money import Money
from libs.common.periods import local_date, start_of_day


class SpendThresholdOfOtherCurrency(RuleViolation):
    code = "spend_threshold_of_other_currency"
    title = "The threshold is not in the currency of the subscription"


@dataclass(frozen=True, slots=True)
class SpendThreshold:
    """It has the id of its subscription. `amount` is None where nothing is billed before the period is over.

    `due_at` is when usage is looked at next; None once the agreement has ended.
    """

    subscription_id: str
    customer_id: str
    created_at: datetime
    amount: Money | None = None
    clock_id: str | None = None
    version: int = 0
    checked_at: datetime | None = None
    due_at: datetime | None = None

    @property
    def id(self) -> str:
        return self.subscription_id


def is_reached(threshold: Money, not_invoiced: Iterable[Money]) -> bool:
    """Whether what is not invoiced yet comes to the threshold. What is owed in another currency counts for nothing."""
    mine = [amount for amount in not_invoiced if amount.currency == threshold.currency]
    owed = sum(amount.amount_minor for amount in mine)
    return owed > 0 and owed >= threshold.amount_minor


def next_look(threshold: SpendThreshold, *, zone: str, now: datetime, every: timedelta) -> datetime:
    """By the wall after so much time; by a test clock at the beginning of each local day."""
    if threshold.clock_id is None:
        return now + every
    return start_of_day(local_date(now, zone) + timedelta(days=1), zone)


def looked_at(threshold: SpendThreshold, *, next_at: datetime | None, now: datetime) -> SpendThreshold:
    return replace(threshold, checked_at=now, due_at=next_at)
