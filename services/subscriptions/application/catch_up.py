"""A subscription that is asked to change while it is behind: first what is due is done, as the scheduler would."""

from __future__ import annotations

from datetime import datetime

from libs.common.errors import Conflict
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.renew_subscription import RenewSubscription, renew_subscription
from services.subscriptions.domain.renewal import NotDue
from services.subscriptions.domain.subscription import Subscription

STEPS_MAX = 120


class SubscriptionBehind(Conflict):
    """More is due than one request catches up with."""

    code = "subscription_behind"
    title = "The subscription is still being brought up to date"


async def caught_up(subscription_id: str, now: datetime, *, uow: UnitOfWork) -> Subscription:
    """The subscription, locked, with nothing of it due by `now`.

    Emits: the events of what was due.
    Raises: SubscriptionNotFound, SubscriptionBehind.
    """
    for _ in range(STEPS_MAX):
        outcome = await renew_subscription(RenewSubscription(subscription_id, now), uow=uow)
        if isinstance(outcome, NotDue):
            return await uow.subscriptions.get_for_update(subscription_id)
    raise SubscriptionBehind(
        f"it is more than {STEPS_MAX} steps behind its present time",
        now=now,
        remedy="Ask again when its current period is the present one.",
    )
