"""Event → command: what metering does with what it hears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeAlias

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    SubjectBoundV1,
    SubjectReleasedV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionRenewedV1,
    SubscriptionStartedV1,
    TestClockMovedV1,
)
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.reference import on_tenant_changed, on_test_clock_moved, on_token_revoked
from libs.common.telemetry import current_traceparent
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.bind_subject import bind_subject
from services.metering.application.end_usage_window import end_usage_window
from services.metering.application.learn_subscription import learn_subscription, metered_items
from services.metering.application.open_usage_window import OpenUsageWindow, open_usage_window
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.usage_window import window_id

_Told: TypeAlias = SubscriptionStartedV1 | SubscriptionRenewedV1 | SubscriptionEndedV1
_Learned: TypeAlias = _Told | SubscriptionChangedV1
_Bound: TypeAlias = SubjectBoundV1 | SubjectReleasedV1


def handlers(*, grace: timedelta) -> HandlerGroup[MeteringUnitOfWork]:
    """`grace` is how long after its period a window waits for stragglers."""

    async def on_subscription_renewed(event: SubscriptionRenewedV1, uow: MeteringUnitOfWork) -> None:
        """The new period's window opens, the old one's becomes due."""
        _learn(event, uow)
        await end_usage_window(_window(event, event.ended), grace=grace, uow=uow)
        await open_usage_window(_window(event, event.period), uow=uow)

    async def on_subscription_ended(event: SubscriptionEndedV1, uow: MeteringUnitOfWork) -> None:
        """The last period's window becomes due; it may have been cut. Nothing was used of what never began."""
        _learn(event, uow)
        if event.ended is not None:
            await end_usage_window(_window(event, event.ended), grace=grace, uow=uow)

    return HandlerGroup(
        name=group_of("metering"),
        topics=tuple(topic_of(service) for service in HEARS["metering"]),
        handle={
            SubscriptionStartedV1: on_subscription_started,
            SubscriptionRenewedV1: on_subscription_renewed,
            SubscriptionEndedV1: on_subscription_ended,
            SubscriptionChangedV1: on_subscription_changed,
            SubjectBoundV1: on_subject_bound,
            SubjectReleasedV1: on_subject_bound,
            TenantChangedV1: on_tenant_changed,
            TokenRevokedV1: on_token_revoked,
            TestClockMovedV1: on_test_clock_moved,
        },
        prepare=prepare,
    )


async def on_subscription_started(event: SubscriptionStartedV1, uow: MeteringUnitOfWork) -> None:
    """The first period's window opens."""
    _learn(event, uow)
    await open_usage_window(_window(event, event.period), uow=uow)


async def on_subscription_changed(event: SubscriptionChangedV1, uow: MeteringUnitOfWork) -> None:
    """No period moved: only the copy is renewed."""
    _learn(event, uow)


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
    )
    await bind_subject(binding, uow=uow)


async def prepare(events: Sequence[Event], uow: MeteringUnitOfWork) -> None:
    """All windows that a batch will touch, locked in one statement, and then all its bindings.

    Windows first: whoever waits for a window's row must not hold the lock that its closing waits for.
    """
    await uow.windows.load_for_update(
        id for event in events if isinstance(event, _Told) for id in _windows_of(event)
    )
    bound = [event for event in events if isinstance(event, _Bound)]
    if bound:
        await uow.usage.share()
        await uow.bindings.load_for_update(event.binding.binding_id for event in bound)


def _windows_of(event: _Told) -> Iterator[str]:
    periods = [getattr(event, "ended", None), getattr(event, "period", None)]
    for period in periods:
        if period is not None:
            yield window_id(event.tenant, event.subscription.subscription_id, period.index)


def _learn(event: _Learned, uow: MeteringUnitOfWork) -> None:
    learn_subscription(event.subscription, version=event.version, clock_id=event.test_clock, uow=uow)


def _window(event: _Told, period: BillingPeriodV1) -> OpenUsageWindow:
    return OpenUsageWindow(
        subscription_id=event.subscription.subscription_id,
        customer_id=event.subscription.customer.customer_id,
        period_index=period.index,
        version=event.version,
        start=period.start,
        end=period.end,
        items=metered_items(event.subscription),
        clock_id=event.test_clock,
        traceparent=current_traceparent(),
        now=event.occurred_at,
    )
