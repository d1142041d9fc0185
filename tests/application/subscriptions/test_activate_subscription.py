"""What waits for its delivery or acceptance begins with it; what was agreed on for its beginning counts from then."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.subscriptions import SubscriptionScheduledV1, SubscriptionStartedV1
from libs.common.errors import DomainError
from libs.common.periods import Interval
from services.subscriptions.application.activate_subscription import (
    ActivateSubscription,
    ActivationTooEarly,
    AwaitsSomethingElse,
    activate_subscription,
)
from services.subscriptions.application.change_subscription import ChangeSubscription, change_subscription
from services.subscriptions.application.start_subscription import StartSubscription, start_subscription
from services.subscriptions.application.wanted_changes import ChangeRequest
from services.subscriptions.domain.subscription import (
    Subscription,
    SubscriptionState,
    TermReversed,
    TransitionNotAllowed,
)
from tests.support.changes import BASIC, NOW_WHEN, seats
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_customer, utc


async def ordered(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock, **terms: Any) -> Subscription:
    uow.plans.by_id.setdefault(BASIC.plan_version_id, BASIC)
    given = {"billing_starts": "delivery", "quantities": seats(10), **terms}
    return await start_subscription(
        StartSubscription(a_customer().id, plan_code="basic", **given), uow=uow, clock=clock
    )


async def test_it_begins_on_the_day_of_the_delivery(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    waiting = await ordered(uow, clock)
    assert (waiting.state, waiting.due_at) == (SubscriptionState.AWAITING_ACTIVATION, None)
    clock.now = utc("2025-06-20T12:00")
    begun = await activate_subscription(
        ActivateSubscription(waiting.id, date(2025, 6, 18), "delivery"), uow=uow, clock=clock
    )
    assert begun.state is SubscriptionState.ACTIVE
    assert begun.period is not None
    assert (begun.period.start_on, begun.period.end_on) == (date(2025, 6, 18), date(2025, 7, 18))
    assert [segment.start for segment in begun.segments] == [utc("2025-06-18T04:00")]
    assert uow.told == ["SubscriptionScheduled", "SubscriptionStarted"]
    assert [event.version for event in uow.outbox.events] == [1, 3]


async def test_it_begins_on_the_first_of_the_month_after_it(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    waiting = await ordered(uow, clock, billing_starts="month_after_acceptance")
    clock.now = utc("2025-06-20T12:00")
    scheduled = await activate_subscription(
        ActivateSubscription(waiting.id, date(2025, 6, 18), "acceptance"), uow=uow, clock=clock
    )
    assert (scheduled.state, scheduled.due_at) == (SubscriptionState.SCHEDULED, utc("2025-07-01T04:00"))
    event = uow.outbox.events[-1]
    assert isinstance(event, SubscriptionScheduledV1)
    assert event.subscription.starts_at == utc("2025-07-01T04:00")


async def test_trial_anchor_and_what_was_changed_meanwhile_hold(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    waiting = await ordered(
        uow, clock, trial=Interval("day", 14), anchoring="calendar", trial_reminder_days=(3,)
    )
    await change_subscription(
        ChangeSubscription(waiting.id, NOW_WHEN, ChangeRequest(quantities=seats(12))), uow=uow, clock=clock
    )
    clock.now = utc("2025-07-10T12:00")
    begun = await activate_subscription(
        ActivateSubscription(waiting.id, date(2025, 7, 10), "delivery"), uow=uow, clock=clock
    )
    assert begun.state is SubscriptionState.TRIALING
    assert begun.trial_ends_at == utc("2025-07-24T04:00")
    assert begun.calendar.anchor_on == date(2025, 7, 1)
    assert [(one.item.quantity, one.start_on) for one in begun.segments] == [(Decimal(12), date(2025, 7, 24))]
    assert [reminder.at for reminder in begun.reminders] == [utc("2025-07-21T04:00")]
    event = uow.outbox.events[-1]
    assert isinstance(event, SubscriptionStartedV1)
    assert event.period.kind == "trial"


@pytest.mark.parametrize(
    ("on", "reason", "error", "pointer"),
    [
        (date(2025, 6, 1), "acceptance", AwaitsSomethingElse, "/reason"),
        (date(2025, 5, 31), "delivery", ActivationTooEarly, "/on"),
        (date(2025, 12, 1), "delivery", TermReversed, "/on"),
    ],
)
async def test_what_is_refused_says_where(
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    on: date,
    reason: Any,
    error: type[DomainError],
    pointer: str,
) -> None:
    waiting = await ordered(uow, clock, ends_on=date(2025, 12, 1))
    with pytest.raises(error) as refused:
        await activate_subscription(ActivateSubscription(waiting.id, on, reason), uow=uow, clock=clock)
    assert refused.value.pointer == pointer
    assert uow.subscriptions.by_id[waiting.id] == waiting


async def test_it_is_activated_once_and_nothing_else_is(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    waiting = await ordered(uow, clock)
    command = ActivateSubscription(waiting.id, date(2025, 6, 1), "delivery")
    await activate_subscription(command, uow=uow, clock=clock)
    with pytest.raises(TransitionNotAllowed) as refused:
        await activate_subscription(command, uow=uow, clock=clock)
    assert refused.value.facts["moves"] == ["change", "pause", "cancel"]
