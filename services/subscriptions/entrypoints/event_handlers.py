"""Event → command: what subscriptions does with what it hears."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.billing import (
    InvoiceFinalizedV1,
    InvoicePaidV1,
    PaymentFailedV1,
    PaymentMethodChangedV1,
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
    """The invoice is overdue from its first failed attempt on, and given up after the last one of the schedule."""
    heard = InvoiceStanding.GIVEN_UP if event.next_attempt_at is None else InvoiceStanding.OVERDUE
    _note_invoice(event, uow)
    await _record(event, heard, uow)


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


async def on_invoice_paid(event: InvoicePaidV1, uow: SubscriptionsUnitOfWork) -> None:
    _note_invoice(event, uow)
    await _record(event, InvoiceStanding.PAID, uow)


def _note(event: Event, subscription_id: str, uow: SubscriptionsUnitOfWork) -> None:
    note(event, subscription_id, uow=uow, zone=uow.timeline.zone_of(subscription_id))


def _note_invoice(
    event: InvoiceFinalizedV1 | InvoicePaidV1 | PaymentFailedV1, uow: SubscriptionsUnitOfWork
) -> None:
    """On the timeline of each subscription that the document bills; one may be about none."""
    for subscription_id in event.invoice.about:
        _note(event, subscription_id, uow)


async def _record(
    event: PaymentFailedV1 | InvoicePaidV1, heard: InvoiceStanding, uow: SubscriptionsUnitOfWork
) -> None:
    for subscription_id in event.invoice.about:
        command = RecordPaymentOutcome(
            subscription_id=subscription_id,
            invoice_id=event.invoice.invoice_id,
            heard=heard,
            occurred_at=event.occurred_at,
        )
        await record_payment_outcome(command, uow=uow)


async def prepare(events: Sequence[Event], uow: SubscriptionsUnitOfWork) -> None:
    """Lock and load what all news of payments in a batch will need, good and bad, and the zones of what is told of."""
    invoices = [
        (subscription_id, event.invoice.invoice_id)
        for event in events
        if isinstance(event, PaymentFailedV1 | InvoicePaidV1)
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
        InvoicePaidV1: on_invoice_paid,
    },
    prepare=prepare,
)
