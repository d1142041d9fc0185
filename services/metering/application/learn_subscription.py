"""Keep a copy of whose usage is whose: subscription, customer, and the items that are metered."""

from __future__ import annotations

from libs.common.contracts.subscriptions import SubscriptionV1
from services.metering.application.ports import MeteredSubscription, UnitOfWork
from services.metering.domain.usage_window import MeteredItem


def metered_items(subscription: SubscriptionV1) -> tuple[MeteredItem, ...]:
    """The items whose price is for usage. Others are no business of metering's."""
    return tuple(
        MeteredItem(item.item_id, item.price.meter)
        for item in subscription.items
        if item.price.kind == "usage" and item.price.meter is not None
    )


def learn_subscription(
    subscription: SubscriptionV1, *, version: int, clock_id: str | None, uow: UnitOfWork
) -> None:
    """Keep the newest version, in whatever order they come."""
    uow.subscriptions.learn(
        MeteredSubscription(
            id=subscription.subscription_id,
            version=version,
            customer_id=subscription.customer.customer_id,
            zone=subscription.zone,
            clock_id=clock_id,
            items=metered_items(subscription),
        )
    )
