"""What was over is agreed on again: the same plan, add-ons and quantities, and no second trial."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from libs.common.contracts.catalog import TrialV1
from services.subscriptions.application.cancel_subscription import CancelSubscription, cancel_subscription
from services.subscriptions.application.change_subscription import change_subscription
from services.subscriptions.application.co_terming import CoTermDoesNotFit, anchor_of
from services.subscriptions.application.keep_plan import NotePlanSale, note_plan_sale
from services.subscriptions.application.renew_subscription import RenewSubscription, renew_subscription
from services.subscriptions.application.start_subscription import StartSubscription, start_subscription
from services.subscriptions.application.wanted_changes import AddOnRequest
from services.subscriptions.application.win_back import WinBack, win_back
from services.subscriptions.domain.subscription import (
    Subscription,
    SubscriptionNotFound,
    SubscriptionState,
    TransitionNotAllowed,
)
from tests.support.changes import (
    BASIC,
    BASIC_2,
    NOW_WHEN,
    YEARLY,
    a_basic,
    a_change,
    a_plan_of,
    a_price,
    keep,
    seats,
)
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_customer


async def a_former(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> Subscription:
    """Ended after it had an add-on."""
    subscription = keep(uow, a_basic())
    await change_subscription(
        a_change(NOW_WHEN, add=(AddOnRequest("swaps", {"swaps": Decimal(4)}),)), uow=uow, clock=clock
    )
    await cancel_subscription(CancelSubscription(subscription.id), uow=uow, clock=clock)
    await renew_subscription(RenewSubscription(subscription.id, clock.now), uow=uow)
    former = uow.subscriptions.by_id[subscription.id]
    assert former.state is SubscriptionState.ENDED
    return former


async def test_on_the_same_version_if_that_is_still_sold(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    former = await a_former(uow, clock)
    trial = TrialV1(interval_unit="day", interval_count=14)
    uow.plans.by_id[BASIC.plan_version_id] = BASIC.model_copy(update={"trial": trial})
    won = await win_back(WinBack(former.id, quantities=seats(5)), uow=uow, clock=clock)
    assert (won.state, won.won_back_from) == (SubscriptionState.ACTIVE, former.id)
    assert won.plan_version_id == BASIC.plan_version_id
    assert {item.code: item.quantity for item in won.items} == {"seats": 5, "swaps/swaps": 4}
    assert (won.calendar.anchor_on, won.calendar.zone) == (date(2025, 6, 1), former.calendar.zone)
    assert uow.subscriptions.by_id[former.id] == former


async def test_else_on_the_newest_that_is(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    former = await a_former(uow, clock)
    await note_plan_sale(NotePlanSale(BASIC.plan_version_id, "withdrawn", 5), uow=uow)
    won = await win_back(WinBack(former.id, starts_on=date(2025, 7, 1)), uow=uow, clock=clock)
    assert (won.plan_version_id, won.state) == (BASIC_2.plan_version_id, SubscriptionState.SCHEDULED)
    assert {item.code: item.quantity for item in won.items} == {"seats": 10, "swaps/swaps": 4}


async def test_what_goes_on_is_not_won_back(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    keep(uow, a_basic())
    with pytest.raises(TransitionNotAllowed):
        await win_back(WinBack(a_basic().id), uow=uow, clock=clock)


async def test_two_subscriptions_share_an_anchor(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    other = keep(uow, a_basic())
    start = StartSubscription(a_customer().id, plan_code="basic", co_term_with=other.id)
    made = await start_subscription(start, uow=uow, clock=clock)
    assert made.period is not None
    assert made.period.full is not None
    assert (made.period.end, made.period.full.start_on) == (other.period.end, date(2025, 5, 31))  # type: ignore[union-attr]
    alone = replace(a_basic("2025-01-15"), id="sub_alone")
    uow.subscriptions.add(alone)
    command = replace(a_change(NOW_WHEN, co_term_with=other.id), subscription_id=alone.id)
    changed = await change_subscription(command, uow=uow, clock=clock)
    assert changed.subscription.period is not None
    assert changed.subscription.period.end == other.period.end  # type: ignore[union-attr]


async def test_only_what_fits_shares_one(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    other = keep(uow, a_basic())
    weekly = a_plan_of("weekly", 1, a_price("seats", "3"), interval_unit="week")
    customer_id = a_customer().id
    for plan, fits in ((BASIC, True), (YEARLY, True), (weekly, False)):
        interval = replace(other.calendar.interval, unit=plan.interval_unit, count=plan.interval_count)
        if fits:
            on = await anchor_of(other.id, customer_id=customer_id, interval=interval, uow=uow)
            assert on == date(2025, 1, 31)
            continue
        with pytest.raises(CoTermDoesNotFit) as refused:
            await anchor_of(other.id, customer_id=customer_id, interval=interval, uow=uow)
        assert refused.value.pointer == "/co_term_with"
    with pytest.raises(SubscriptionNotFound):
        await anchor_of(other.id, customer_id="cus_other", interval=other.calendar.interval, uow=uow)
