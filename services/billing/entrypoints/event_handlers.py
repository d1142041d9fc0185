"""Event → command: what billing does with what it hears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.catalog import (
    PlanOverlaidV1,
    PlanPublishedV1,
    TenantChangedV1,
    TokenRevokedV1,
)
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import UsageCorrectedV1, UsageTotalV1, UsageWindowClosedV1
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
from services.billing.application.correct_usage import CorrectUsage, correct_usage
from services.billing.application.keep_plan import KeepPlan, KeepPlanOverlay, keep_plan, keep_plan_overlay
from services.billing.application.reconcile_charges import (
    ReconcileCharges,
    keep_newest_agreement,
    reconcile_charges,
)
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import ItemUsage, UsageCorrection, UsageOfPeriod, charge_id
from services.billing.domain.invoice import invoice_id

Lifecycle = SubscriptionStartedV1 | SubscriptionRenewedV1 | SubscriptionEndedV1


async def on_plan_published(event: PlanPublishedV1, uow: BillingUnitOfWork) -> None:
    """From now on it can be simulated."""
    await keep_plan(KeepPlan(event.plan), uow=uow)


async def on_plan_overlaid(event: PlanOverlaidV1, uow: BillingUnitOfWork) -> None:
    await keep_plan_overlay(KeepPlanOverlay(event.overlay), uow=uow)


async def on_customer_changed(event: CustomerChangedV1, uow: BillingUnitOfWork) -> None:
    uow.customers.keep_newest(events.customer_from(event.customer))


async def on_subscription_started(event: SubscriptionStartedV1, uow: BillingUnitOfWork) -> None:
    """The first boundary: nothing is behind it."""
    await reconcile_charges(_boundary(event), uow=uow)


async def on_subscription_renewed(event: SubscriptionRenewedV1, uow: BillingUnitOfWork) -> None:
    await reconcile_charges(_boundary(event), uow=uow)


async def on_subscription_ended(event: SubscriptionEndedV1, uow: BillingUnitOfWork) -> None:
    """The last boundary: nothing is ahead of it.

    An agreement that never began owes nothing; nor does a last period that ended the instant it began: what was
    due at that boundary stands on the document that its beginning opened.
    """
    if _never_began(event):
        await keep_newest_agreement(_agreement(event), uow=uow)
    else:
        await reconcile_charges(_boundary(event), uow=uow)


def _never_began(event: Lifecycle) -> bool:
    """The period that ends here has no length, or is none at all."""
    if not isinstance(event, SubscriptionEndedV1):
        return False
    return event.ended is None or event.ended.start == event.ended.end


async def on_subscription_changed(event: SubscriptionChangedV1, uow: BillingUnitOfWork) -> None:
    await keep_newest_agreement(_agreement(event), uow=uow)


def _agreement(event: Lifecycle | SubscriptionChangedV1) -> Agreement:
    return events.agreement_from(event.subscription, version=event.version, clock_id=event.test_clock)


def _boundary(event: Lifecycle) -> ReconcileCharges:
    begins = None if isinstance(event, SubscriptionEndedV1) else event.period
    ended = None if isinstance(event, SubscriptionStartedV1) else event.ended
    return ReconcileCharges(
        agreement=_agreement(event),
        boundary_at=_boundary_at(event),
        begins=None if begins is None else events.period_from(begins),
        ended=None if ended is None else events.period_from(ended),
        occurred_at=event.occurred_at,
    )


def _boundary_at(event: Lifecycle) -> datetime:
    return event.ended_at if isinstance(event, SubscriptionEndedV1) else event.period.start


async def on_usage_window_closed(event: UsageWindowClosedV1, uow: BillingUnitOfWork) -> None:
    """Bill metered usage in arrears, on the invoice raised at the window's end."""
    usage = UsageOfPeriod(
        window_id=event.window_id,
        subscription_id=event.subscription_id,
        period_index=event.period_index,
        window_start=event.window_start,
        window_end=event.window_end,
        closed_at=event.occurred_at,
        totals=_totals(event.totals),
    )
    await add_usage_lines(AddUsageLines(usage), uow=uow)


