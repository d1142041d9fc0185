"""Plans to change between, and a running subscription in memory, for tests of changes."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from libs.common.contracts.catalog import PlanV1, PriceV1
from libs.common.periods import Interval
from services.subscriptions.application.change_subscription import ChangeSubscription
from services.subscriptions.application.offers import offer_of
from services.subscriptions.application.wanted_changes import ChangeRequest
from services.subscriptions.domain.scheduled_change import When
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import items_of
from tests.support.subscriptions import (
    TENANT,
    MemorySubscriptionsUnitOfWork,
    a_calendar,
    a_customer,
    a_subscription,
)

NOW_WHEN, AT_END = When("now"), When("period_end")


def a_price(code: str, amount: str, *, id: str = "", currency: str = "USD", **changes: Any) -> PriceV1:
    price = PriceV1(
        id=id or f"prc_{code}_{amount}_{currency}",
        code=code,
        product_id=f"prd_{code}",
        description=code,
        kind="recurring",
        timing="advance",
        model="per_unit",
        currency=currency,
        unit_amount=Decimal(amount),
    )
    return price.model_copy(update=changes)


def a_plan_of(code: str, number: int, *prices: PriceV1, **changes: Any) -> PlanV1:
    plan = PlanV1(
        plan_id=f"pln_{code}",
        plan_version_id=f"plv_{code}_{number}",
        code=code,
        name=code.title(),
        plan_version=number,
        currency="USD",
        interval_unit="month",
        interval_count=1,
        prices=prices,
    )
    return plan.model_copy(update=changes)


BASIC = a_plan_of("basic", 1, a_price("seats", "10"), a_price("seats", "9", currency="EUR"))
BASIC_2 = a_plan_of("basic", 2, a_price("seats", "12"))
PRO = a_plan_of("pro", 1, a_price("seats", "30"), a_price("support", "100"))
YEARLY = a_plan_of("yearly", 1, a_price("seats", "100"), interval_unit="year")
SWAPS = a_plan_of(
    "swaps",
    1,
    a_price("swaps", "5"),
    kind="add_on",
    for_plans=("basic",),
)


def on(text: str) -> When:
    return When("on", date.fromisoformat(text))


def a_change(when: When, **wanted: Any) -> ChangeSubscription:
    return ChangeSubscription(a_subscription().id, when, ChangeRequest(**wanted))


def seats(number: int) -> dict[str, Decimal]:
    return {"seats": Decimal(number)}


def a_basic(
    anchor_on: str = "2025-01-31",
    *,
    index: int = 4,
    zone: str = "America/New_York",
    id: str = "sub_00000000000000000000000001",
) -> Subscription:
    """Ten seats of the basic plan, since its anchor; the fifth period runs from 31 May until 30 June 2025."""
    calendar = a_calendar(anchor_on, Interval("month", 1), zone)
    items = items_of(offer_of(BASIC), seats(10), tenant=TENANT, subscription_id=id)
    return a_subscription(
        calendar,
        index=index,
        id=id,
        items=items,
        plan_version_id=BASIC.plan_version_id,
        plan_code=BASIC.code,
        plan_name=BASIC.name,
    )


def keep(uow: MemorySubscriptionsUnitOfWork, subscription: Subscription) -> Subscription:
    """With its customer's plans published, and every period that it went through."""
    for plan in (BASIC, BASIC_2, PRO, YEARLY, SWAPS):
        uow.plans.by_id[plan.plan_version_id] = plan
    uow.customers.by_id[a_customer().id] = a_customer()
    uow.subscriptions.add(subscription)
    if subscription.period is not None:
        period = subscription.calendar.period_from(
            subscription.calendar.anchor_on, subscription.starts_at, index=0
        )
        while period.index <= subscription.period.index:
            uow.subscriptions.begin_period(subscription, period)
            period = subscription.calendar.after(period)
    return subscription
