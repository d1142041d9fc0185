"""A subscription is given an end, and it is taken back."""

from __future__ import annotations

import pytest

from libs.common.contracts.subscriptions import (
    SubscriptionChangedV1,
    SubscriptionEndedV1,
)
from libs.common.errors import PreconditionFailed
from services.subscriptions.application.cancel_subscription import (
    CancelSubscription,
    WithdrawCancellation,
    cancel_subscription,
    withdraw_cancellation,
)
from services.subscriptions.domain.subscription import SubscriptionOver, SubscriptionState
from tests.support.clocks import FixedClock
from tests.support.subscriptions import (
    MemorySubscriptionsUnitOfWork,
    a_binding,
    a_calendar,
    a_scheduled,
    a_subscription,
    a_test_clock,
    utc,
)
from tests.support.versions import OnlyVersion

JUNE = a_calendar("2025-05-15")
ID = a_subscription().id


async def test_it_ends_with_its_period(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.subscriptions.add(a_subscription(JUNE))
    canceled = await cancel_subscription(CancelSubscription(ID, at_period_end=True), uow=uow, clock=clock)
    assert canceled.ends_at == utc("2025-06-15T04:00")
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    assert (event.subscription.ends_at, event.occurred_at) == (canceled.ends_at, clock.now)


async def test_it_ends_at_once_by_its_own_clock(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    at = utc("2025-02-10")
    uow.test_clocks.add(a_test_clock(now=at))
    uow.subscriptions.add(a_subscription(test_clock_id=a_test_clock().id))
    canceled = await cancel_subscription(CancelSubscription(ID), uow=uow, clock=clock)
    assert canceled.ends_at == canceled.due_at == at
    [event] = uow.outbox.events
    assert (event.test_clock, event.occurred_at) == (a_test_clock().id, at)


async def test_the_same_end_again_is_told_once(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.subscriptions.add(a_subscription(JUNE))
    for _ in range(2):
        canceled = await cancel_subscription(
            CancelSubscription(ID, at=utc("2025-06-10")), uow=uow, clock=clock
        )
    assert canceled.version == 2
    assert uow.told == ["SubscriptionChanged"]


async def test_one_that_never_begins_is_over_and_frees_its_subjects(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(a_scheduled(a_calendar("2025-06-15")))
    binding = a_binding(bound_from=utc("2025-05-01"))
    uow.bindings.add(binding)
    canceled = await cancel_subscription(CancelSubscription(ID), uow=uow, clock=clock)
    assert (canceled.state, canceled.ended_at) == (SubscriptionState.CANCELED, clock.now)
    assert uow.bindings.by_id[binding.id].bound_until == utc("2025-05-01")
    [ended] = [event for event in uow.outbox.events if isinstance(event, SubscriptionEndedV1)]
    assert (ended.ended, ended.reason) == (None, "canceled")


async def test_a_cancellation_is_withdrawn(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.subscriptions.add(a_subscription(JUNE, cancels_at=utc("2025-06-10")))
    running = await withdraw_cancellation(WithdrawCancellation(ID), uow=uow, clock=clock)
    assert running.ends_at is None
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    assert event.subscription.ends_at is None


async def test_an_end_that_has_come_stands(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.subscriptions.add(a_subscription(JUNE, cancels_at=clock.now))
    with pytest.raises(SubscriptionOver):
        await withdraw_cancellation(WithdrawCancellation(ID), uow=uow, clock=clock)


async def test_another_version_is_refused(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.subscriptions.add(a_subscription(JUNE))
    with pytest.raises(PreconditionFailed):
        await cancel_subscription(CancelSubscription(ID), uow=uow, clock=clock, check_version=OnlyVersion(2))