async def on_usage_corrected(event: UsageCorrectedV1, uow: BillingUnitOfWork) -> None:
    """Usage that came late is kept beside what was billed; the audit names the difference."""
    correction = UsageCorrection(
        window_id=event.window_id,
        subscription_id=event.subscription_id,
        period_index=event.period_index,
        revision=event.revision,
        totals=_totals(event.totals),
    )
    await correct_usage(CorrectUsage(correction), uow=uow)


def _totals(given: Iterable[UsageTotalV1]) -> tuple[ItemUsage, ...]:
    return tuple(events.item_usage_from(total) for total in given)


async def prepare(given: Sequence[Event], uow: BillingUnitOfWork) -> None:
    """Lock and load, in a few statements, what a batch will need: all its agreements, then all its drafts.

    News of one subscription comes on two topics, so two consumers may have the same agreements in hand: each takes
    them in id order, whatever the events are that ask for them.
    """
    told = [event for event in given if isinstance(event, Lifecycle | SubscriptionChangedV1)]
    billed = [event for event in told if isinstance(event, Lifecycle) and not _never_began(event)]
    closed = [event for event in given if isinstance(event, UsageWindowClosedV1)]
    await uow.agreements.load_for_update(
        [event.subscription.subscription_id for event in told] + [event.subscription_id for event in closed]
    )
    drafts = [invoice_id(event.subscription.subscription_id, _boundary_at(event)) for event in billed]
    drafts += [invoice_id(event.subscription_id, event.window_end) for event in closed]
    await uow.invoices.load_for_update(drafts)
    await uow.charges.load_of_invoices(drafts)
    await uow.usage_windows.load(
        [*_periods_behind(billed), *((e.subscription_id, e.period_index) for e in closed)]
    )
    recorded = [id for event in billed for id in _charge_ids(event)]
    for event in closed:
        recorded += await _usage_charge_ids(event, uow)
    await uow.charges.load_recorded(recorded)


def _periods_behind(billed: Iterable[Lifecycle]) -> Iterator[tuple[str, int]]:
    for event in billed:
        if not isinstance(event, SubscriptionStartedV1) and event.ended is not None:
            yield event.subscription.subscription_id, event.ended.index


def _charge_ids(event: Lifecycle) -> Iterator[str]:
    """What the charges of a boundary will be called."""
    begins = None if isinstance(event, SubscriptionEndedV1) else event.period
    ended = None if isinstance(event, SubscriptionStartedV1) else event.ended
    for item in event.subscription.items:
        if item.price.kind == "recurring" and begins is not None:
            yield charge_id(item.item_id, item.price.id, begins.index, "advance")
        if item.price.kind == "usage" and ended is not None:
            yield charge_id(item.item_id, item.price.id, ended.index, "usage")


async def _usage_charge_ids(event: UsageWindowClosedV1, uow: BillingUnitOfWork) -> list[str]:
    """What the charges for a window's usage will be called; none yet of an agreement that nobody has told of."""
    agreement = await uow.agreements.find_for_update(event.subscription_id)
    items = () if agreement is None else agreement.items
    return [
        charge_id(item.id, item.price.id, event.period_index, "usage") for item in items if item.is_metered
    ]


HANDLERS: HandlerGroup[BillingUnitOfWork] = HandlerGroup(
    name=group_of("billing"),
    topics=tuple(topic_of(service) for service in HEARS["billing"]),
    handle={
        TenantChangedV1: on_tenant_changed,
        TokenRevokedV1: on_token_revoked,
        TestClockMovedV1: on_test_clock_moved,
        PlanPublishedV1: on_plan_published,
        PlanOverlaidV1: on_plan_overlaid,
        CustomerChangedV1: on_customer_changed,
        SubscriptionStartedV1: on_subscription_started,
        SubscriptionRenewedV1: on_subscription_renewed,
        SubscriptionChangedV1: on_subscription_changed,
        SubscriptionEndedV1: on_subscription_ended,
        UsageWindowClosedV1: on_usage_window_closed,
        UsageCorrectedV1: on_usage_corrected,
    },
    prepare=prepare,
)
