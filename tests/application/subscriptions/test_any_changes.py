"""Whatever is asked for, in whatever order: what waits is counted right, nothing gets stuck, and time stays tiled."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.errors import DomainError
from services.subscriptions.application.alter_change import (
    AlterChange,
    WithdrawChange,
    alter_change,
    withdraw_change,
)
from services.subscriptions.application.change_subscription import ChangeSubscription, change_subscription
from services.subscriptions.application.pause_subscription import (
    PauseSubscription,
    ResumeSubscription,
    pause_subscription,
    resume_subscription,
)
from services.subscriptions.application.renew_subscription import RenewSubscription, renew_subscription
from services.subscriptions.application.wanted_changes import AddOnRequest, ChangeRequest
from services.subscriptions.domain.renewal import NotDue
from services.subscriptions.domain.scheduled_change import When
from services.subscriptions.domain.subscription import Subscription
from tests.support.changes import AT_END, NOW_WHEN, a_basic, keep, seats
from tests.support.clocks import FixedClock
from tests.support.subscriptions import NOW, MemorySubscriptionsUnitOfWork

STEPS_MAX = 200

days = st.integers(-80, 80)
whens = st.one_of(
    st.just(NOW_WHEN), st.just(AT_END), days.map(lambda day: When("on", (NOW + timedelta(days=day)).date()))
)
requests = st.one_of(
    st.integers(0, 20).map(lambda many: ChangeRequest(quantities=seats(many))),
    st.sampled_from(
        [
            ChangeRequest(plan="pro"),
            ChangeRequest(plan="basic"),
            ChangeRequest(plan="yearly"),
            ChangeRequest(plan="pro", remove=("swaps",)),
            ChangeRequest(add=(AddOnRequest("swaps"),)),
            ChangeRequest(remove=("swaps",)),
            ChangeRequest(anchoring="restart"),
            ChangeRequest(anchor_on=date(2024, 2, 29)),
            ChangeRequest(zone="Pacific/Apia"),
            ChangeRequest(zone="America/New_York"),
            ChangeRequest(currency="EUR"),
        ]
    ),
)
commands = st.one_of(
    st.tuples(st.just("change"), whens, requests),
    st.tuples(st.just("alter"), st.integers(0, 5), requests),
    st.tuples(st.just("withdraw"), st.integers(0, 5)),
    st.tuples(st.just("pause"), st.one_of(st.none(), days)),
    st.tuples(st.just("resume"), st.one_of(st.none(), days)),
    st.tuples(st.just("advance"), st.integers(0, 45 * 24)),
)


@settings(max_examples=60)
@given(asked=st.lists(commands, min_size=1, max_size=12))
def test_whatever_is_asked_for(asked: list[Any]) -> None:
    asyncio.run(_ask_all(asked))


async def _ask_all(asked: list[Any]) -> None:
    uow, clock = MemorySubscriptionsUnitOfWork(), FixedClock()
    id = keep(uow, a_basic()).id
    for command in asked:
        before = uow.subscriptions.by_id[id], dict(uow.scheduled_changes.by_id)
        told = len(uow.told)
        try:
            await _ask(command, id, uow, clock)
        except DomainError:
            assert (uow.subscriptions.by_id[id], uow.scheduled_changes.by_id) == before
            assert len(uow.told) == told
        await _run(id, uow, clock)
        await _check(uow.subscriptions.by_id[id], uow, clock)


async def _ask(
    command: tuple[Any, ...], id: str, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    at = [one.id for one in uow.scheduled_changes.by_id.values() if one.is_waiting]
    match command:
        case ("change", when, request):
            await change_subscription(ChangeSubscription(id, when, request), uow=uow, clock=clock)
        case ("alter", place, request) if at:
            given = {
                name for name in ("plan", "quantities", "zone", "remove", "add") if getattr(request, name)
            }
            await alter_change(AlterChange(id, at[place % len(at)], request, given), uow=uow, clock=clock)
        case ("withdraw", place) if at:
            await withdraw_change(WithdrawChange(id, at[place % len(at)]), uow=uow, clock=clock)
        case ("pause", day):
            on = None if day is None else (NOW + timedelta(days=day)).date()
            await pause_subscription(PauseSubscription(id, on=on), uow=uow, clock=clock)
        case ("resume", day):
            on = None if day is None else (NOW + timedelta(days=day)).date()
            await resume_subscription(ResumeSubscription(id, on=on), uow=uow, clock=clock)
        case ("advance", hours):
            clock.now += timedelta(hours=hours)


async def _run(id: str, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    """What is due gets done within a bound, whatever waits."""
    for _ in range(STEPS_MAX):
        if isinstance(await renew_subscription(RenewSubscription(id, clock.now), uow=uow), NotDue):
            return
    raise AssertionError("stuck")


async def _check(subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    waiting = await uow.scheduled_changes.waiting_of(subscription)
    dated = [change.at for change in waiting if change.at is not None]
    assert subscription.next_change_at == min(dated, default=None)
    assert subscription.boundary_changes == len(waiting) - len(dated)
    assert subscription.due_at is not None
    assert subscription.due_at > clock.now
    periods = uow.subscriptions.periods[subscription.id]
    assert [period.index for period in periods] == list(range(len(periods)))
    assert all(one.end == following.start for one, following in pairwise(periods))
    assert periods[-1] == subscription.period
    by_item: dict[str, list[Any]] = {}
    for segment in subscription.segments:
        if segment.item.kind != "one_time" and segment.start != segment.end:
            by_item.setdefault(segment.item.id, []).append(segment)
    for segments in by_item.values():
        ordered = sorted(segments, key=lambda segment: segment.start)
        assert all(one.end is not None and one.end <= after.start for one, after in pairwise(ordered))
