"""Event → command: what subscriptions does with what it hears."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.billing import (
    CreditNoteIssuedV1,
    DunningStepTakenV1,
    InvoiceFinalizedV1,
    InvoicePaidV1,
    InvoiceReopenedV1,
    InvoiceVoidedV1,
    PaymentFailedV1,
    PaymentMethodChangedV1,
    PaymentReceivedV1,
)
from libs.common.contracts.catalog import (
    PlanOverlaidV1,
    PlanOverlayWithdrawnV1,
    PlanPublishedV1,
    PlanRetiredV1,
    PlanVersionSalesChangedV1,
    TenantChangedV1,
    TokenRevokedV1,
)
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import (
    MeterDefinedV1,
    UsageBalanceUpdatedV1,
    UsageCorrectedV1,
    UsageWindowClosedV1,
)
from libs.common.contracts.subscriptions import TestClockMovedV1
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.reference import on_tenant_changed, on_test_clock_moved, on_token_revoked
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.keep_plan import (
    KeepPlan,
    NotePlanSale,
    RetirePlan,
    keep_plan,
    note_plan_sale,
    retire_plan,
)
from services.subscriptions.application.record_payment_outcome import (
    RecordPaymentOutcome,
    load_for_payment_outcomes,
    record_payment_outcome,
)
from services.subscriptions.application.timeline import note
from services.subscriptions.domain.invoice_standing import InvoiceStanding


async def on_plan_published(event: PlanPublishedV1, uow: SubscriptionsUnitOfWork) -> None:
    await keep_plan(KeepPlan(event.plan), uow=uow)


async def on_plan_retired(event: PlanRetiredV1, uow: SubscriptionsUnitOfWork) -> None:
    await retire_plan(RetirePlan(event.plan_id), uow=uow)


async def on_plan_version_sales_changed(
    event: PlanVersionSalesChangedV1, uow: SubscriptionsUnitOfWork
) -> None:
    """Its bounds stand in the version itself, which never changes."""
    command = NotePlanSale(event.plan_version_id, event.status, event.version)
    await note_plan_sale(command, uow=uow)


async def on_plan_overlaid(event: PlanOverlaidV1, uow: SubscriptionsUnitOfWork) -> None:
    await uow.plans.keep_overlay(event.overlay)


async def on_plan_overlay_withdrawn(event: PlanOverlayWithdrawnV1, uow: SubscriptionsUnitOfWork) -> None:
    await uow.plans.withdraw_overlay(event.overlay_id)


async def on_payment_method_changed(event: PaymentMethodChangedV1, uow: SubscriptionsUnitOfWork) -> None:
    await uow.payment_methods.note(event.customer_id, event.has_payment_method, event.version)


async def on_payment_failed(event: PaymentFailedV1, uow: SubscriptionsUnitOfWork) -> None:
    """The invoice is overdue from its first failed attempt on. Before there was dunning, the last one gave it up."""
    is_given_up = event.next_attempt_at is None and not event.is_dunned
    _note_invoice(event, uow)
    await _record(event, InvoiceStanding.GIVEN_UP if is_given_up else InvoiceStanding.OVERDUE, uow)


_STANDING_AFTER = {
    "overdue": InvoiceStanding.OVERDUE,
    "suspend": InvoiceStanding.GIVEN_UP,
    "end": InvoiceStanding.NEVER_PAID,
}


async def on_dunning_step_taken(event: DunningStepTakenV1, uow: SubscriptionsUnitOfWork) -> None:
    """Only those are suspended, or end, whom the step is about; a reminder changes nothing."""
    _note_invoice(event, uow)
    heard = _STANDING_AFTER.get(event.kind)
    if heard is not None:
        await _record(event, heard, uow, about=event.subscription_ids or event.invoice.about)


async def on_invoice_finalized(event: InvoiceFinalizedV1, uow: SubscriptionsUnitOfWork) -> None:
    _note_invoice(event, uow)


async def on_usage_told(event: UsageWindowClosedV1 | UsageCorrectedV1, uow: SubscriptionsUnitOfWork) -> None:
    _note(event, event.subscription_id, uow)
    uow.usage_balances.keep_closed(event)


async def on_usage_balance_updated(event: UsageBalanceUpdatedV1, uow: SubscriptionsUnitOfWork) -> None:
    """It informs entitlements, and is no part of anybody's story."""
    uow.usage_balances.keep(event)


async def on_meter_defined(event: MeterDefinedV1, uow: SubscriptionsUnitOfWork) -> None:
    uow.known_meters.keep(event)


async def on_credit_note_issued(event: CreditNoteIssuedV1, uow: SubscriptionsUnitOfWork) -> None:
    uow.customer_invoices.credited(event)


