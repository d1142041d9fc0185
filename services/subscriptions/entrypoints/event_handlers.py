"""Event → command: what subscriptions does with what it hears."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.billing import InvoicePaidV1, PaymentFailedV1
from libs.common.contracts.catalog import (
    PlanPublishedV1,
    PlanRetiredV1,
    PlanVersionSalesChangedV1,
    TenantChangedV1,
    TokenRevokedV1,
)
from libs.common.contracts.envelope import Event
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


async def on_payment_failed(event: PaymentFailedV1, uow: SubscriptionsUnitOfWork) -> None:
    """The invoice is overdue from its first failed attempt on."""
    await record_payment_outcome(_outcome(event, InvoiceStanding.OVERDUE), uow=uow)


async def on_invoice_paid(event: InvoicePaidV1, uow: SubscriptionsUnitOfWork) -> None:
    await record_payment_outcome(_outcome(event, InvoiceStanding.PAID), uow=uow)


def _outcome(event: PaymentFailedV1 | InvoicePaidV1, heard: InvoiceStanding) -> RecordPaymentOutcome:
    return RecordPaymentOutcome(
        subscription_id=event.invoice.subscription_id,
        invoice_id=event.invoice.invoice_id,
        heard=heard,
        occurred_at=event.occurred_at,
    )


async def prepare(events: Sequence[Event], uow: SubscriptionsUnitOfWork) -> None:
    """Lock and load what all news of payments in a batch will need, good and bad."""
    invoices = [
        (event.invoice.subscription_id, event.invoice.invoice_id)
        for event in events
        if isinstance(event, PaymentFailedV1 | InvoicePaidV1)
    ]
    await load_for_payment_outcomes(invoices, uow=uow)


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
        PaymentFailedV1: on_payment_failed,
        InvoicePaidV1: on_invoice_paid,
    },
    prepare=prepare,
)
