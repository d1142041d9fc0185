"""An agreement begins at once, later, or by a test clock."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from libs.common.contracts.catalog import LateUsageV1, PlanV1
from libs.common.contracts.subscriptions import SubscriptionStartedV1
from libs.common.errors import DomainError
from services.subscriptions.application.billable import PlanNotBillableYet
from services.subscriptions.application.keep_plan import (
    KeepPlan,
    NotePlanSale,
    RetirePlan,
    keep_plan,
    note_plan_sale,
    retire_plan,
)
from services.subscriptions.application.start_subscription import (
    StartSubscription,
    ZoneMissing,
    start_subscription,
)
from services.subscriptions.domain.customer import CustomerNotFound
from services.subscriptions.domain.entitlement import Aggregation
from services.subscriptions.domain.plan import PlanNotFound, PlanRetired, PlanVersionNotOnSale, SaleState
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
    assert uow.told == ["SubscriptionScheduled"]


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


async def test_a_plan_that_cannot_be_billed_yet_is_refused_with_each_part_that_stands_in_the_way(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    aircraft, minutes = a_plan().prices
    prices = (
        aircraft.model_copy(update={"model": "matrix", "interval_unit": "year"}),
        minutes.model_copy(update={"model": "percentage", "fixed_amount_per_event": Decimal(1)}),
    )
    plan = a_plan(plan_version_id="plv_9", plan_version=9, prices=prices)
    await keep_plan(KeepPlan(plan), uow=uow)
    with pytest.raises(PlanNotBillableYet) as refused:
        await start_subscription(StartSubscription(CUSTOMER, plan_code="power"), uow=uow, clock=clock)
    places = [error["detail"].split(" of the plan: ")[0] for error in refused.value.errors]
    assert places == [
        "/prices/0/model",
        "/prices/0/interval_unit",
        "/prices/1/fixed_amount_per_event",
    ]
    assert {error["pointer"] for error in refused.value.errors} == {"/plan"}


@pytest.mark.parametrize(
    ("basis", "aggregation", "is_refused"),
    [
        ("time_weighted", "time_weighted", False),
        ("time_weighted", "max", True),
        ("time_weighted", "average", True),  # of events, and not of time
        ("time_weighted", None, True),
        ("peak", "peak", False),
        ("peak", "max", False),
        ("peak", None, False),  # defined before meters were told of
        ("peak", "sum", True),
        ("peak", "time_weighted", True),
    ],
)
async def test_a_capacity_is_billed_of_a_meter_that_takes_the_peak_or_the_mean(
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    basis: str,
    aggregation: Aggregation | None,
    is_refused: bool,
) -> None:
    aircraft, minutes = a_plan().prices
    capacity = minutes.model_copy(update={"model": "capacity", "capacity_basis": basis})
    await keep_plan(
        KeepPlan(a_plan(plan_version_id="plv_9", plan_version=9, prices=(aircraft, capacity))), uow=uow
    )
    if aggregation is not None:
        uow.known_meters.by_code[minutes.meter or ""] = aggregation
    command = StartSubscription(CUSTOMER, plan_code="power")
    if not is_refused:
        await start_subscription(command, uow=uow, clock=clock)
        return
    with pytest.raises(PlanNotBillableYet) as refused:
        await start_subscription(command, uow=uow, clock=clock)
    [error] = refused.value.errors
    assert error["detail"].startswith("/prices/1/capacity_basis of the plan: ")
    assert (minutes.meter or "?") in error["detail"]


async def test_an_agreement_is_told_with_what_its_plan_says_of_late_usage(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    terms = LateUsageV1(policy="note_at_once", window_days=35)
    await keep_plan(KeepPlan(a_plan(plan_version_id="plv_9", plan_version=9, late_usage=terms)), uow=uow)
    await start_subscription(StartSubscription(CUSTOMER, plan_code="power"), uow=uow, clock=clock)
    [started] = [event for event in uow.outbox.events if isinstance(event, SubscriptionStartedV1)]
    assert started.subscription.late_usage == terms


def bounded(number: int, begin: str | None = None, end: str | None = None) -> PlanV1:
    return a_plan(
        plan_version_id=f"plv_{number}",
        plan_version=number,
        valid_from=utc(begin) if begin else None,
        valid_until=utc(end) if end else None,
    )


async def test_a_code_means_the_newest_version_on_sale_by_the_business_now(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.test_clocks.add(a_test_clock(now=utc("2013-01-01T05:00")))
    for plan in (bounded(2, end="2014-01-01"), bounded(3, begin="2026-01-01"), bounded(4)):
        await keep_plan(KeepPlan(plan), uow=uow)
    await note_plan_sale(NotePlanSale("plv_4", "withdrawn", 7), uow=uow)

    async def agreed(clock_id: str | None = None) -> str:
        command = StartSubscription(CUSTOMER, plan_code="power", test_clock_id=clock_id)
        return (await start_subscription(command, uow=uow, clock=clock)).plan_version_id

    assert await agreed(a_test_clock().id) == "plv_2"
    assert await agreed() == a_plan().plan_version_id
    clock.now = utc("2026-01-01")
    assert await agreed() == "plv_3"
    await note_plan_sale(NotePlanSale("plv_4", "published", 8), uow=uow)
    assert await agreed() == "plv_4"
    await note_plan_sale(NotePlanSale("plv_4", "withdrawn", 7), uow=uow)  # an old story
    assert await agreed() == "plv_4"


@pytest.mark.parametrize(
    ("plan", "state", "status"),
    [
        (bounded(2, begin="2025-06-01T12:00:00.000001"), "published", "scheduled"),
        (bounded(2, begin="2025-06-01T12:00"), "published", None),
        (bounded(2, end="2025-06-01T12:00"), "published", "expired"),
        (bounded(2, end="2025-06-01T12:00:00.000001"), "published", None),
        (bounded(2), "withdrawn", "withdrawn"),
        (bounded(2, end="2025-01-01"), "archived", "archived"),
    ],
)
async def test_a_version_that_is_not_on_sale_is_refused_with_where_it_stands(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock, plan: PlanV1, state: SaleState, status: str | None
) -> None:
    clock.now = utc("2025-06-01T12:00")
    await note_plan_sale(NotePlanSale("plv_2", state, 3), uow=uow)  # heard before the version itself
    await keep_plan(KeepPlan(plan), uow=uow)
    command = StartSubscription(CUSTOMER, plan_version_id="plv_2")
    if status is None:
        assert await start_subscription(command, uow=uow, clock=clock)
        return
    with pytest.raises(PlanVersionNotOnSale) as refused:
        await start_subscription(command, uow=uow, clock=clock)
    assert (refused.value.pointer, refused.value.facts["status"]) == ("/plan_version_id", status)
    assert refused.value.remedy
    assert uow.told == []


async def test_a_plan_of_which_nothing_is_on_sale_is_refused_by_its_newest_version(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await keep_plan(KeepPlan(bounded(2, begin="2199-01-01")), uow=uow)
    await note_plan_sale(NotePlanSale(a_plan().plan_version_id, "archived", 3), uow=uow)
    with pytest.raises(PlanVersionNotOnSale) as refused:
        await start_subscription(StartSubscription(CUSTOMER, plan_code="power"), uow=uow, clock=clock)
    assert (refused.value.pointer, refused.value.facts["number"]) == ("/plan", 2)


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
