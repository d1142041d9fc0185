"""An agreement that has been running elsewhere is taken over: it keeps its beginning, and says what was billed there."""

from __future__ import annotations

from datetime import date

import pytest

from libs.common.contracts.subscriptions import AgreementEvent, SubscriptionChangedV1
from services.subscriptions.application.change_subscription import (
    ChangeSubscription,
    ChangeTooEarly,
    change_subscription,
)
from services.subscriptions.application.pause_subscription import PauseSubscription, pause_subscription
from services.subscriptions.application.renew_subscription import RenewSubscription, renew_subscription
from services.subscriptions.application.start_subscription import StartSubscription, start_subscription
from services.subscriptions.application.wanted_changes import ChangeRequest
from services.subscriptions.domain.renewal import NotDue
from services.subscriptions.domain.subscription import Subscription
from tests.support.changes import BASIC, NOW_WHEN, on, seats
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_customer, utc


async def taken_over(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> Subscription:
    """Ten seats since 31 January, billed elsewhere until 10 May, and brought up to date."""
    uow.plans.by_id[BASIC.plan_version_id] = BASIC
    command = StartSubscription(
        a_customer().id,
        plan_code="basic",
        quantities=seats(10),
        starts_on=date(2025, 1, 31),
        billed_until=date(2025, 5, 10),
    )
    started = await start_subscription(command, uow=uow, clock=clock)
    while not isinstance(await renew_subscription(RenewSubscription(started.id, clock.now), uow=uow), NotDue):
        pass
    return uow.subscriptions.by_id[started.id]


async def test_its_periods_are_counted_as_they_always_were(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    subscription = await taken_over(uow, clock)
    periods = uow.subscriptions.periods[subscription.id]
    assert [(period.index, period.start_on) for period in periods] == [
        (0, date(2025, 1, 31)),
        (1, date(2025, 2, 28)),
        (2, date(2025, 3, 31)),
        (3, date(2025, 4, 30)),
        (4, date(2025, 5, 31)),
    ]


async def test_every_event_says_what_was_billed_elsewhere(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await taken_over(uow, clock)
    assert uow.told == ["SubscriptionStarted"] + ["SubscriptionRenewed"] * 4
    for event in uow.outbox.events:
        assert isinstance(event, AgreementEvent)
        assert event.subscription.billed_until == utc("2025-05-10T04:00")


async def test_what_was_billed_elsewhere_is_not_changed_here(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    subscription = await taken_over(uow, clock)

    def changing(day: str) -> ChangeSubscription:
        return ChangeSubscription(subscription.id, on(day), ChangeRequest(quantities=seats(11)))

    with pytest.raises(ChangeTooEarly) as refused:
        await change_subscription(changing("2025-05-09"), uow=uow, clock=clock)
    assert refused.value.facts["earliest"] == utc("2025-05-10T04:00")
    with pytest.raises(ChangeTooEarly):
        await pause_subscription(
            PauseSubscription(subscription.id, on=date(2025, 5, 9)), uow=uow, clock=clock
        )
    await change_subscription(changing("2025-05-10"), uow=uow, clock=clock)
    event = uow.outbox.events[-1]
    assert isinstance(event, SubscriptionChangedV1)
    assert [terms.period.index for terms in event.terms] == [3, 4]


async def test_it_is_changed_like_any_other_from_then_on(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    subscription = await taken_over(uow, clock)
    made = await change_subscription(
        ChangeSubscription(subscription.id, NOW_WHEN, ChangeRequest(quantities=seats(11))),
        uow=uow,
        clock=clock,
    )
    assert made.subscription.billed_until == utc("2025-05-10T04:00")
