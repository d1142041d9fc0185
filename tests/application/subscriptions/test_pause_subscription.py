"""A subscription is paused, now, later or with effect from a date that is over, and resumed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from libs.common.contracts.subscriptions import (
    SubscriptionChangedV1,
    SubscriptionPausedV1,
    SubscriptionRenewedV1,
    SubscriptionResumedV1,
)
from libs.common.errors import DomainError
from libs.common.money import Money
from libs.common.periods import Interval
from services.subscriptions.application.change_subscription import ChangeAfterEnd, ChangeTooEarly
from services.subscriptions.application.pause_subscription import (
    FeeInOtherCurrency,
    PauseFee,
    PauseSubscription,
    ResumeSubscription,
    WithdrawPause,
    pause_subscription,
    resume_subscription,
    withdraw_pause,
)
from services.subscriptions.application.renew_subscription import RenewSubscription, renew_subscription
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.pause import AlreadyPaused, NotPaused, PauseReversed
from services.subscriptions.domain.renewal import NotDue
from services.subscriptions.domain.subscription import (
    Subscription,
    SubscriptionOver,
    SubscriptionState,
    TransitionNotAllowed,
)
from tests.support.changes import a_basic, keep
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, utc


@pytest.fixture
def subscription(uow: MemorySubscriptionsUnitOfWork) -> Subscription:
    return keep(uow, a_basic())


async def run_until(
    at: str, subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> Subscription:
    clock.now = utc(at)
    while not isinstance(
        await renew_subscription(RenewSubscription(subscription.id, clock.now), uow=uow), NotDue
    ):
        pass
    return uow.subscriptions.by_id[subscription.id]


def told_terms(event: SubscriptionChangedV1) -> dict[int, list[tuple[date, date]]]:
    return {
        terms.period.index: [(one.start_on, one.end_on) for one in terms.segments] for terms in event.terms
    }


async def test_from_now_on_nothing_is_agreed_on(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    fee = PauseFee(Money(1500, "USD"), "Winter storage")
    paused = await pause_subscription(
        PauseSubscription(subscription.id, fee=fee, settles=True), uow=uow, clock=clock
    )
    assert paused.state is SubscriptionState.PAUSED
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionPausedV1)
    assert (event.settles_at, event.resumes_at) == (clock.now, None)
    assert told_terms(event) == {4: [(date(2025, 5, 31), date(2025, 6, 1))]}
    [charged] = event.fees
    assert (charged.kind, charged.amount, charged.description) == (
        "pause",
        Decimal("15.00"),
        "Winter storage",
    )
    assert charged.service_start_on == date(2025, 6, 1)


async def test_periods_go_on_without_anything_in_them(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await pause_subscription(PauseSubscription(subscription.id), uow=uow, clock=clock)
    await run_until("2025-06-30T04:00", subscription, uow, clock)
    event = uow.outbox.events[-1]
    assert isinstance(event, SubscriptionRenewedV1)
    assert [(terms.period.index, len(terms.segments)) for terms in event.terms] == [(4, 1), (5, 0)]


async def test_it_resumes_by_itself_on_its_date(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    paused = await pause_subscription(
        PauseSubscription(subscription.id, resumes_on=date(2025, 6, 11)), uow=uow, clock=clock
    )
    assert paused.due_at == utc("2025-06-11T04:00")
    after = await run_until("2025-06-11T04:00", subscription, uow, clock)
    assert (after.state, after.pause) == (SubscriptionState.ACTIVE, None)
    event = uow.outbox.events[-1]
    assert isinstance(event, SubscriptionResumedV1)
    assert told_terms(event) == {
        4: [(date(2025, 5, 31), date(2025, 6, 1)), (date(2025, 6, 11), date(2025, 6, 30))]
    }


async def test_a_planned_pause_begins_by_itself_with_its_fee(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    planned = await pause_subscription(
        PauseSubscription(subscription.id, on=date(2025, 6, 10), fee=PauseFee(Money(100, "USD"))),
        uow=uow,
        clock=clock,
    )
    assert (planned.state, planned.due_at) == (SubscriptionState.ACTIVE, utc("2025-06-10T04:00"))
    assert uow.told == ["SubscriptionChanged"]
    assert uow.outbox.events[0].fees == ()  # type: ignore[attr-defined]
    after = await run_until("2025-06-10T04:00", subscription, uow, clock)
    assert after.state is SubscriptionState.PAUSED
    event = uow.outbox.events[-1]
    assert isinstance(event, SubscriptionPausedV1)
    assert [fee.amount for fee in event.fees] == [Decimal("1.00")]
    assert told_terms(event) == {4: [(date(2025, 5, 31), date(2025, 6, 10))]}


async def test_a_planned_pause_is_withdrawn_and_one_under_way_is_not(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await pause_subscription(PauseSubscription(subscription.id, on=date(2025, 6, 10)), uow=uow, clock=clock)
    after = await withdraw_pause(WithdrawPause(subscription.id), uow=uow, clock=clock)
    assert (after.pauses, after.due_at) == ((), utc("2025-06-30T04:00"))
    with pytest.raises(NotPaused):
        await withdraw_pause(WithdrawPause(subscription.id), uow=uow, clock=clock)
    await pause_subscription(PauseSubscription(subscription.id), uow=uow, clock=clock)
    with pytest.raises(NotPaused):
        await withdraw_pause(WithdrawPause(subscription.id), uow=uow, clock=clock)


async def test_both_ends_may_lie_in_periods_that_are_over(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await pause_subscription(
        PauseSubscription(subscription.id, on=date(2025, 4, 10), settles=True), uow=uow, clock=clock
    )
    paused = uow.outbox.events[-1]
    assert isinstance(paused, SubscriptionPausedV1)
    assert paused.settles_at == clock.now
    assert told_terms(paused) == {2: [(date(2025, 3, 31), date(2025, 4, 10))], 3: [], 4: []}
    await resume_subscription(ResumeSubscription(subscription.id, on=date(2025, 5, 5)), uow=uow, clock=clock)
    resumed = uow.outbox.events[-1]
    assert isinstance(resumed, SubscriptionResumedV1)
    assert told_terms(resumed) == {
        3: [(date(2025, 5, 5), date(2025, 5, 31))],
        4: [(date(2025, 5, 31), date(2025, 6, 30))],
    }


async def test_twice_in_one_term_which_ends_later_by_both(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    term = AgreedTerm(Interval("year", 1), date(2025, 1, 31), date(2026, 1, 31))
    subscription = keep(uow, replace(a_basic(), term=term))
    for start, end in (("2025-06-01", date(2025, 6, 11)), ("2025-07-10", date(2025, 7, 15))):
        await run_until(f"{start}T04:00", subscription, uow, clock)
        await pause_subscription(PauseSubscription(subscription.id), uow=uow, clock=clock)
        await run_until(f"{end}T04:00", subscription, uow, clock)
        await resume_subscription(ResumeSubscription(subscription.id), uow=uow, clock=clock)
    after = uow.subscriptions.by_id[subscription.id]
    assert after.term is not None
    assert after.term.ends_on == date(2026, 2, 15)
    assert [pause.status for pause in after.pauses] == ["over", "over"]
    assert after.state is SubscriptionState.ACTIVE
    assert uow.told.count("SubscriptionPaused") == uow.told.count("SubscriptionResumed") == 2


async def test_the_anchor_moves_with_the_resumption(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await pause_subscription(PauseSubscription(subscription.id), uow=uow, clock=clock)
    clock.now = utc("2025-06-15T12:00")
    after = await resume_subscription(
        ResumeSubscription(subscription.id, anchor_on=date(2025, 6, 15)), uow=uow, clock=clock
    )
    assert uow.told == ["SubscriptionPaused", "SubscriptionResumed", "SubscriptionRenewed"]
    assert after.period is not None
    assert (after.period.index, after.period.end_on) == (5, date(2025, 7, 15))


async def test_it_is_to_resume_on_another_date(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await pause_subscription(PauseSubscription(subscription.id), uow=uow, clock=clock)
    after = await resume_subscription(
        ResumeSubscription(subscription.id, on=date(2025, 6, 20)), uow=uow, clock=clock
    )
    assert (after.state, after.due_at) == (SubscriptionState.PAUSED, utc("2025-06-20T04:00"))
    assert uow.told == ["SubscriptionPaused", "SubscriptionChanged"]


async def test_it_ends_while_it_is_paused(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    subscription = keep(uow, replace(a_basic(), term_ends_at=utc("2025-06-20T04:00")))
    await pause_subscription(PauseSubscription(subscription.id), uow=uow, clock=clock)
    after = await run_until("2025-06-20T04:00", subscription, uow, clock)
    assert (after.state, after.due_at) == (SubscriptionState.ENDED, None)
    with pytest.raises(SubscriptionOver):
        await resume_subscription(ResumeSubscription(subscription.id), uow=uow, clock=clock)


@pytest.mark.parametrize(
    ("changes", "error", "pointer"),
    [
        ({"on": date(2025, 1, 30)}, ChangeTooEarly, "/on"),
        ({"on": date(2025, 9, 1)}, ChangeAfterEnd, "/on"),
        ({"resumes_on": date(2025, 6, 1)}, PauseReversed, "/resumes_on"),
        ({"on": date(2025, 6, 10), "resumes_on": date(2025, 6, 10)}, PauseReversed, "/resumes_on"),
        ({"fee": PauseFee(Money(1, "EUR"))}, FeeInOtherCurrency, "/fee/amount/currency"),
    ],
)
async def test_what_is_refused_says_where(
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    changes: dict[str, object],
    error: type[DomainError],
    pointer: str,
) -> None:
    subscription = keep(uow, replace(a_basic(), term_ends_at=utc("2025-09-01T04:00")))
    with pytest.raises(error) as refused:
        await pause_subscription(PauseSubscription(subscription.id, **changes), uow=uow, clock=clock)  # type: ignore[arg-type]
    assert refused.value.pointer == pointer
    assert uow.told == []


async def test_one_pause_at_a_time_and_only_of_what_runs(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    with pytest.raises(NotPaused):
        await resume_subscription(ResumeSubscription(subscription.id), uow=uow, clock=clock)
    await pause_subscription(PauseSubscription(subscription.id), uow=uow, clock=clock)
    for on in (None, date(2025, 6, 20)):
        with pytest.raises(AlreadyPaused):
            await pause_subscription(PauseSubscription(subscription.id, on=on), uow=uow, clock=clock)
    waiting = replace(
        a_basic("2025-08-01", index=0), id="sub_waiting", state=SubscriptionState.SCHEDULED, period=None
    )
    uow.subscriptions.add(waiting)
    with pytest.raises(TransitionNotAllowed) as refused:
        await pause_subscription(PauseSubscription(waiting.id, on=date(2025, 8, 5)), uow=uow, clock=clock)
    assert refused.value.facts["moves"] == ["change", "cancel"]
