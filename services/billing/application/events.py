"""Domain outcome → contract event, and contract snapshot → domain object."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from libs.common.contracts.billing import InvoiceFinalizedV1, InvoicePaidV1, InvoiceV1, PaymentFailedV1
from libs.common.contracts.catalog import PlanOverlayV1, PlanV1, PriceV1, Snapshot
from libs.common.contracts.metering import UsageTotalV1
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerV1,
    SubscriptionItemV1,
    SubscriptionV1,
)
from libs.common.periods import Interval
from services.billing.domain.agreement import Agreement, BilledItem, BilledPeriod, CustomerDetails
from services.billing.domain.charge import ItemUsage
from services.billing.domain.invoice import Invoice
from services.billing.domain.payment import PaymentAttempt
from services.billing.domain.plan_terms import Phase, PlanTerms, Trial
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import MatrixCell, Price, PriceTier, Rollover

PRICES_KEPT = 4_096


def _invoice(invoice: Invoice) -> InvoiceV1:
    assert invoice.number is not None, "only a finalized invoice is told of"
    return InvoiceV1(
        invoice_id=invoice.id,
        number=invoice.number,
        subscription_id=invoice.subscription_id,
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        total_minor=invoice.total.amount_minor,
        boundary_at=invoice.boundary_at,
    )


def invoice_finalized(invoice: Invoice, *, tenant: str) -> InvoiceFinalizedV1:
    assert invoice.issued_at is not None
    return InvoiceFinalizedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=invoice.issued_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
    )


def invoice_paid(invoice: Invoice, *, tenant: str) -> InvoicePaidV1:
    assert invoice.paid_at is not None
    return InvoicePaidV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=invoice.paid_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
    )


def payment_failed(
    invoice: Invoice, attempt: PaymentAttempt, *, next_attempt_at: datetime | None, tenant: str
) -> PaymentFailedV1:
    assert attempt.ended_at is not None
    return PaymentFailedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=attempt.ended_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        attempt_id=attempt.id,
        attempt_number=attempt.number,
        reason=attempt.reason or "declined",
        next_attempt_at=next_attempt_at,
    )


@lru_cache(maxsize=PRICES_KEPT)
def price_from(snapshot: PriceV1) -> Price:
    """A price never changes, so that the same one is made once."""
    terms = {name: getattr(snapshot, name) for name in Price.__slots__}
    terms["tiers"] = tuple(PriceTier(**_fields(tier)) for tier in snapshot.tiers)
    terms["cells"] = tuple(MatrixCell(**_fields(cell)) for cell in snapshot.cells)
    terms["rollover"] = Rollover(**_fields(snapshot.rollover)) if snapshot.rollover else None
    return Price(**terms)


@lru_cache(maxsize=PRICES_KEPT)
def price_snapshot(price: Price) -> PriceV1:
    return PriceV1.model_validate(price, from_attributes=True)


def _fields(part: Snapshot) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).model_fields}


def plan_from(snapshot: PlanV1) -> PlanTerms:
    trial = snapshot.trial
    return PlanTerms(
        code=snapshot.code,
        name=snapshot.name,
        currency=snapshot.currency,
        interval=Interval(snapshot.interval_unit, snapshot.interval_count),
        prices=tuple(price_from(price) for price in snapshot.prices),
        phases=tuple(Phase(**_fields(phase)) for phase in snapshot.phases),
        trial=None
        if trial is None
        else Trial(Interval(trial.interval_unit, trial.interval_count), trial.amount),
        commitments=tuple(Commitment(**_fields(commitment)) for commitment in snapshot.commitments),
        plan_id=snapshot.plan_id,
        plan_version_id=snapshot.plan_version_id,
        number=snapshot.plan_version,
    )


def overlay_from(snapshot: PlanOverlayV1) -> PlanTerms:
    """The plan as the customer has it."""
    term = None if snapshot.term_unit is None else Interval(snapshot.term_unit, snapshot.term_count)
    return replace(
        plan_from(snapshot.plan), overlay_id=snapshot.overlay_id, customer_id=snapshot.customer_id, term=term
    )


def customer_from(snapshot: CustomerV1) -> CustomerDetails:
    return CustomerDetails(
        id=snapshot.customer_id,
        version=snapshot.customer_version,
        name=snapshot.name,
        email=snapshot.email,
        external_id=snapshot.external_id,
        country=snapshot.country,
    )


def agreement_from(snapshot: SubscriptionV1, *, version: int, clock_id: str | None) -> Agreement:
    return Agreement(
        id=snapshot.subscription_id,
        version=version,
        customer=customer_from(snapshot.customer),
        currency=snapshot.currency,
        zone=snapshot.zone,
        items=tuple(_item_from(item) for item in snapshot.items),
        ends_at=snapshot.ends_at,
        clock_id=clock_id,
        anchor_on=snapshot.anchor_on,
        interval=Interval(snapshot.interval_unit, snapshot.interval_count),
    )


def _item_from(item: SubscriptionItemV1) -> BilledItem:
    return BilledItem(id=item.item_id, price=price_from(item.price), quantity=item.quantity)


def period_from(snapshot: BillingPeriodV1) -> BilledPeriod:
    return BilledPeriod(
        index=snapshot.index,
        start_on=snapshot.start_on,
        end_on=snapshot.end_on,
        start=snapshot.start,
        end=snapshot.end,
    )


def item_usage_from(total: UsageTotalV1) -> ItemUsage:
    return ItemUsage(
        item_id=total.item_id, meter=total.meter, quantity=total.quantity, event_count=total.event_count
    )


def item_usage_snapshot(usage: ItemUsage) -> UsageTotalV1:
    return UsageTotalV1(
        item_id=usage.item_id, meter=usage.meter, quantity=usage.quantity, event_count=usage.event_count
    )
