"""The customers of a plan version are moved to another, some at a time, each with a result of its own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from libs.common.errors import DomainError
from services.subscriptions.application.keep_plan import (
    NotePlanSale,
    RetirePlan,
    note_plan_sale,
    retire_plan,
)
from services.subscriptions.application.move_plan import MovePlan, carry_on_plan_move, start_plan_move
from services.subscriptions.application.offers import AddOnDoesNotFit
from services.subscriptions.application.renew_subscription import RenewSubscription, renew_subscription
from services.subscriptions.domain.plan import PlanNotFound, PlanRetired, PlanVersionNotOnSale
from services.subscriptions.domain.plan_move import (
    DIFFERENCES_MAX,
    MoveOutcome,
    NowhereToMove,
    PlanMove,
    PlanMoveState,
)
from services.subscriptions.domain.scheduled_change import When
from services.subscriptions.domain.subscription import Subscription, SubscriptionState
from services.subscriptions.domain.subscription_item import ItemSegment
from tests.support.changes import AT_END, BASIC, BASIC_2, NOW_WHEN, PRO, SWAPS, a_basic, keep, on
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, utc


def some(uow: MemorySubscriptionsUnitOfWork, count: int) -> list[Subscription]:
    return [keep(uow, a_basic(id=f"sub_{number:026d}")) for number in range(count)]


async def moved(
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    when: When = NOW_WHEN,
    *,
    is_dry_run: bool = False,
    length: int = 2,
    to: str = BASIC_2.plan_version_id,
) -> PlanMove:
    command = MovePlan(BASIC.plan_version_id, to, when, is_dry_run=is_dry_run)
    move = await start_plan_move(command, uow=uow, clock=clock)
    while move.state is PlanMoveState.RUNNING:
        move = await carry_on_plan_move(move.id, uow=uow, clock=clock, length=length)
    return move


async def test_all_are_moved_a_few_at_a_time(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    made = some(uow, 5)
    move = await moved(uow, clock)
    assert (move.found_count, move.moved_count, move.due_at) == (5, 5, None)
    assert {one.plan_version_id for one in uow.subscriptions.by_id.values()} == {BASIC_2.plan_version_id}
    assert {item.quantity for one in uow.subscriptions.by_id.values() for item in one.items} == {Decimal(10)}
    assert uow.told == ["SubscriptionChanged"] * 5
    assert [result.id for result in uow.plan_moves.results] == [one.id for one in made]
    changes = uow.scheduled_changes.by_id
    assert {result.change_id for result in uow.plan_moves.results} == set(changes)


async def test_a_killed_worker_is_followed_by_one_that_goes_on_where_it_stood(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    some(uow, 5)
    command = MovePlan(BASIC.plan_version_id, BASIC_2.plan_version_id, NOW_WHEN)
    move = await start_plan_move(command, uow=uow, clock=clock)
    move = await carry_on_plan_move(move.id, uow=uow, clock=clock, length=2)
    assert (move.found_count, move.due_at) == (2, clock.now)
    move = await carry_on_plan_move(move.id, uow=uow, clock=clock, length=200)
    assert (move.found_count, move.moved_count, move.state) == (5, 5, PlanMoveState.DONE)
    again = await carry_on_plan_move(move.id, uow=uow, clock=clock, length=200)
    assert again == move
    assert uow.told == ["SubscriptionChanged"] * 5


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    some(uow, DIFFERENCES_MAX + 2)
    before = dict(uow.subscriptions.by_id)
    for when, counts in ((NOW_WHEN, (22, 0)), (on("2025-04-10"), (22, 0)), (AT_END, (0, 22))):
        move = await moved(uow, clock, when, is_dry_run=True, length=7)
        assert (move.moved_count, move.scheduled_count) == counts
        assert len(move.differences) == DIFFERENCES_MAX
        first = move.differences[0]
        assert [item.price_id for item in first.before] == ["prc_seats_10_USD"]
        assert [item.price_id for item in first.after] == ["prc_seats_12_USD"]
    assert uow.subscriptions.by_id == before
    assert (uow.told, uow.scheduled_changes.by_id) == ([], {})


async def test_at_the_end_of_the_period_of_each(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    [one] = some(uow, 1)
    move = await moved(uow, clock, AT_END)
    assert (move.scheduled_count, move.moved_count) == (1, 0)
    clock.now = utc("2025-06-30T04:00")
    await renew_subscription(RenewSubscription(one.id, clock.now), uow=uow)
    assert uow.subscriptions.by_id[one.id].plan_version_id == BASIC_2.plan_version_id
    again = await moved(uow, clock, AT_END)
    assert again.found_count == 0


async def test_what_waits_to_be_moved_is_not_moved_twice(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    some(uow, 1)
    await moved(uow, clock, AT_END)
    for is_dry_run in (True, False):
        again = await moved(uow, clock, AT_END, is_dry_run=is_dry_run)
        assert (again.unchanged_count, again.scheduled_count) == (1, 0)
    assert len(uow.scheduled_changes.by_id) == 1


@pytest.mark.parametrize("is_dry_run", [True, False])
async def test_those_that_cannot_be_moved_say_why_and_hold_up_nobody(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock, is_dry_run: bool
) -> None:
    own, add_on, ending, fine = some(uow, 4)
    uow.plans.overlays = {"plo_1": None}  # type: ignore[dict-item]
    uow.subscriptions.by_id[own.id] = replace(own, overlay_id="plo_1")
    swaps = replace(own.items[0], id="si_swaps", price_code="swaps", add_on="swaps")
    swaps = replace(swaps, plan_version_id=SWAPS.plan_version_id, price_id="prc_swaps_5_USD")
    uow.subscriptions.by_id[add_on.id] = replace(
        add_on, segments=(*add_on.segments, ItemSegment(swaps, add_on.starts_at, add_on.segments[0].start_on))
    )
    uow.subscriptions.by_id[ending.id] = replace(
        ending, cancels_at=utc("2025-06-01T12:00"), state=SubscriptionState.ENDING
    )
    move = await moved(uow, clock, to=PRO.plan_version_id, is_dry_run=is_dry_run)
    reasons = {result.id: result.reason_code for result in uow.plan_moves.results}
    assert reasons == {
        own.id: "own_prices_in_the_way",
        add_on.id: "add_on_does_not_fit",
        ending.id: "subscription_over",
        fine.id: None,
    }
    assert (move.refused_count, move.moved_count) == (3, 1)
    assert uow.plan_moves.results[3].outcome is MoveOutcome.MOVED


async def test_those_that_are_behind_are_brought_up_to_date_unless_it_is_a_dry_run(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    some(uow, 1)
    clock.now = utc("2025-08-10T12:00")
    seen = await moved(uow, clock, is_dry_run=True)
    assert (seen.moved_count, uow.told) == (1, [])
    await moved(uow, clock)
    assert uow.told == ["SubscriptionRenewed", "SubscriptionRenewed", "SubscriptionChanged"]


@pytest.mark.parametrize(
    ("versions", "error", "pointer"),
    [
        ((BASIC.plan_version_id, BASIC.plan_version_id), NowhereToMove, "/to_plan_version_id"),
        (("plv_x", BASIC_2.plan_version_id), PlanNotFound, "/from_plan_version_id"),
        ((BASIC.plan_version_id, "plv_x"), PlanNotFound, "/to_plan_version_id"),
        ((BASIC.plan_version_id, SWAPS.plan_version_id), AddOnDoesNotFit, "/to_plan_version_id"),
        ((BASIC.plan_version_id, BASIC_2.plan_version_id), PlanVersionNotOnSale, "/to_plan_version_id"),
        ((BASIC.plan_version_id, PRO.plan_version_id), PlanRetired, "/to_plan_version_id"),
    ],
)
async def test_what_is_refused_says_where(
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    versions: tuple[str, str],
    error: type[DomainError],
    pointer: str,
) -> None:
    some(uow, 1)
    await note_plan_sale(NotePlanSale(BASIC_2.plan_version_id, "withdrawn", 2), uow=uow)
    await retire_plan(RetirePlan(PRO.plan_id), uow=uow)
    with pytest.raises(error) as refused:
        await start_plan_move(MovePlan(*versions, NOW_WHEN), uow=uow, clock=clock)
    assert refused.value.pointer == pointer
    assert uow.plan_moves.by_id == {}
