"""Renewals, ends, and the bindings that end with a subscription."""

from __future__ import annotations

import pytest

from libs.common.contracts.subscriptions import (
    SubjectReleasedV1,
    SubscriptionEndedV1,
    SubscriptionRenewedV1,
    SubscriptionStartedV1,
)
from services.subscriptions.application.renew_subscription import (
    RenewSubscription,
    load_for_renewal,
    renew_subscription,
)
from services.subscriptions.domain.renewal import Ended, NotDue, Renewed, Started
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound
from tests.support.subscriptions import (
    MemorySubscriptionsUnitOfWork,
    a_binding,
    a_scheduled,
    a_subscription,
    utc,
)

START, BOUNDARY, NEXT = utc("2025-01-31T05:00"), utc("2025-02-28T05:00"), utc("2025-03-31T04:00")


def due(subscription: Subscription, now: object = BOUNDARY) -> RenewSubscription:
    return RenewSubscription(subscription.id, now)  # type: ignore[arg-type]


async def test_it_renews_and_tells_everything(uow: MemorySubscriptionsUnitOfWork) -> None:
    subscription = a_subscription(test_clock_id="clk_1", version=3)
    uow.subscriptions.add(subscription)
    outcome = await renew_subscription(due(subscription), uow=uow)
    assert isinstance(outcome, Renewed)
    assert uow.subscriptions.by_id[subscription.id] == outcome.subscription
    assert uow.subscriptions.periods[subscription.id] == [outcome.period]
    [appended] = uow.outbox.appended
    event = appended.event
    assert isinstance(event, SubscriptionRenewedV1)
    assert (event.version, event.test_clock, event.occurred_at) == (4, "clk_1", BOUNDARY)
    assert (event.ended.index, event.period.index) == (0, 1)
    assert event.ended.end == event.period.start == BOUNDARY
    assert [line.action for line in uow.recorded] == ["subscription.renewed"]


async def test_renewing_twice_renews_once(uow: MemorySubscriptionsUnitOfWork) -> None:
    subscription = a_subscription()
    uow.subscriptions.add(subscription)
    await renew_subscription(due(subscription), uow=uow)
    assert await renew_subscription(due(subscription), uow=uow) == NotDue(NEXT)
    assert uow.told == ["SubscriptionRenewed"]


async def test_a_scheduled_one_begins(uow: MemorySubscriptionsUnitOfWork) -> None:
    scheduled = a_scheduled()
    uow.subscriptions.add(scheduled)
    assert await renew_subscription(due(scheduled, utc("2025-01-31")), uow=uow) == NotDue(START)
    outcome = await renew_subscription(due(scheduled, START), uow=uow)
    assert isinstance(outcome, Started)
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionStartedV1)
    assert event.version == 2


async def test_the_end_releases_what_is_still_bound(uow: MemorySubscriptionsUnitOfWork) -> None:
    subscription = a_subscription(term_ends_at=BOUNDARY)
    uow.subscriptions.add(subscription)
    bindings = {
        "open": a_binding(subject="open"),
        "beyond": a_binding(subject="beyond", bound_until=NEXT),
        "edge": a_binding(subject="edge", bound_until=BOUNDARY),
        "over": a_binding(subject="over", bound_until=START),
        "later": a_binding(subject="later", bound_from=NEXT),
        "another": a_binding(subject="another", subscription_id="sub_other"),
    }
    for binding in bindings.values():
        uow.bindings.add(binding)
    await load_for_renewal([due(subscription)], uow=uow)
    outcome = await renew_subscription(due(subscription), uow=uow)
    assert isinstance(outcome, Ended)
    left = {binding.subject: binding.bound_until for binding in uow.bindings.by_id.values()}
    assert left == {
        "open": BOUNDARY,
        "beyond": BOUNDARY,
        "edge": BOUNDARY,
        "over": START,
        "later": NEXT,  # begins then, and is empty
        "another": None,
    }
    released = [event for event in uow.outbox.events if isinstance(event, SubjectReleasedV1)]
    assert {event.binding.subject for event in released} == {"open", "beyond", "later"}
    assert all(event.version == 2 and event.occurred_at == BOUNDARY for event in released)
    [ended] = [event for event in uow.outbox.events if isinstance(event, SubscriptionEndedV1)]
    assert ended.ended is not None
    assert (ended.ended_at, ended.reason, ended.ended.end) == (BOUNDARY, "term_end", BOUNDARY)


async def test_what_is_not_there_cannot_be_renewed(uow: MemorySubscriptionsUnitOfWork) -> None:
    with pytest.raises(SubscriptionNotFound):
        await renew_subscription(due(a_subscription()), uow=uow)
