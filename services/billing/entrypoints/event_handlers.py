"""Event → command: what billing does with what it hears."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import (
    CustomerChangedV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionRenewedV1,
    SubscriptionStartedV1,
    TestClockMovedV1,
)
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.reference import on_tenant_changed, on_test_clock_moved, on_token_revoked
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application import events
from services.billing.application.add_usage_lines import AddUsageLines, add_usage_lines
from services.billing.application.reconcile_charges import (
    ReconcileCharges,
    keep_newest_agreement,
    reconcile_charges,
)
from services.billing.domain.charge import UsageOfPeriod, charge_id
from services.billing.domain.invoice import invoice_id

Lifecycle = SubscriptionStartedV1 | SubscriptionRenewedV1 | SubscriptionEndedV1


async def on_customer_changed(event: CustomerChangedV1, uow: BillingUnitOfWork) -> None:
    uow.customers.keep_newest(events.customer_from(event.customer))


async def on_subscription_started(event: SubscriptionStartedV1, uow: BillingUnitOfWork) -> None:
    """The first boundary: nothing is behind it."""
    await reconcile_charges(_boundary(event), uow=uow)


async def on_subscription_renewed(event: SubscriptionRenewedV1, uow: BillingUnitOfWork) -> None:
    await reconcile_charges(_boundary(event), uow=uow)


async def on_subscription_ended(event: SubscriptionEndedV1, uow: BillingUnitOfWork) -> None:
    """The last boundary: nothing is ahead of it. An agreement that never began owes nothing."""
    if event.ended is not None:
        await reconcile_charges(_boundary(event), uow=uow)


async def on_subscription_changed(event: SubscriptionChangedV1, uow: BillingUnitOfWork) -> None:
    agreement = events.agreement_from(event.subscription, version=event.version, clock_id=event.test_clock)
    await keep_newest_agreement(agreement, uow=uow)


def _boundary(event: Lifecycle) -> ReconcileCharges:
    begins = None if isinstance(event, SubscriptionEndedV1) else event.period
    ended = None if isinstance(event, SubscriptionStartedV1) else event.ended
    return ReconcileCharges(
        agreement=events.agreement_from(event.subscription, version=event.version, clock_id=event.test_clock),
        boundary_at=_boundary_at(event),
        begins=None if begins is None else events.period_from(begins),
        ended=None if ended is None else events.period_from(ended),
        occurred_at=event.occurred_at,
    )


def _boundary_at(event: Lifecycle) -> datetime:
    return event.ended_at if isinstance(event, SubscriptionEndedV1) else event.period.start


def _usage(event: UsageWindowClosedV1 | UsageCorrectedV1) -> UsageOfPeriod:
    return UsageOfPeriod(
        window_id=event.window_id,
        subscription_id=event.subscription_id,
        period_index=event.period_index,
        window_start=event.window_start,
        window_end=event.window_end,
        totals=tuple(events.item_usage_from(total) for total in event.totals),
    )


async def on_usage_window_closed(event: UsageWindowClosedV1, uow: BillingUnitOfWork) -> None:
    """Bill metered usage in arrears, on the invoice raised at the window's end."""
    await add_usage_lines(AddUsageLines(usage=_usage(event), occurred_at=event.occurred_at), uow=uow)


async def on_usage_corrected(event: UsageCorrectedV1, uow: BillingUnitOfWork) -> None:
    """Usage that came late is kept beside what was billed; the audit names the difference."""
    await uow.usage_windows.correct(_usage(event), revision=event.revision)


async def prepare_boundaries(given: Sequence[Lifecycle], uow: BillingUnitOfWork) -> None:
    """Lock and load, in a few statements, what the boundaries of a batch will need."""
    boundaries = [_boundary(event) for event in given]
    agreements = [boundary.agreement.id for boundary in boundaries]
    drafts = [invoice_id(boundary.agreement.id, boundary.boundary_at) for boundary in boundaries]
    await uow.agreements.load_for_update(agreements)
    await uow.invoices.load_for_update(drafts)
    await uow.charges.load_of_invoices(drafts)
    await uow.charges.load_recorded(
        charge_id(item.id, item.price.id, boundary.begins.index, "advance")
        for boundary in boundaries
        if boundary.begins is not None
        for item in boundary.agreement.items
    )
    await uow.usage_windows.load(
        (boundary.agreement.id, boundary.ended.index) for boundary in boundaries if boundary.ended is not None
    )


async def prepare_windows(given: Sequence[UsageWindowClosedV1], uow: BillingUnitOfWork) -> None:
    drafts = [invoice_id(event.subscription_id, event.window_end) for event in given]
    await uow.agreements.load_for_update(event.subscription_id for event in given)
    await uow.invoices.load_for_update(drafts)
    await uow.charges.load_of_invoices(drafts)
    await uow.usage_windows.load((event.subscription_id, event.period_index) for event in given)


HANDLERS: HandlerGroup[BillingUnitOfWork] = HandlerGroup(
    name=group_of("billing"),
    topics=tuple(topic_of(service) for service in HEARS["billing"]),
    handle={
        TenantChangedV1: on_tenant_changed,
        TokenRevokedV1: on_token_revoked,
        TestClockMovedV1: on_test_clock_moved,
        CustomerChangedV1: on_customer_changed,
        SubscriptionStartedV1: on_subscription_started,
        SubscriptionRenewedV1: on_subscription_renewed,
        SubscriptionChangedV1: on_subscription_changed,
        SubscriptionEndedV1: on_subscription_ended,
        UsageWindowClosedV1: on_usage_window_closed,
        UsageCorrectedV1: on_usage_corrected,
    },
    prepare={
        SubscriptionStartedV1: prepare_boundaries,
        SubscriptionRenewedV1: prepare_boundaries,
        SubscriptionEndedV1: prepare_boundaries,
        UsageWindowClosedV1: prepare_windows,
    },
)
