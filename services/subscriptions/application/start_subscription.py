"""Agree on a subscription, which begins at once or on a day to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

from libs.common.clock import Clock
from libs.common.contracts.catalog import PlanV1
from libs.common.errors import RuleViolation
from libs.common.ids import new_id
from libs.common.periods import Interval, local_date
from services.subscriptions.application.billable import refuse_unbillable
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.now import business_now
from services.subscriptions.application.pointing import pointing_at
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.plan import refuse_unsold
from services.subscriptions.domain.renewal import NotDue, decide_start
from services.subscriptions.domain.subscription import Subscription, agree
from services.subscriptions.domain.subscription_item import OfferedPrice, items_of


class ZoneMissing(RuleViolation):
    """Periods are counted in somebody's calendar, and nobody said in whose."""

    code = "zone_missing"
    title = "A time zone is needed"


@dataclass(frozen=True, slots=True)
class StartSubscription:
    """One of `plan_code` (its newest version on sale) and `plan_version_id`. The defaults: today, the customer's zone."""

    customer_id: str
    plan_code: str | None = None
    plan_version_id: str | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    starts_on: date | None = None
    ends_on: date | None = None
    zone: str | None = None
    test_clock_id: str | None = None
    external_id: str | None = None


async def start_subscription(command: StartSubscription, *, uow: UnitOfWork, clock: Clock) -> Subscription:
    """One item for each price of the plan. When its start has come by its own clock, the first period begins.

    A start that lies some periods back is caught up with by renewals, one period at a time.
    Emits: SubscriptionStarted, unless it begins later.
    Raises: CustomerNotFound, PlanNotFound, PlanRetired, PlanVersionNotOnSale, PlanNotBillableYet, TestClockNotFound,
    ZoneMissing, UnknownZone, TermReversed, QuantityWithoutPrice, QuantityNegative.
    """
    with pointing_at("/customer_id"):
        customer = await uow.customers.get(command.customer_id)
    with pointing_at("/test_clock_id"):
        now = await business_now(command.test_clock_id, uow=uow, clock=clock)
    plan = await _plan(command, uow, now)
    zone = command.zone or customer.zone
    if zone is None:
        raise ZoneMissing("neither the request nor the customer names a time zone", pointer="/zone")
    system_now = clock.system_now()
    id = new_id("sub", system_now)
    subscription = agree(
        id=id,
        customer_id=customer.id,
        plan_version_id=plan.plan_version_id,
        plan_code=plan.code,
        plan_name=plan.name,
        currency=plan.currency,
        interval=Interval(plan.interval_unit, plan.interval_count),
        zone=zone,
        starts_on=command.starts_on or local_date(now, zone),
        ends_on=command.ends_on,
        items=items_of(_offered(plan), command.quantities, tenant=uow.tenant, subscription_id=id),
        created_at=system_now,
        test_clock_id=command.test_clock_id,
        external_id=command.external_id,
    )
    uow.subscriptions.add(subscription)
    outcome = decide_start(subscription, now)
    if isinstance(outcome, NotDue):
        uow.record("subscription.scheduled", subscription.id, subscription.version)
        return subscription
    # Agreed and begun in one step: this is the first version of it that anybody sees.
    outcome = replace(outcome, subscription=replace(outcome.subscription, version=subscription.version))
    await carry_out(outcome, uow=uow, now=now)
    return outcome.subscription


async def _plan(command: StartSubscription, uow: UnitOfWork, now: datetime) -> PlanV1:
    if command.plan_version_id is not None:
        pointer = "/plan_version_id"
        with pointing_at(pointer):
            plan = await uow.plans.get(command.plan_version_id)
    else:
        assert command.plan_code is not None, "a plan is named by its code or by a version's id"
        pointer = "/plan"
        with pointing_at(pointer):
            plan = await uow.plans.get_newest(command.plan_code, now)
    standing = await uow.plans.standing_of(plan)
    refuse_unsold(standing, now, plan=plan.code, number=plan.plan_version, pointer=pointer)
    refuse_unbillable(plan, pointer=pointer)
    return plan


def _offered(plan: PlanV1) -> list[OfferedPrice]:
    return [OfferedPrice(price.id, price.code, price.kind, price.meter) for price in plan.prices]
