"""What happened here → the events that tell of it, each with all that its readers need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache

from libs.common.contracts.catalog import CommitmentV1, PlanV1, PriceV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.subscriptions import (
    AddressV1,
    AgreementEvent,
    BillingPeriodV1,
    CustomerChangedV1,
    CustomerV1,
    FeeV1,
    PeriodTermsV1,
    ProrationOptionsV1,
    SubjectBindingV1,
    SubjectBoundV1,
    SubjectReleasedV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionItemV1,
    SubscriptionPastDueV1,
    SubscriptionPausedV1,
    SubscriptionReceiptIssuedV1,
    SubscriptionRecoveredV1,
    SubscriptionRenewalUpcomingV1,
    SubscriptionRenewedV1,
    SubscriptionResumedV1,
    SubscriptionScheduledV1,
    SubscriptionStartedV1,
    SubscriptionSuspendedV1,
    SubscriptionTrialEndingV1,
    SubscriptionV1,
    TermSegmentV1,
    TestClockMovedV1,
)
from services.subscriptions.application.offers import find_plan
from services.subscriptions.application.payers import find_payer
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.timeline import note
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.invoice_standing import BecamePastDue, BecameSuspended, Recovered
from services.subscriptions.domain.lifecycle import WAITING
from services.subscriptions.domain.period_terms import PeriodTerms, TermSegment
from services.subscriptions.domain.receipt import Receipt
from services.subscriptions.domain.renewal import (
    Changed,
    Ended,
    Outcome,
    Reminded,
    Renewed,
    Started,
)
from services.subscriptions.domain.subject_binding import SubjectBinding
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import SubscriptionItem
from services.subscriptions.domain.test_clock import TestClock


async def tell(
    outcome: Outcome | Subscription, *, uow: UnitOfWork, occurred_at: datetime, fees: Sequence[FeeV1] = ()
) -> None:
    """Append the event of a subscription that was agreed on, began, renewed, changed or ended."""
    if isinstance(outcome, Reminded):
        await _remind(outcome, uow=uow, occurred_at=occurred_at)
        return
    changed = outcome if isinstance(outcome, Subscription) else outcome.subscription
    terms = () if isinstance(outcome, Subscription) else outcome.terms
    about = {
        "tenant": uow.tenant,
        "version": changed.version,
        "occurred_at": occurred_at,
        "test_clock": changed.test_clock_id,
        "subscription": await _snapshot(changed, uow),
        "terms": tuple([await _terms(one, changed, uow) for one in terms]),
        "fees": tuple(fees),
    }
    event: AgreementEvent
    match outcome:
        case Started(period=period):
            event = SubscriptionStartedV1(**about, period=_period(period))
        case Renewed(ended=ended, period=period):
            event = SubscriptionRenewedV1(**about, ended=_period(ended), period=_period(period))
        case Ended(ended=last, ended_at=ended_at, reason=reason):
            event = SubscriptionEndedV1(
                **about, ended=_period(last) if last else None, ended_at=ended_at, reason=reason
            )
        case Changed(kind="paused", at=at, settles=settles):
            resumes_at = changed.pause.end if changed.pause else None
            event = SubscriptionPausedV1(**about, settles_at=at if settles else None, resumes_at=resumes_at)
        case Changed(kind="resumed", at=at, settles=settles):
            event = SubscriptionResumedV1(**about, settles_at=at if settles else None)
        case Changed(at=at, settles=settles):
            event = SubscriptionChangedV1(**about, settles_at=at if settles else None)
        case _ if changed.state in WAITING:
            event = SubscriptionScheduledV1(**about)
        case _:
            event = SubscriptionChangedV1(**about)
    publish(event, changed, uow=uow)


async def _remind(outcome: Reminded, *, uow: UnitOfWork, occurred_at: datetime) -> None:
    subscription, reminder = outcome.subscription, outcome.reminder
    about = {
        "tenant": uow.tenant,
        "version": subscription.version,
        "occurred_at": occurred_at,
        "test_clock": subscription.test_clock_id,
        "subscription_id": subscription.id,
        "customer_id": subscription.customer_id,
    }
    event: Event
    if reminder.kind == "trial_ending":
        payer_id = await payer_id_of(subscription, uow)
        event = SubscriptionTrialEndingV1(
            **about,
            ends_at=reminder.about,
            has_payment_method=await uow.payment_methods.has_one(payer_id),
        )
    else:
        event = SubscriptionRenewalUpcomingV1(
            **about,
            term_ends_at=reminder.about,
            days_before=reminder.days_before,
            on_term_end=subscription.term.told_at_end if subscription.term else "end",
        )
    publish(event, subscription, uow=uow)


def tell_receipt(receipt: Receipt, subscription: Subscription, *, uow: UnitOfWork) -> None:
    event = SubscriptionReceiptIssuedV1(
        tenant=uow.tenant,
        version=subscription.version,
        occurred_at=receipt.received_at,
        test_clock=subscription.test_clock_id,
        receipt_id=receipt.id,
        subscription_id=subscription.id,
        customer_id=subscription.customer_id,
        kind=receipt.kind,
        ends_at=receipt.ends_at,
    )
    publish(event, subscription, uow=uow)


def publish(event: Event, subscription: Subscription, *, uow: UnitOfWork) -> None:
    """Tell of something that happened to a subscription, to others and in its own timeline."""
    uow.outbox.append(event, key=subscription.id)
    note(event, subscription.id, uow=uow, zone=subscription.calendar.zone)


async def payer_id_of(subscription: Subscription, uow: UnitOfWork) -> str:
    """Who pays: whom the subscription names, or else who pays for its customer, or the customer."""
    if subscription.payer_id is not None:
        return subscription.payer_id
    payer = await find_payer(await uow.customers.get(subscription.customer_id), uow=uow)
    return subscription.customer_id if payer is None else payer.id


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


def for_suspension(
    outcome: BecameSuspended, *, tenant: str, occurred_at: datetime
) -> SubscriptionSuspendedV1:
    subscription = outcome.subscription
    return SubscriptionSuspendedV1(
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
    plan = await find_plan(subscription.plan_version_id, subscription.overlay_id, uow=uow)
    customer = await uow.customers.get(subscription.customer_id)
    payer_id = await payer_id_of(subscription, uow)
    payer = None if payer_id == customer.id else await uow.customers.get(payer_id)
    calendar = subscription.calendar
    prices = [await _price_of(item, uow) for item in subscription.items]
    return SubscriptionV1(
        subscription_id=subscription.id,
        customer=_customer(customer),
        payer=_customer(payer) if payer is not None else None,
        plan_version_id=subscription.plan_version_id,
        plan_code=subscription.plan_code,
        plan_name=subscription.plan_name,
        currency=subscription.currency,
        zone=calendar.zone,
        anchor_on=calendar.anchor_on,
        interval_unit=calendar.interval.unit,
        interval_count=calendar.interval.count,
        items=tuple(
            SubscriptionItemV1(item_id=item.id, price=price, quantity=item.quantity)
            for item, price in zip(subscription.items, prices, strict=True)
        ),
        starts_at=subscription.starts_at,
        ends_at=subscription.ends_at,
        external_id=subscription.external_id,
        state=subscription.state.value,
        commitments=_commitments(plan, subscription.currency),
        billed_until=subscription.billed_until,
        proration=_proration(subscription.proration),
        late_usage=plan.late_usage,
        dunning=plan.dunning,
    )


_proration = lru_cache(maxsize=64)(lambda options: ProrationOptionsV1(**asdict(options)))


def _commitments(plan: PlanV1, currency: str) -> tuple[CommitmentV1, ...]:
    return tuple(one for one in plan.commitments if one.currency == currency)


async def _price_of(item: SubscriptionItem, uow: UnitOfWork) -> PriceV1:
    plan = await find_plan(item.plan_version_id, item.overlay_id, uow=uow)
    return next(price for price in plan.prices if price.id == item.price_id)


async def _terms(terms: PeriodTerms, subscription: Subscription, uow: UnitOfWork) -> PeriodTermsV1:
    plan = await find_plan(subscription.plan_version_id, subscription.overlay_id, uow=uow)
    return PeriodTermsV1(
        period=_period(terms.period),
        segments=tuple([await _segment(segment, uow) for segment in terms.segments]),
        is_over=terms.is_over,
        commitments=_commitments(plan, subscription.currency) if terms.period.kind == "regular" else (),
    )


async def _segment(segment: TermSegment, uow: UnitOfWork) -> TermSegmentV1:
    whole = segment.whole
    return TermSegmentV1(
        item_id=segment.item.id,
        price=await _price_of(segment.item, uow),
        quantity=segment.item.quantity,
        start_on=segment.start_on,
        end_on=segment.end_on,
        start=segment.start,
        end=segment.end,
        start_proration=segment.start_proration,
        end_proration=segment.end_proration,
        whole_start_on=whole.start_on if whole else None,
        whole_end_on=whole.end_on if whole else None,
        whole_start=whole.start if whole else None,
        whole_end=whole.end if whole else None,
    )


def _customer(customer: Customer) -> CustomerV1:
    return CustomerV1(
        customer_id=customer.id,
        customer_version=customer.version,
        name=customer.name,
        email=customer.email,
        external_id=customer.external_id,
        country=customer.tax_country,
        legal_name=customer.legal_name,
        address=AddressV1(**asdict(customer.address)) if customer.address else None,
        vat_id=customer.vat_id,
        locale=customer.locale,
        currency=customer.currency,
        zone=customer.zone,
        parent_id=customer.parent_id,
        payment_terms_days=customer.payment_terms_days,
        is_erased=customer.is_erased,
    )


def _period(period: BillingPeriod) -> BillingPeriodV1:
    full = period.full
    return BillingPeriodV1(
        index=period.index,
        start_on=period.start_on,
        end_on=period.end_on,
        start=period.start,
        end=period.end,
        kind=period.kind,
        full_start_on=full.start_on if full else None,
        full_end_on=full.end_on if full else None,
        full_start=full.start if full else None,
        full_end=full.end if full else None,
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
        asset_id=binding.asset_id,
    )
