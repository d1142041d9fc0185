"""Domain outcome → contract event, and contract snapshot → domain object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from libs.common.contracts.billing import (
    AllocatedV1,
    BillingRunChangedV1,
    CreditNoteIssuedV1,
    CreditNoteV1,
    CustomerBalanceChangedV1,
    DepositChangedV1,
    DisputeChangedV1,
    DunningStepTakenV1,
    InvoiceFinalizedV1,
    InvoiceMarkedUncollectibleV1,
    InvoicePaidV1,
    InvoiceReopenedV1,
    InvoiceV1,
    InvoiceVoidedV1,
    MailBouncedV1,
    PaymentFailedV1,
    PaymentMethodChangedV1,
    PaymentReceivedV1,
    RefundCanceledV1,
    RefundFailedV1,
    RefundRequestedV1,
    RefundSucceededV1,
    RefundV1,
)
from libs.common.contracts.catalog import CommitmentV1, PlanOverlayV1, PlanV1, PriceV1, Snapshot
from libs.common.contracts.metering import TrueUpV1, UsageTotalV1, UsageWindowSealedV1
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerV1,
    FeeV1,
    PeriodTermsV1,
    SubscriptionItemV1,
    SubscriptionV1,
    TermSegmentV1,
)
from libs.common.periods import Interval, local_date
from services.billing.domain.agreement import (
    Address,
    Agreement,
    BilledItem,
    BilledPeriod,
    Bounds,
    CustomerDetails,
)
from services.billing.domain.billing_run import BillingRun
from services.billing.domain.charge import ItemUsage, TrueUp
from services.billing.domain.credit_note import CreditNote
from services.billing.domain.customer_balance import BalanceEntry
from services.billing.domain.deposit import Deposit
from services.billing.domain.dispute import Dispute
from services.billing.domain.dunning import Dunning, DunningStep
from services.billing.domain.dunning_terms import DunningTerms
from services.billing.domain.invoice import Invoice
from services.billing.domain.mail import Mail
from services.billing.domain.payment import PaymentAttempt
from services.billing.domain.payment_received import Payment, PaymentAllocation
from services.billing.domain.plan_terms import Phase, PlanTerms, Trial
from services.billing.domain.proration import ProrationOptions
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import MatrixCell, Price, PriceTier, Rollover
from services.billing.domain.refund import Refund
from services.billing.domain.terms import Fee, PeriodTerms, TermSegment
from services.billing.domain.window_digest import UsageDigest, WindowDigest

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
        document_kind=invoice.document_kind,
        balance_applied_minor=invoice.balance_applied.amount_minor,
        subscription_ids=invoice.about,
        net_minor=invoice.net.amount_minor,
        tax_minor=invoice.tax.amount_minor,
        discount_minor=invoice.discount.amount_minor,
        credits_applied_minor=invoice.credits_applied.amount_minor,
        due_on=invoice.due_on,
        reopened_count=invoice.reopened_count,
    )


def invoice_issued(invoice: Invoice, *, tenant: str) -> list[InvoiceFinalizedV1 | InvoicePaidV1]:
    """What is told when an invoice is issued: that it is, and where nothing is left to be paid, that it is paid.

    Whoever waits for the money need not know what a balance is. The second is one version further than the first.
    """
    if invoice.status != "paid":
        return [invoice_finalized(invoice, tenant=tenant)]
    issued = replace(invoice, version=invoice.version - 1)
    return [invoice_finalized(issued, tenant=tenant), invoice_paid(invoice, tenant=tenant)]


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


def mail_bounced(mail: Mail, *, is_address: bool, occurred_at: datetime, tenant: str) -> MailBouncedV1:
    return MailBouncedV1(
        tenant=tenant,
        version=mail.version,
        occurred_at=occurred_at,
        mail_id=mail.id,
        customer_id=mail.customer_id,
        kind=mail.kind,
        reason=mail.reason or "refused",
        is_address=is_address,
        invoice_id=mail.invoice_id,
        subscription_id=mail.subscription_id,
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
        is_dunned=True,
    )


def payment_received(
    payment: Payment, allocations: Iterable[PaymentAllocation], *, occurred_at: datetime, tenant: str
) -> PaymentReceivedV1:
    assert payment.customer_id is not None, "told of once somebody is known to have paid it"
    return PaymentReceivedV1(
        tenant=tenant,
        version=payment.version,
        occurred_at=occurred_at,
        test_clock=payment.clock_id,
        payment_id=payment.id,
        customer_id=payment.customer_id,
        way=payment.way,
        currency=payment.amount.currency,
        amount_minor=payment.amount.amount_minor,
        to_balance_minor=payment.to_balance.amount_minor,
        unapplied_minor=payment.unapplied.amount_minor,
        received_on=payment.received_on,
        allocations=tuple(
            AllocatedV1(invoice_id=one.invoice_id, amount_minor=one.amount.amount_minor)
            for one in allocations
            if one.invoice_id is not None
        ),
    )


def dunning_step_taken(
    step: DunningStep, dunning: Dunning, invoice: Invoice, *, occurred_at: datetime, tenant: str
) -> DunningStepTakenV1:
    following = dunning.next_step or next(iter(dunning.ahead), None)
    due_on = invoice.due_on or dunning.counted_from
    return DunningStepTakenV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=occurred_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        kind=step.kind,
        number=step.number,
        due_minor=invoice.due.amount_minor,
        days_overdue=max(0, (local_date(occurred_at, dunning.zone) - due_on).days),
        subscription_ids=step.subscription_ids,
        next_step=following.kind if following else None,
        next_step_at=following.at if following else None,
    )


def invoice_reopened(
    invoice: Invoice, *, payment_id: str, reason: str, occurred_at: datetime, tenant: str
) -> InvoiceReopenedV1:
    return InvoiceReopenedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=occurred_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        payment_id=payment_id,
        due_minor=invoice.due.amount_minor,
        reason=reason,
    )


def invoice_voided(invoice: Invoice, *, reason: str, tenant: str) -> InvoiceVoidedV1:
    assert invoice.voided_at is not None
    return InvoiceVoidedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=invoice.voided_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        reason=reason,
    )


def invoice_marked_uncollectible(
    invoice: Invoice, *, reason: str, occurred_at: datetime, tenant: str
) -> InvoiceMarkedUncollectibleV1:
    return InvoiceMarkedUncollectibleV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=occurred_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        reason=reason,
        written_off_minor=invoice.due.amount_minor,
    )


def credit_note_issued(note: CreditNote, *, tenant: str) -> CreditNoteIssuedV1:
    assert note.number is not None, "only an issued credit note is told of"
    return CreditNoteIssuedV1(
        tenant=tenant,
        occurred_at=note.issued_at,
        test_clock=note.clock_id,
        credit_note=CreditNoteV1(
            credit_note_id=note.id,
            number=note.number,
            invoice_id=note.invoice_id,
            customer_id=note.customer_id,
            currency=note.currency,
            net_minor=note.net.amount_minor,
            tax_minor=note.tax.amount_minor,
            total_minor=note.total.amount_minor,
            to_invoice_minor=note.to_invoice.amount_minor,
            to_balance_minor=note.to_balance.amount_minor,
            to_refund_minor=note.to_refund.amount_minor,
            reason=note.reason,
        ),
    )


def refund_requested(refund: Refund, *, tenant: str) -> RefundRequestedV1:
    return RefundRequestedV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=refund.created_at,
        test_clock=refund.clock_id,
        refund_id=refund.id,
        customer_id=refund.customer_id,
        currency=refund.amount.currency,
        amount_minor=refund.amount.amount_minor,
        credit_note_id=refund.credit_note_id,
        deposit_id=refund.deposit_id,
        invoice_id=refund.invoice_id,
        payment_id=refund.payment_id,
        by_hand=refund.state == "manual",
    )


def _refund(refund: Refund) -> RefundV1:
    return RefundV1(
        refund_id=refund.id,
        customer_id=refund.customer_id,
        currency=refund.amount.currency,
        amount_minor=refund.amount.amount_minor,
        credit_note_id=refund.credit_note_id,
        deposit_id=refund.deposit_id,
        invoice_id=refund.invoice_id,
        payment_id=refund.payment_id,
    )


def refund_succeeded(refund: Refund, *, occurred_at: datetime, tenant: str) -> RefundSucceededV1:
    return RefundSucceededV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=occurred_at,
        test_clock=refund.clock_id,
        refund=_refund(refund),
        by_hand=refund.paid_reference is not None,
        reference=refund.paid_reference or refund.gateway_reference,
    )


def refund_failed(refund: Refund, *, occurred_at: datetime, tenant: str) -> RefundFailedV1:
    return RefundFailedV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=occurred_at,
        test_clock=refund.clock_id,
        refund=_refund(refund),
        reason=refund.failure or "declined",
        next_try_at=refund.due_at,
    )


def refund_canceled(refund: Refund, *, occurred_at: datetime, tenant: str) -> RefundCanceledV1:
    return RefundCanceledV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=occurred_at,
        test_clock=refund.clock_id,
        refund=_refund(refund),
    )


def dispute_changed(dispute: Dispute, *, occurred_at: datetime, tenant: str) -> DisputeChangedV1:
    return DisputeChangedV1(
        tenant=tenant,
        version=dispute.version,
        occurred_at=occurred_at,
        test_clock=dispute.clock_id,
        dispute_id=dispute.id,
        payment_id=dispute.payment_id,
        customer_id=dispute.customer_id,
        currency=dispute.amount.currency,
        amount_minor=dispute.amount.amount_minor,
        taken_minor=dispute.taken.amount_minor,
        state=dispute.state,
        reason=dispute.reason,
    )


def deposit_changed(deposit: Deposit, *, occurred_at: datetime, tenant: str) -> DepositChangedV1:
    return DepositChangedV1(
        tenant=tenant,
        version=deposit.version,
        occurred_at=occurred_at,
        test_clock=deposit.clock_id,
        deposit_id=deposit.id,
        customer_id=deposit.customer_id,
        subscription_id=deposit.subscription_id,
        currency=deposit.amount.currency,
        amount_minor=deposit.amount.amount_minor,
        remaining_minor=deposit.remaining.amount_minor,
        state=deposit.state,
    )


def customer_balance_changed(entry: BalanceEntry, *, tenant: str) -> CustomerBalanceChangedV1:
    movement = entry.movement
    return CustomerBalanceChangedV1(
        tenant=tenant,
        version=entry.ordinal,
        occurred_at=movement.occurred_at,
        test_clock=movement.clock_id,
        customer_id=movement.customer_id,
        currency=entry.after.currency,
        balance_minor=entry.after.amount_minor,
        invoice_id=movement.invoice_id,
    )


def billing_run_changed(run: BillingRun, *, tenant: str, now: datetime) -> BillingRunChangedV1:
    assert run.state != "counting", "that it is counted is nobody's news"
    return BillingRunChangedV1(
        tenant=tenant,
        version=run.version,
        occurred_at=now,
        run_id=run.id,
        state=run.state,
        until=run.until,
        invoice_count=run.invoice_count,
    )


def payment_method_changed(
    customer: CustomerDetails, *, has_payment_method: bool, version: int, occurred_at: datetime, tenant: str
) -> PaymentMethodChangedV1:
    """`version` counts the methods that the customer ever had, and those that went away."""
    return PaymentMethodChangedV1(
        tenant=tenant,
        version=version,
        occurred_at=occurred_at,
        test_clock=customer.clock_id,
        customer_id=customer.id,
        has_payment_method=has_payment_method,
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
        commitments=_commitments_from(snapshot.commitments),
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


def customer_from(snapshot: CustomerV1, *, clock_id: str | None = None) -> CustomerDetails:
    return CustomerDetails(
        id=snapshot.customer_id,
        version=snapshot.customer_version,
        name=snapshot.name,
        email=snapshot.email,
        external_id=snapshot.external_id,
        country=snapshot.country,
        legal_name=snapshot.legal_name,
        vat_id=snapshot.vat_id,
        address=None if snapshot.address is None else Address(**_fields(snapshot.address)),
        payment_terms_days=snapshot.payment_terms_days,
        is_erased=snapshot.is_erased,
        clock_id=clock_id,
        zone=snapshot.zone,
        locale=snapshot.locale,
    )


def agreement_from(snapshot: SubscriptionV1, *, version: int, clock_id: str | None) -> Agreement:
    return Agreement(
        id=snapshot.subscription_id,
        version=version,
        customer=customer_from(snapshot.customer, clock_id=clock_id),
        payer=None if snapshot.payer is None else customer_from(snapshot.payer, clock_id=clock_id),
        currency=snapshot.currency,
        zone=snapshot.zone,
        items=tuple(_item_from(item) for item in snapshot.items),
        ends_at=snapshot.ends_at,
        clock_id=clock_id,
        anchor_on=snapshot.anchor_on,
        interval=Interval(snapshot.interval_unit, snapshot.interval_count),
        billed_until=snapshot.billed_until,
        proration=ProrationOptions(**_fields(snapshot.proration)),
        commitments=_commitments_from(snapshot.commitments),
        plan_code=snapshot.plan_code,
        dunning=DunningTerms(**_fields(snapshot.dunning)),
    )


def _commitments_from(snapshots: Iterable[CommitmentV1]) -> tuple[Commitment, ...]:
    return tuple(Commitment(**_fields(commitment)) for commitment in snapshots)


def _item_from(item: SubscriptionItemV1) -> BilledItem:
    return BilledItem(id=item.item_id, price=price_from(item.price), quantity=item.quantity)


def period_from(snapshot: BillingPeriodV1) -> BilledPeriod:
    return BilledPeriod(
        index=snapshot.index,
        start_on=snapshot.start_on,
        end_on=snapshot.end_on,
        start=snapshot.start,
        end=snapshot.end,
        kind=snapshot.kind,
        full=_bounds_from(
            snapshot.full_start_on, snapshot.full_end_on, snapshot.full_start, snapshot.full_end
        ),
    )


def _bounds_from(
    start_on: date | None, end_on: date | None, start: datetime | None, end: datetime | None
) -> Bounds | None:
    if start_on is None or end_on is None or start is None or end is None:
        return None
    return Bounds(start_on, end_on, start, end)


def terms_from(snapshot: PeriodTermsV1, *, subscription_id: str, version: int) -> PeriodTerms:
    return PeriodTerms(
        subscription_id=subscription_id,
        version=version,
        period=period_from(snapshot.period),
        segments=tuple(_segment_from(segment) for segment in snapshot.segments),
        is_over=snapshot.is_over,
        commitments=_commitments_from(snapshot.commitments),
    )


def _segment_from(snapshot: TermSegmentV1) -> TermSegment:
    return TermSegment(
        item_id=snapshot.item_id,
        price=price_from(snapshot.price),
        quantity=snapshot.quantity,
        start_on=snapshot.start_on,
        end_on=snapshot.end_on,
        start=snapshot.start,
        end=snapshot.end,
        start_proration=snapshot.start_proration,
        end_proration=snapshot.end_proration,
        whole=_bounds_from(
            snapshot.whole_start_on, snapshot.whole_end_on, snapshot.whole_start, snapshot.whole_end
        ),
    )


def terms_snapshot(terms: PeriodTerms) -> PeriodTermsV1:
    """As the event told them: how they are kept."""
    return PeriodTermsV1(
        period=_period_snapshot(terms.period),
        segments=tuple(_segment_snapshot(segment) for segment in terms.segments),
        is_over=terms.is_over,
        commitments=tuple(commitment_snapshot(commitment) for commitment in terms.commitments),
    )


def commitment_snapshot(commitment: Commitment) -> CommitmentV1:
    return CommitmentV1.model_validate(commitment, from_attributes=True)


def _period_snapshot(period: BilledPeriod) -> BillingPeriodV1:
    return BillingPeriodV1(
        index=period.index,
        start_on=period.start_on,
        end_on=period.end_on,
        start=period.start,
        end=period.end,
        kind=period.kind,
        **_named("full", period.full),
    )


def _segment_snapshot(segment: TermSegment) -> TermSegmentV1:
    return TermSegmentV1(
        item_id=segment.item_id,
        price=price_snapshot(segment.price),
        quantity=segment.quantity,
        start_on=segment.start_on,
        end_on=segment.end_on,
        start=segment.start,
        end=segment.end,
        start_proration=segment.start_proration,
        end_proration=segment.end_proration,
        **_named("whole", segment.whole),
    )


def _named(prefix: str, bounds: Bounds | None) -> dict[str, Any]:
    if bounds is None:
        return {}
    return {f"{prefix}_{name}": getattr(bounds, name) for name in Bounds.__slots__}


def fee_from(snapshot: FeeV1) -> Fee:
    return Fee(
        id=snapshot.fee_id,
        kind=snapshot.kind,
        description=snapshot.description,
        amount=snapshot.amount,
        service_start_on=snapshot.service_start_on,
        service_end_on=snapshot.service_end_on,
        tax_category=snapshot.tax_category,
    )


def item_usage_from(total: UsageTotalV1) -> ItemUsage:
    return ItemUsage(
        item_id=total.item_id,
        meter=total.meter,
        quantity=total.quantity,
        event_count=total.event_count,
        price_id=total.price_id,
        estimated_quantity=total.estimated_quantity,
        true_ups=tuple(TrueUp(**_fields(true_up)) for true_up in total.true_ups),
    )


def item_usage_snapshot(usage: ItemUsage) -> UsageTotalV1:
    return UsageTotalV1(
        item_id=usage.item_id,
        meter=usage.meter,
        quantity=usage.quantity,
        event_count=usage.event_count,
        price_id=usage.price_id,
        estimated_quantity=usage.estimated_quantity,
        true_ups=tuple(TrueUpV1.model_validate(true_up, from_attributes=True) for true_up in usage.true_ups),
    )


def window_digest_from(event: UsageWindowSealedV1) -> WindowDigest:
    return WindowDigest(
        window_id=event.window_id,
        subscription_id=event.subscription_id,
        period_index=event.period_index,
        revision=event.revision,
        seal=event.seal,
        sealed_at=event.occurred_at,
        digests=tuple(
            UsageDigest(
                item_id=digest.item_id,
                price_id=digest.price_id,
                meter=digest.meter,
                quantity=digest.quantity,
                event_count=digest.event_count,
                leaf_count=digest.leaf_count,
                root=digest.root,
                algorithm=digest.algorithm,
            )
            for digest in event.digests
        ),
    )
