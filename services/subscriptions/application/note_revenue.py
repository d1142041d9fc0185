"""Note what a change of a subscription makes of its recurring revenue, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from libs.common.ids import derived_id
from libs.common.periods import Interval
from services.subscriptions.application.agreed_terms import fee_price
from services.subscriptions.application.offers import find_plan
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.recurring_revenue import (
    Mark,
    PriceKey,
    RecurringPrice,
    RevenueCause,
    RevenueMovement,
    Stretch,
    differences,
    key_of,
    marks_of,
    stretches_of,
)
from services.subscriptions.domain.subscription import Subscription


async def note_revenue(
    before: Subscription, after: Subscription, *, cause: RevenueCause, now: datetime, uow: UnitOfWork
) -> None:
    """Movements dated when what changed took effect; none where what a month comes to stays, as on a renewal."""
    was, is_now = stretches_of(before), stretches_of(after)
    if was == is_now:
        return
    prices = await recurring_prices((*was, *is_now), uow=uow)
    _add(differences(marks_of(was, prices), marks_of(is_now, prices)), after, cause=cause, now=now, uow=uow)


async def fill_revenue(subscription_ids: Sequence[str], *, now: datetime, uow: UnitOfWork) -> None:
    """Write the movements that subscriptions from before there were any should have had; a repeat finds none missing.

    Who began an indexation was not noted then: its part is the agreement's.
    """
    await uow.subscriptions.load_for_update(subscription_ids)
    found = [await uow.subscriptions.get_for_update(id) for id in subscription_ids]
    recorded = await uow.revenue.recorded_of(subscription_ids)
    known = {one.id: stretches_of(one) for one in found}
    prices = await recurring_prices((each for one in known.values() for each in one), uow=uow)
    for subscription in found:
        missing = differences(recorded.get(subscription.id, {}), marks_of(known[subscription.id], prices))
        _add(missing, subscription, cause="filled", now=now, uow=uow)
    await uow.revenue.filled(subscription_ids)


async def recurring_prices(
    stretches: Iterable[Stretch], *, uow: UnitOfWork
) -> Mapping[PriceKey, RecurringPrice]:
    wanted = {key_of(stretch.item) for stretch in stretches}
    await uow.plans.load({version_id for version_id, overlay_id, _ in wanted if overlay_id is None})
    await uow.plans.load_overlays({overlay_id for _, overlay_id, _ in wanted if overlay_id is not None})
    prices: dict[PriceKey, RecurringPrice] = {}
    for version_id, overlay_id in {key[:2] for key in wanted}:
        plan = await find_plan(version_id, overlay_id, uow=uow)
        billed_each = Interval(plan.interval_unit, plan.interval_count)
        for price in plan.prices:
            key = version_id, overlay_id, price.id
            if key in wanted:
                prices[key] = RecurringPrice(fee_price(price, billed_each), price.currency)
    return prices


def _add(
    moved: Mapping[Mark, Decimal],
    subscription: Subscription,
    *,
    cause: RevenueCause,
    now: datetime,
    uow: UnitOfWork,
) -> None:
    for (on, currency, part), amount in moved.items():
        named = (subscription.id, str(subscription.version), cause, on.isoformat(), currency, part)
        uow.revenue.add(
            RevenueMovement(
                id=derived_id("rvm", *named),
                customer_id=subscription.customer_id,
                subscription_id=subscription.id,
                on=on,
                currency=currency,
                part=part,
                amount=amount,
                cause=cause,
                recorded_at=now,
                test_clock_id=subscription.test_clock_id,
            )
        )
