"""What happened here → the events that tell of it, each with all that its readers need."""

from __future__ import annotations

from datetime import datetime

from libs.common.contracts.catalog import PlanV1
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerChangedV1,
    CustomerV1,
    SubjectBindingV1,
    SubjectBoundV1,
    SubjectReleasedV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionItemV1,
    SubscriptionPastDueV1,
    SubscriptionRecoveredV1,
    SubscriptionRenewedV1,
    SubscriptionStartedV1,
    SubscriptionV1,
    TestClockMovedV1,
)
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.invoice_standing import BecamePastDue, Recovered
from services.subscriptions.domain.renewal import Ended, Renewed, Started
from services.subscriptions.domain.subject_binding import SubjectBinding
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.test_clock import TestClock


async def tell(
    outcome: Started | Renewed | Ended | Subscription, *, uow: UnitOfWork, occurred_at: datetime
) -> None:
    """Append the event of a subscription that began, renewed, ended or was otherwise changed."""
    changed = outcome if isinstance(outcome, Subscription) else outcome.subscription
    subscription = await _snapshot(changed, uow)
    about = {
        "tenant": uow.tenant,
        "version": changed.version,
        "occurred_at": occurred_at,
        "test_clock": changed.test_clock_id,
        "subscription": subscription,
    }
    event: SubscriptionStartedV1 | SubscriptionRenewedV1 | SubscriptionEndedV1 | SubscriptionChangedV1
    match outcome:
        case Started(period=period):
            event = SubscriptionStartedV1(**about, period=_period(period))
        case Renewed(ended=ended, period=period):
            event = SubscriptionRenewedV1(**about, ended=_period(ended), period=_period(period))
        case Ended(ended=last, ended_at=ended_at, reason=reason):
            event = SubscriptionEndedV1(
                **about, ended=_period(last) if last else None, ended_at=ended_at, reason=reason
            )
        case _:
            event = SubscriptionChangedV1(**about)
    uow.outbox.append(event, key=changed.id)


def for_past_due(outcome: BecamePastDue, *, tenant: str, occurred_at: datetime) -> SubscriptionPastDueV1:
    subscription = outcome.subscription
    return SubscriptionPastDueV1(
        tenant=tenant,
        version=subscription.version,
        occurred_at=occurred_at,
        test_clock=subscription.test_clock_id,
        subscription_id=subscription.id,
        invoice_id=outcome.invoice_id,
    )


def for_recovery(outcome: Recovered, *, tenant: str, occurred_at: datetime) -> SubscriptionRecoveredV1:
    subscription = outcome.subscription
    return SubscriptionRecoveredV1(
        tenant=tenant,
        version=subscription.version,
        occurred_at=occurred_at,
        test_clock=subscription.test_clock_id,
        subscription_id=subscription.id,
    )


def for_customer(customer: Customer, *, tenant: str, occurred_at: datetime) -> CustomerChangedV1:
    return CustomerChangedV1(
        tenant=tenant, version=customer.version, occurred_at=occurred_at, customer=_customer(customer)
    )


def for_bound(binding: SubjectBinding, *, tenant: str, occurred_at: datetime) -> SubjectBoundV1:
    return SubjectBoundV1(
        tenant=tenant,
        version=binding.version,
        occurred_at=occurred_at,
        test_clock=binding.test_clock_id,
        binding=_binding(binding),
    )


def for_released(binding: SubjectBinding, *, tenant: str, occurred_at: datetime) -> SubjectReleasedV1:
    return SubjectReleasedV1(
        tenant=tenant,
        version=binding.version,
        occurred_at=occurred_at,
        test_clock=binding.test_clock_id,
        binding=_binding(binding),
    )


def for_clock(test_clock: TestClock, *, tenant: str) -> TestClockMovedV1:
    return TestClockMovedV1(
        tenant=tenant,
        version=test_clock.version,
        occurred_at=test_clock.now,
        test_clock=test_clock.id,
        clock_id=test_clock.id,
        now=test_clock.now,
    )


async def _snapshot(subscription: Subscription, uow: UnitOfWork) -> SubscriptionV1:
    plan = await uow.plans.get(subscription.plan_version_id)
    customer = await uow.customers.get(subscription.customer_id)
    calendar = subscription.calendar
    return SubscriptionV1(
        subscription_id=subscription.id,
        customer=_customer(customer),
        plan_version_id=subscription.plan_version_id,
        plan_name=subscription.plan_name,
        currency=subscription.currency,
        zone=calendar.zone,
        anchor_on=calendar.anchor_on,
        interval_unit=calendar.interval.unit,
        interval_count=calendar.interval.count,
        items=_items(subscription, plan),
        starts_at=subscription.starts_at,
        ends_at=subscription.ends_at,
        external_id=subscription.external_id,
    )


def _items(subscription: Subscription, plan: PlanV1) -> tuple[SubscriptionItemV1, ...]:
    prices = {price.id: price for price in plan.prices}
    return tuple(
        SubscriptionItemV1(item_id=item.id, price=prices[item.price_id], quantity=item.quantity)
        for item in subscription.items
    )


def _customer(customer: Customer) -> CustomerV1:
    return CustomerV1(
        customer_id=customer.id,
        customer_version=customer.version,
        name=customer.name,
        email=customer.email,
        external_id=customer.external_id,
        country=customer.country,
    )


def _period(period: BillingPeriod) -> BillingPeriodV1:
    return BillingPeriodV1(
        index=period.index,
        start_on=period.start_on,
        end_on=period.end_on,
        start=period.start,
        end=period.end,
    )


def _binding(binding: SubjectBinding) -> SubjectBindingV1:
    return SubjectBindingV1(
        binding_id=binding.id,
        subject=binding.subject,
        meter=binding.meter,
        subscription_id=binding.subscription_id,
        item_id=binding.item_id,
        bound_from=binding.bound_from,
        bound_until=binding.bound_until,
    )
