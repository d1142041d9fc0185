"""Move the customers of one plan version to another, some in each transaction; or say what that would do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.ids import derived_id, new_id
from libs.common.periods import MICROSECOND
from services.subscriptions.application.billable import refuse_unbillable
from services.subscriptions.application.catch_up import caught_up
from services.subscriptions.application.change_subscription import (
    decided_at_once,
    keep_waiting,
    make_at_once,
    placed,
    refuse_impossible,
)
from services.subscriptions.application.offers import AddOnDoesNotFit
from services.subscriptions.application.pointing import pointing_at
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.renew_subscription import RenewSubscription, load_for_renewal
from services.subscriptions.application.scheduled_changes import tried
from services.subscriptions.domain.plan import PlanRetired, PlanVersionNotOnSale
from services.subscriptions.domain.plan_move import (
    Difference,
    MoveOutcome,
    MoveResult,
    NowhereToMove,
    OwnPricesInTheWay,
    PlanMove,
    PlanMoveState,
    priced_items,
)
from services.subscriptions.domain.scheduled_change import (
    ChangeStatus,
    ScheduledChange,
    WantedChange,
    When,
)
from services.subscriptions.domain.subscription import WAITING, Subscription
from services.subscriptions.domain.subscription_item import Proration

BATCH_LENGTH = 200


@dataclass(frozen=True, slots=True)
class MovePlan:
    from_plan_version_id: str
    to_plan_version_id: str
    when: When
    proration: Proration | None = None
    is_dry_run: bool = False
    is_indexation: bool = False


async def start_plan_move(command: MovePlan, *, uow: UnitOfWork, clock: Clock) -> PlanMove:
    """A worker goes through the subscriptions from here on.

    Raises: PlanNotFound, NowhereToMove, AddOnDoesNotFit, PlanRetired, PlanVersionNotOnSale, PlanNotBillableYet.
    """
    if command.from_plan_version_id == command.to_plan_version_id:
        raise NowhereToMove("both are the same version", pointer="/to_plan_version_id")
    with pointing_at("/from_plan_version_id"):
        await uow.plans.get(command.from_plan_version_id)
    with pointing_at("/to_plan_version_id"):
        plan = await uow.plans.get(command.to_plan_version_id)
        if plan.kind == "add_on":
            raise AddOnDoesNotFit("an add-on is not subscribed to by itself", add_on=plan.code)
        # Whether it is within its bounds is seen by each subscription's own clock.
        standing = await uow.plans.standing_of(plan)
        if standing.retired:
            raise PlanRetired("the plan takes no new subscriptions", plan=plan.code)
        if standing.state != "published":
            raise PlanVersionNotOnSale(
                f"the version is {standing.state}: it takes no new subscriptions",
                plan=plan.code,
                number=plan.plan_version,
                status=standing.state,
            )
    await refuse_unbillable(plan, pointer="/to_plan_version_id", uow=uow)
    system_now = clock.system_now()
    move = PlanMove(
        id=new_id("plm", system_now),
        from_plan_version_id=command.from_plan_version_id,
        to_plan_version_id=command.to_plan_version_id,
        when=command.when,
        proration=command.proration,
        is_dry_run=command.is_dry_run,
        is_indexation=command.is_indexation,
        created_at=system_now,
        due_at=system_now,
    )
    uow.plan_moves.add(move)
    uow.record("plan_move.started", move.id, move.version)
    return move


async def carry_on_plan_move(
    move_id: str, *, uow: UnitOfWork, clock: Clock, length: int = BATCH_LENGTH
) -> PlanMove:
    """The next so many subscriptions, in the order of their ids, each with a result of its own.

    Whatever was committed is never looked at again; a repeat finds the move where it stands.
    Emits: for each that is moved at once, what its change emits.
    Raises: PlanMoveNotFound.
    """
    move = await uow.plan_moves.get_for_update(move_id)
    if move.state is PlanMoveState.DONE:
        return move
    ids = await uow.subscriptions.find_on_version(
        move.from_plan_version_id, after_id=move.reached_id, length=length
    )
    nows = await _lock(ids, uow=uow, clock=clock)
    results, differences = [], []
    for id in ids:
        result, difference = await _move_one(move, id, nows[id], uow=uow, system_now=clock.system_now())
        results.append(result)
        if difference is not None:
            differences.append(difference)
    after = move.reached(results, differences, more=len(ids) == length, now=clock.system_now())
    uow.plan_moves.add_results(results)
    uow.plan_moves.save(after)
    if after.state is PlanMoveState.DONE:
        uow.record("plan_move.done", after.id, after.version)
    return after


async def _lock(ids: list[str], *, uow: UnitOfWork, clock: Clock) -> dict[str, datetime]:
    """Lock and read all of them with what their changes need; the business now of each."""
    await uow.subscriptions.load_for_update(ids)
    subscriptions = [await uow.subscriptions.get_for_update(id) for id in ids]
    clock_ids = {one.test_clock_id for one in subscriptions if one.test_clock_id is not None}
    clocks = await uow.test_clocks.load_shared(clock_ids) if clock_ids else {}
    nows = {
        one.id: clock.business_now(clocks[one.test_clock_id].shown if one.test_clock_id else None)
        for one in subscriptions
    }
    await load_for_renewal([RenewSubscription(id, now) for id, now in nows.items()], uow=uow)
    return nows


async def _move_one(
    move: PlanMove, id: str, now: datetime, *, uow: UnitOfWork, system_now: datetime
) -> tuple[MoveResult, Difference | None]:
    change_id = derived_id("sch", move.id, id)
    result = MoveResult(move.id, id, MoveOutcome.REFUSED, system_now)
    try:
        subscription = await uow.subscriptions.get_for_update(id)
        if not move.is_dry_run:
            subscription = await caught_up(id, now, uow=uow)
        subscription.refuse_when_over(now, to="move")
        if subscription.plan_version_id != move.from_plan_version_id or await _will_have(
            move.to_plan_version_id, subscription, uow=uow
        ):
            return replace(result, outcome=MoveOutcome.UNCHANGED), None
        if subscription.overlay_id is not None:
            raise OwnPricesInTheWay(
                "its prices were agreed on with this customer", overlay=subscription.overlay_id
            )
        change = _change(
            move, change_id, subscription, now if not move.is_dry_run else _within(subscription, now)
        )
        if move.is_dry_run:
            outcome, after = await _foreseen(change, subscription, now, uow=uow)
            difference = None
            if outcome is not MoveOutcome.UNCHANGED:
                difference = Difference(id, priced_items(subscription), priced_items(after))
            return replace(result, outcome=outcome), difference
        outcome = await _made(change, subscription, now, uow=uow)
    except DomainError as error:
        return replace(result, reason_code=error.code, reason=error.message), None
    return replace(result, outcome=outcome, change_id=change_id), None


def _change(move: PlanMove, id: str, subscription: Subscription, now: datetime) -> ScheduledChange:
    """Raises: ChangeTooEarly, ChangeAfterEnd."""
    at, _ = placed(move.when, subscription, now)
    wanted = WantedChange(
        plan_version_id=move.to_plan_version_id, proration=move.proration, is_indexation=move.is_indexation
    )
    return ScheduledChange(
        id=id, subscription_id=subscription.id, when=move.when, at=at, wanted=wanted, created_at=now
    )


async def _made(
    change: ScheduledChange, subscription: Subscription, now: datetime, *, uow: UnitOfWork
) -> MoveOutcome:
    _, waits = placed(change.when, subscription, now)
    if waits:
        await keep_waiting(change, subscription, now, uow=uow)
        return MoveOutcome.SCHEDULED
    made = await make_at_once(change, subscription, now, uow=uow)
    return MoveOutcome.UNCHANGED if made.change.status is ChangeStatus.UNCHANGED else MoveOutcome.MOVED


async def _foreseen(
    change: ScheduledChange, subscription: Subscription, now: datetime, *, uow: UnitOfWork
) -> tuple[MoveOutcome, Subscription]:
    """What the change would make of the subscription as it stands; nothing is saved."""
    seen = _within(subscription, now)
    _, waits = placed(change.when, subscription, seen)
    if waits:
        await refuse_impossible(change, subscription, seen, uow=uow)
        _, after = await tried(change, subscription, seen, uow=uow)
        return MoveOutcome.SCHEDULED, after
    outcome = await decided_at_once(change, subscription, seen, uow=uow)
    if outcome is None:
        return MoveOutcome.UNCHANGED, subscription
    return MoveOutcome.MOVED, outcome.subscription


def _within(subscription: Subscription, now: datetime) -> datetime:
    """One that is behind is looked at as it stands, at the end of the period that it is in."""
    period = subscription.period
    if period is None or subscription.state in WAITING:
        return now
    return max(period.start, min(now, period.end - MICROSECOND))


async def _will_have(plan_version_id: str, subscription: Subscription, *, uow: UnitOfWork) -> bool:
    waiting = await uow.scheduled_changes.waiting_of(subscription)
    return any(change.wanted.plan_version_id == plan_version_id for change in waiting)
