"""From which amount of usage on a subscription is billed before its period is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.money import Money
from services.billing.application.gather_simulation import SubscriptionUnknown
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import Agreement
from services.billing.domain.spend_threshold import (
    SpendThreshold,
    SpendThresholdOfOtherCurrency,
)


@dataclass(frozen=True, slots=True)
class SetSpendThreshold:
    subscription_id: str
    amount: Money | None


async def set_spend_threshold(
    command: SetSpendThreshold,
    *,
    now: datetime,
    uow: UnitOfWork,
    check_version: Callable[[int | None], None],
) -> SpendThreshold:
    """Make, change or lift it; usage is looked at at once. `now` is the customer's business now.

    Raises: SubscriptionUnknown, SpendThresholdOfOtherCurrency; what `check_version` raises.
    """
    agreement = await uow.agreements.find_for_update(command.subscription_id)
    if agreement is None:
        raise SubscriptionUnknown("no subscription has this id", pointer="/subscription_id")
    if command.amount is not None and command.amount.currency != agreement.currency:
        raise SpendThresholdOfOtherCurrency(
            "the subscription is billed in another currency",
            pointer="/amount/currency",
            remedy=f"Name an amount in {agreement.currency}.",
        )
    known = await uow.spend_thresholds.find_for_update(command.subscription_id)
    threshold = known or no_threshold(agreement, now=now)
    check_version(threshold.version)
    threshold = replace(
        threshold,
        amount=command.amount,
        customer_id=agreement.pays.id,
        version=threshold.version + 1,
        due_at=None if command.amount is None else now,
    )
    if known is None:
        uow.spend_thresholds.add(threshold)
    else:
        uow.spend_thresholds.save(threshold)
    uow.record("spend_threshold.set", threshold.id, threshold.version)
    return threshold


def no_threshold(agreement: Agreement, *, now: datetime) -> SpendThreshold:
    """What a subscription has of which nothing was said."""
    return SpendThreshold(agreement.id, agreement.pays.id, now, clock_id=agreement.clock_id)