async def on_payment_received(event: PaymentReceivedV1, uow: SubscriptionsUnitOfWork) -> None:
    uow.customer_invoices.received(event)


async def on_invoice_paid(event: InvoicePaidV1, uow: SubscriptionsUnitOfWork) -> None:
    uow.customer_invoices.paid(event.invoice)
    _note_invoice(event, uow)
    await _record(event, InvoiceStanding.PAID, uow)


async def on_invoice_reopened(event: InvoiceReopenedV1, uow: SubscriptionsUnitOfWork) -> None:
    """What it was paid with was taken back: it is overdue, in a round of its own, until it is paid again."""
    uow.customer_invoices.reopened(event.invoice, event.due_minor)
    _note_invoice(event, uow)
    await _record(event, InvoiceStanding.OVERDUE, uow)


async def on_invoice_voided(event: InvoiceVoidedV1, uow: SubscriptionsUnitOfWork) -> None:
    """Nothing is owed on it any more: whoever was past due or suspended for it is so no longer."""
    uow.customer_invoices.voided(event.invoice)
    _note_invoice(event, uow)
    await _record(event, InvoiceStanding.PAID, uow)


def _note(event: Event, subscription_id: str, uow: SubscriptionsUnitOfWork) -> None:
    note(event, subscription_id, uow=uow, zone=uow.timeline.zone_of(subscription_id))


def _note_invoice(
    event: InvoiceFinalizedV1
    | InvoicePaidV1
    | InvoiceReopenedV1
    | InvoiceVoidedV1
    | PaymentFailedV1
    | DunningStepTakenV1,
    uow: SubscriptionsUnitOfWork,
) -> None:
    """On the timeline of each subscription that the document bills; one may be about none. And what its payer owes."""
    uow.customer_invoices.issued(event.invoice)
    for subscription_id in event.invoice.about:
        _note(event, subscription_id, uow)


async def _record(
    event: PaymentFailedV1 | InvoicePaidV1 | InvoiceReopenedV1 | InvoiceVoidedV1 | DunningStepTakenV1,
    heard: InvoiceStanding,
    uow: SubscriptionsUnitOfWork,
    *,
    about: Sequence[str] | None = None,
) -> None:
    for subscription_id in event.invoice.about if about is None else about:
        command = RecordPaymentOutcome(
            subscription_id=subscription_id,
            invoice_id=event.invoice.invoice_id,
            heard=heard,
            occurred_at=event.occurred_at,
            round=event.invoice.reopened_count,
        )
        await record_payment_outcome(command, uow=uow)


async def prepare(events: Sequence[Event], uow: SubscriptionsUnitOfWork) -> None:
    """Lock and load what all news of payments in a batch will need, good and bad, and the zones of what is told of."""
    invoices = [
        (subscription_id, event.invoice.invoice_id)
        for event in events
        if isinstance(
            event,
            PaymentFailedV1 | InvoicePaidV1 | InvoiceReopenedV1 | InvoiceVoidedV1 | DunningStepTakenV1,
        )
        for subscription_id in event.invoice.about
    ]
    await load_for_payment_outcomes(invoices, uow=uow)
    used = [
        event.subscription_id for event in events if isinstance(event, UsageWindowClosedV1 | UsageCorrectedV1)
    ]
    await uow.timeline.load_zones([*(id for id, _ in invoices), *used])


HANDLERS: HandlerGroup[SubscriptionsUnitOfWork] = HandlerGroup(
    name=group_of("subscriptions"),
    topics=tuple(topic_of(service) for service in HEARS["subscriptions"]),
    handle={
        TenantChangedV1: on_tenant_changed,
        TokenRevokedV1: on_token_revoked,
        TestClockMovedV1: on_test_clock_moved,
        PlanPublishedV1: on_plan_published,
        PlanRetiredV1: on_plan_retired,
        PlanVersionSalesChangedV1: on_plan_version_sales_changed,
        PlanOverlaidV1: on_plan_overlaid,
        PlanOverlayWithdrawnV1: on_plan_overlay_withdrawn,
        PaymentMethodChangedV1: on_payment_method_changed,
        InvoiceFinalizedV1: on_invoice_finalized,
        UsageWindowClosedV1: on_usage_told,
        UsageCorrectedV1: on_usage_told,
        UsageBalanceUpdatedV1: on_usage_balance_updated,
        MeterDefinedV1: on_meter_defined,
        PaymentFailedV1: on_payment_failed,
        DunningStepTakenV1: on_dunning_step_taken,
        InvoicePaidV1: on_invoice_paid,
        InvoiceReopenedV1: on_invoice_reopened,
        InvoiceVoidedV1: on_invoice_voided,
        CreditNoteIssuedV1: on_credit_note_issued,
        PaymentReceivedV1: on_payment_received,
    },
    prepare=prepare,
)
