"""Event → mail: what customers are told of their subscriptions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from libs.common.contracts.envelope import Event
from libs.common.contracts.subscriptions import (
    SubscriptionEndedV1,
    SubscriptionReceiptIssuedV1,
    SubscriptionRecoveredV1,
    SubscriptionRenewalUpcomingV1,
    SubscriptionTrialEndingV1,
)
from libs.common.periods import local_date
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.tell_of_subscription import TellOfSubscription, tell_of_subscription

Told = (
    SubscriptionTrialEndingV1
    | SubscriptionRenewalUpcomingV1
    | SubscriptionReceiptIssuedV1
    | SubscriptionRecoveredV1
)
# Of these a mail tells already: the receipt of a withdrawal, and the last step of dunning.
ENDS_TOLD_OF = ("withdrawn", "not_paid")


async def on_trial_ending(event: SubscriptionTrialEndingV1, uow: BillingUnitOfWork) -> None:
    ends_at = event.ends_at.isoformat()
    await tell_of_subscription(
        TellOfSubscription(
            kind="trial_ending",
            subscription_id=event.subscription_id,
            fact=f"{event.subscription_id}:trial_ending:{ends_at}",
            occurred_at=event.occurred_at,
            details={
                "ends_on": await _local(event.subscription_id, event.ends_at, uow),
                "ends_at": ends_at,
                "has_payment_method": int(event.has_payment_method),
            },
            customer_id=event.customer_id,
        ),
        uow=uow,
    )


async def on_renewal_upcoming(event: SubscriptionRenewalUpcomingV1, uow: BillingUnitOfWork) -> None:
    """Each reminder of a term, by the days before its end."""
    ends_at = event.term_ends_at.isoformat()
    await tell_of_subscription(
        TellOfSubscription(
            kind="renewal_upcoming",
            subscription_id=event.subscription_id,
            fact=f"{event.subscription_id}:renewal_upcoming:{ends_at}:{event.days_before}",
            occurred_at=event.occurred_at,
            details={
                "ends_on": await _local(event.subscription_id, event.term_ends_at, uow),
                "term_ends_at": ends_at,
                "on_term_end": event.on_term_end,
            },
            customer_id=event.customer_id,
        ),
        uow=uow,
    )


async def on_receipt_issued(event: SubscriptionReceiptIssuedV1, uow: BillingUnitOfWork) -> None:
    """With the date and the time at which the declaration was received."""
    await tell_of_subscription(
        TellOfSubscription(
            kind="cancellation_receipt" if event.kind == "cancellation" else "withdrawal_receipt",
            subscription_id=event.subscription_id,
            fact=event.receipt_id,
            occurred_at=event.occurred_at,
            details={
                "receipt": event.receipt_id,
                "ends_at": None if event.ends_at is None else event.ends_at.isoformat(),
            },
            customer_id=event.customer_id,
        ),
        uow=uow,
    )


async def on_subscription_recovered(event: SubscriptionRecoveredV1, uow: BillingUnitOfWork) -> None:
    await tell_of_subscription(
        TellOfSubscription(
            kind="subscription_recovered",
            subscription_id=event.subscription_id,
            fact=f"{event.subscription_id}:recovered:{event.version}",
            occurred_at=event.occurred_at,
        ),
        uow=uow,
    )


async def tell_of_end(event: SubscriptionEndedV1, uow: BillingUnitOfWork) -> None:
    """Unless another mail tells of it already."""
    if event.reason in ENDS_TOLD_OF:
        return
    await tell_of_subscription(
        TellOfSubscription(
            kind="subscription_ended",
            subscription_id=event.subscription.subscription_id,
            fact=f"{event.subscription.subscription_id}:ended",
            occurred_at=event.occurred_at,
            details={
                "ends_on": local_date(event.ended_at, event.subscription.zone).isoformat(),
                "reason": event.reason,
            },
            plan_name=event.subscription.plan_name,
        ),
        uow=uow,
    )


def subscriptions_told_of(given: Iterable[Event]) -> dict[str, str | None]:
    """By id, who is told, as far as the events say it: what has to be at hand before they are."""
    return {
        event.subscription_id: getattr(event, "customer_id", None)
        for event in given
        if isinstance(event, Told)
    }


async def _local(subscription_id: str, instant: datetime, uow: BillingUnitOfWork) -> str | None:
    """The date of an instant where the subscription's days are counted."""
    if not await uow.mails.is_wanted():
        return None
    agreement = await uow.agreements.find_for_update(subscription_id)
    return None if agreement is None else local_date(instant, agreement.zone).isoformat()
