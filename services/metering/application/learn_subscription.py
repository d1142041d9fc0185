"""Keep a copy of whose usage is whose: subscription, customer, and the items that are or were metered."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.contracts.subscriptions import AgreementEvent, PeriodTermsV1, SubscriptionV1
from services.metering.application.ports import MeteredSubscription, UnitOfWork
from services.metering.domain.late_usage import LateUsageTerms
from services.metering.domain.metered_item import MeteredItem, UsageSegment


def metered_items(subscription: SubscriptionV1) -> tuple[MeteredItem, ...]:
    """The items whose price is for usage, each from end to end. Others are no business of metering's."""
    return tuple(
        MeteredItem(item.item_id, item.price.meter)
        for item in subscription.items
        if item.price.kind == "usage" and item.price.meter is not None
    )


def usage_segments(terms: PeriodTermsV1) -> list[UsageSegment]:
    """When a usage price held, of which item."""
    return [
        UsageSegment(segment.item_id, segment.price.meter, segment.price.id, segment.start, segment.end)
        for segment in terms.segments
        if segment.price.kind == "usage" and segment.price.meter is not None
    ]


def learn_subscription(event: AgreementEvent, *, uow: UnitOfWork) -> None:
    """Keep the newest version, in whatever order they come. Items that came and went are known as well."""
    subscription = event.subscription
    uow.subscriptions.learn(
        MeteredSubscription(
            id=subscription.subscription_id,
            version=event.version,
            customer_id=subscription.customer.customer_id,
            zone=subscription.zone,
            clock_id=event.test_clock,
            items=_known_items(subscription, event.terms),
            late_usage=LateUsageTerms(subscription.late_usage.policy, subscription.late_usage.window_days),
        )
    )


def _known_items(subscription: SubscriptionV1, terms: Sequence[PeriodTermsV1]) -> tuple[MeteredItem, ...]:
    meters = {segment.item_id: segment.meter for told in terms for segment in usage_segments(told)}
    meters |= {item.item_id: item.meter for item in metered_items(subscription)}
    return tuple(MeteredItem(item_id, meter) for item_id, meter in meters.items())
