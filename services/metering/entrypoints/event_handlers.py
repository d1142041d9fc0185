"""Event → command: what metering does with what it hears."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.subscriptions import (
    AgreementEvent,
    BillingPeriodV1,
    SubjectBoundV1,
    SubjectReleasedV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionPausedV1,
    SubscriptionRenewedV1,
    SubscriptionResumedV1,
    SubscriptionScheduledV1,
    SubscriptionStartedV1,
    TestClockMovedV1,
)
from libs.common.messaging.handlers import Handler, HandlerGroup
from libs.common.persistence.reference import on_tenant_changed, on_test_clock_moved, on_token_revoked
from libs.common.telemetry import current_traceparent
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.bind_subject import bind_subject
from services.metering.application.end_usage_window import end_usage_window
from services.metering.application.learn_subscription import (
    learn_subscription,
    metered_items,
    usage_segments,
)
from services.metering.application.open_usage_window import (
    OpenUsageWindow,
    change_usage_window,
    open_usage_window,
)
from services.metering.domain.metered_item import items_of
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.usage_window import window_id

_Bound: TypeAlias = SubjectBoundV1 | SubjectReleasedV1


def agreement_handlers(*, grace: timedelta) -> Mapping[type[Event], Handler[MeteringUnitOfWork]]:
    """What is done with the events that tell of an agreement. `grace` is how long a window waits for stragglers."""

    async def on_subscription_scheduled(event: SubscriptionScheduledV1, uow: MeteringUnitOfWork) -> None:
        """Nothing is used before it begins: only the copy is made."""
        learn_subscription(event, uow=uow)

    async def on_subscription_started(event: SubscriptionStartedV1, uow: MeteringUnitOfWork) -> None:
        """The first period's window opens."""
        learn_subscription(event, uow=uow)
        await _learn_terms(event, uow, grace=grace, but=(event.period,))
        await open_usage_window(_window(event, event.period), grace=grace, uow=uow)

    async def on_subscription_renewed(event: SubscriptionRenewedV1, uow: MeteringUnitOfWork) -> None:
        """The new period's window opens, the old one's becomes due."""
        learn_subscription(event, uow=uow)
        await _learn_terms(event, uow, grace=grace, but=(event.ended, event.period))
        await end_usage_window(_window(event, event.ended), grace=grace, uow=uow)
        await open_usage_window(_window(event, event.period), grace=grace, uow=uow)

    async def on_subscription_changed(event: SubscriptionChangedV1, uow: MeteringUnitOfWork) -> None:
        """Changed, paused or resumed: the terms say what was and is measured."""
        learn_subscription(event, uow=uow)
        await _learn_terms(event, uow, grace=grace)

    async def on_subscription_ended(event: SubscriptionEndedV1, uow: MeteringUnitOfWork) -> None:
        """The last period's window becomes due; it may have been cut. Nothing was used of what never began."""
        learn_subscription(event, uow=uow)
        ended = () if event.ended is None else (event.ended,)
        await _learn_terms(event, uow, grace=grace, but=ended)
        for period in ended:
            await end_usage_window(_window(event, period), grace=grace, uow=uow)

    return {
        SubscriptionScheduledV1: on_subscription_scheduled,
        SubscriptionStartedV1: on_subscription_started,
        SubscriptionRenewedV1: on_subscription_renewed,
        SubscriptionChangedV1: on_subscription_changed,
        SubscriptionPausedV1: on_subscription_changed,
        SubscriptionResumedV1: on_subscription_changed,
        SubscriptionEndedV1: on_subscription_ended,
    }


def handlers(*, grace: timedelta) -> HandlerGroup[MeteringUnitOfWork]:
    """All that metering hears."""
    return HandlerGroup(
        name=group_of("metering"),
        topics=tuple(topic_of(service) for service in HEARS["metering"]),
        handle={
            **agreement_handlers(grace=grace),
            SubjectBoundV1: on_subject_bound,
            SubjectReleasedV1: on_subject_bound,
            TenantChangedV1: on_tenant_changed,
            TokenRevokedV1: on_token_revoked,
            TestClockMovedV1: on_test_clock_moved,
        },
        prepare=prepare,
    )


async def on_subject_bound(event: _Bound, uow: MeteringUnitOfWork) -> None:
    """Bound or released: the newest version of the binding says all."""
    told = event.binding
    binding = SubjectBinding(
        id=told.binding_id,
        version=event.version,
        subject=told.subject,
        meter=told.meter,
        subscription_id=told.subscription_id,
        item_id=told.item_id,
        bound_from=told.bound_from,
        bound_until=told.bound_until,
        asset_id=told.asset_id,
    )
    await bind_subject(binding, uow=uow)


async def prepare(events: Sequence[Event], uow: MeteringUnitOfWork) -> None:
    """All windows that a batch will touch, locked in one statement, and then all its bindings.

    Windows first: whoever waits for a window's row must not hold the lock that its closing waits for.
    """
    await uow.windows.load_for_update(
        window_id(event.tenant, event.subscription.subscription_id, period.index)
        for event in events
        if isinstance(event, AgreementEvent)
        for period in periods_of(event)
    )
    bound = [event for event in events if isinstance(event, _Bound)]
    if bound:
        await uow.usage.share()
        await uow.bindings.load_for_update(event.binding.binding_id for event in bound)


def periods_of(event: AgreementEvent) -> Iterator[BillingPeriodV1]:
    """Every period that the event tells of; one may come twice."""
    for period in (getattr(event, "ended", None), getattr(event, "period", None)):
        if period is not None:
            yield period
    for terms in event.terms:
        yield terms.period


async def _learn_terms(
    event: AgreementEvent,
    uow: MeteringUnitOfWork,
    *,
    grace: timedelta,
    but: Collection[BillingPeriodV1] = (),
) -> None:
    """The terms of all periods that do not begin or end with this event. One that is over is due."""
    others = {period.index for period in but}
    for terms in event.terms:
        if terms.period.index in others:
            continue
        command = _window(event, terms.period)
        if terms.is_over:
            await end_usage_window(command, grace=grace, uow=uow)
        else:
            await change_usage_window(command, grace=grace, uow=uow)


def _window(event: AgreementEvent, period: BillingPeriodV1) -> OpenUsageWindow:
    """The period as it is measured: what was billed elsewhere is left out."""
    billed_until = event.subscription.billed_until
    start, end = period.start, max(period.start, period.end)
    if billed_until is not None:
        start = min(max(start, billed_until), end)
    terms = next((terms for terms in event.terms if terms.period.index == period.index), None)
    agreed = metered_items(event.subscription)
    items = agreed if terms is None else items_of(usage_segments(terms), start=start, end=end)
    return OpenUsageWindow(
        subscription_id=event.subscription.subscription_id,
        customer_id=event.subscription.customer.customer_id,
        period_index=period.index,
        version=event.version,
        start=start,
        end=end,
        items=items,
        is_metered=bool(agreed or items),
        has_terms=terms is not None,
        clock_id=event.test_clock,
        traceparent=current_traceparent(),
        now=event.occurred_at,
        **_whole(period, start, end),
    )


def _whole(period: BillingPeriodV1, start: datetime, end: datetime) -> dict[str, datetime]:
    """The period as counted from the anchor, where only a part of it is measured."""
    whole_start, whole_end = period.full_start or period.start, period.full_end or period.end
    if (whole_start, whole_end) == (start, end):
        return {}
    return {"whole_start": whole_start, "whole_end": whole_end}
