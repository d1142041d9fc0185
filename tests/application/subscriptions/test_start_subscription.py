"""An agreement begins at once, later, or by a test clock."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from libs.common.contracts.subscriptions import SubscriptionStartedV1
from libs.common.errors import DomainError
from services.subscriptions.application.keep_plan import KeepPlan, RetirePlan, keep_plan, retire_plan
from services.subscriptions.application.start_subscription import (
    StartSubscription,
    ZoneMissing,
    start_subscription,
)
from services.subscriptions.domain.customer import CustomerNotFound
from services.subscriptions.domain.plan import PlanNotFound, PlanRetired
from services.subscriptions.domain.subscription import SubscriptionState, TermReversed
from services.subscriptions.domain.subscription_item import QuantityWithoutPrice
from services.subscriptions.domain.test_clock import TestClockNotFound
from tests.support.clocks import FixedClock
from tests.support.subscriptions import (
    MemorySubscriptionsUnitOfWork,
    a_customer,
    a_plan,
    a_test_clock,
    utc,
)

CUSTOMER = a_customer().id


async def test_it_begins_at_once(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    subscription = await start_subscription(
        StartSubscription(CUSTOMER, plan_code="power", quantities={"aircraft": Decimal(629)}),
        uow=uow,
        clock=clock,
    )
    assert subscription.state is SubscriptionState.ACTIVE
    assert subscription.calendar.anchor_on == date(2025, 6, 1)  # today, in the customer's zone
    assert subscription.starts_at == utc("2025-06-01T04:00")
    assert uow.subscriptions.by_id[subscription.id] == subscription
    assert uow.subscriptions.periods[subscription.id] == [subscription.period]
    [appended] = uow.outbox.appended
    event = appended.event
    assert isinstance(event, SubscriptionStartedV1)
    assert (appended.key, event.version, event.occurred_at) == (subscription.id, 1, clock.now)
    assert event.subscription.customer.name == "Delta Air Lines"
    assert [item.price for item in event.subscription.items] == list(a_plan().prices)
    assert [item.quantity for item in event.subscription.items] == [Decimal(629), None]
    assert [item.item_id for item in event.subscription.items] == [one.id for one in subscription.items]
    assert (event.period.index, event.period.end_on) == (0, date(2025, 7, 1))


async def test_it_begins_later(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    subscription = await start_subscription(
        StartSubscription(CUSTOMER, plan_code="power", starts_on=date(2025, 6, 2)), uow=uow, clock=clock
    )
    assert subscription.state is SubscriptionState.SCHEDULED
    assert subscription.due_at == utc("2025-06-02T04:00")
    assert uow.told == []


async def test_it_begins_in_the_past_with_its_first_period(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    subscription = await start_subscription(
        StartSubscription(CUSTOMER, plan_code="power", starts_on=date(2025, 1, 31)), uow=uow, clock=clock
    )
    assert subscription.period is not None
    assert (subscription.period.index, subscription.due_at) == (0, utc("2025-02-28T05:00"))
    assert uow.told == ["SubscriptionStarted"]


async def test_it_lives_by_its_test_clock(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.test_clocks.add(a_test_clock(now=utc("2013-01-01T05:00")))
    subscription = await start_subscription(
        StartSubscription(CUSTOMER, plan_code="power", test_clock_id=a_test_clock().id), uow=uow, clock=clock
    )
    assert subscription.starts_at == utc("2013-01-01T05:00")
    [event] = uow.outbox.events
    assert (event.occurred_at, event.test_clock) == (utc("2013-01-01T05:00"), a_test_clock().id)


async def test_a_test_clock_just_before_the_start_leaves_it_scheduled(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.test_clocks.add(a_test_clock(now=utc("2013-01-01T05:00") - timedelta(microseconds=1)))
    subscription = await start_subscription(
        StartSubscription(
            CUSTOMER, plan_code="power", starts_on=date(2013, 1, 1), test_clock_id=a_test_clock().id
        ),
        uow=uow,
        clock=clock,
    )
    assert subscription.state is SubscriptionState.SCHEDULED


async def test_a_code_means_the_newest_version(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    newer = a_plan(plan_version_id="plv_2", plan_version=2)
    await keep_plan(KeepPlan(newer), uow=uow)
    by_code = await start_subscription(StartSubscription(CUSTOMER, plan_code="power"), uow=uow, clock=clock)
    older = await start_subscription(
        StartSubscription(CUSTOMER, plan_version_id=a_plan().plan_version_id), uow=uow, clock=clock
    )
    assert (by_code.plan_version_id, older.plan_version_id) == ("plv_2", a_plan().plan_version_id)


async def test_a_retired_plan_is_not_sold(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    await retire_plan(RetirePlan(a_plan().plan_id), uow=uow)
    with pytest.raises(PlanRetired) as refused:
        await start_subscription(StartSubscription(CUSTOMER, plan_code="power"), uow=uow, clock=clock)
    assert refused.value.pointer == "/plan"


@pytest.mark.parametrize(
    ("command", "error", "pointer"),
    [
        (StartSubscription("cus_x", plan_code="power"), CustomerNotFound, "/customer_id"),
        (StartSubscription(CUSTOMER, plan_code="other"), PlanNotFound, "/plan"),
        (StartSubscription(CUSTOMER, plan_version_id="plv_x"), PlanNotFound, "/plan_version_id"),
        (
            StartSubscription(CUSTOMER, plan_code="power", test_clock_id="clk_x"),
            TestClockNotFound,
            "/test_clock_id",
        ),
        (
            StartSubscription(CUSTOMER, plan_code="power", quantities={"minutes": Decimal(1)}),
            QuantityWithoutPrice,
            "/quantities/minutes",
        ),
        (
            StartSubscription(CUSTOMER, plan_code="power", ends_on=date(2025, 6, 1)),
            TermReversed,
            "/ends_on",
        ),
    ],
)
async def test_what_is_refused_says_where(
    command: StartSubscription,
    error: type[DomainError],
    pointer: str,
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
) -> None:
    with pytest.raises(error) as refused:
        await start_subscription(command, uow=uow, clock=clock)
    assert refused.value.pointer == pointer
    assert uow.told == []


async def test_somebody_must_name_a_zone(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.customers.save(a_customer(zone=None))
    command = StartSubscription(CUSTOMER, plan_code="power")
    with pytest.raises(ZoneMissing):
        await start_subscription(command, uow=uow, clock=clock)
