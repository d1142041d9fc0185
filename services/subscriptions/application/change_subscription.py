"""Change an agreement: now, with effect from a date that is over, or later, as a change that waits for its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from libs.common.ids import new_id
from libs.common.periods import start_of_day
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.catch_up import caught_up
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.application.renew_subscription import past_periods
from services.subscriptions.application.scheduled_changes import projected_before, tried
from services.subscriptions.application.wanted_changes import ChangeRequest, pin, plan_pointer_of, resolve
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.change import Change, ChangeNotAtBoundary, moment_of
from services.subscriptions.domain.renewal import Changed, DueChange, DueFacts, Renewed, change_now
from services.subscriptions.domain.scheduled_change import (
    CHANGES_WAITING_MAX,
    ChangeStatus,
    ScheduledChange,
    TooManyChanges,
    When,
    counted,
)
from services.subscriptions.domain.subscription import WAITING, Subscription

PERIODS_BACK_MAX = 60


class ChangeTooEarly(RuleViolation):
    """Before its beginning nothing is agreed on, and what was billed elsewhere is not changed here."""

    code = "change_too_early"
    title = "The change lies before what can be changed"


class ChangeAfterEnd(RuleViolation):
    code = "change_after_end"
    title = "The subscription is over by then"


@dataclass(frozen=True, slots=True)
class ChangeSubscription:
    subscription_id: str
    when: When
    request: ChangeRequest


@dataclass(frozen=True, slots=True)
class ChangeMade:
    """The change as it is kept, and the subscription as it is now."""

    change: ScheduledChange
    subscription: Subscription


async def change_subscription(
    command: ChangeSubscription, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> ChangeMade:
    """Carry a change out at once, also from a date that is over, or keep it until its time has come.

    Everything is checked when it is asked for, and again when it is carried out. What changes nothing is kept as
    unchanged, and nothing is told of it.
    Emits: SubscriptionChanged, or SubscriptionRenewed where it begins a period, for what is carried out at once.
    Raises: SubscriptionNotFound, SubscriptionOver, ChangeTooEarly, ChangeAfterEnd, TooManyChanges, and what `pin`,
    `resolve` and `apply_change` raise.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    check_version(subscription.version)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    subscription = await caught_up(subscription.id, now, uow=uow)
    subscription.refuse_when_over(now, to="change")
    wanted = await pin(command.request, subscription, now, uow=uow)
    at, waits = placed(command.when, subscription, now)
    change = ScheduledChange(
        id=new_id("sch", clock.system_now()),
        subscription_id=subscription.id,
        when=command.when,
        at=at,
        wanted=wanted,
        created_at=clock.system_now(),
    )
    pointer = plan_pointer_of(command.request)
    if waits:
        return await keep_waiting(change, subscription, now, uow=uow, plan_pointer=pointer)
    return await make_at_once(change, subscription, now, uow=uow, plan_pointer=pointer)


def placed(when: When, subscription: Subscription, now: datetime) -> tuple[datetime | None, bool]:
    """The instant at which a change takes effect (None: with the end of the period), and whether that lies ahead.

    What is not begun is changed at once by whatever is to hold from its beginning on.
    Raises: ChangeTooEarly, ChangeAfterEnd.
    """
    if when.kind == "period_end":
        period, ends_at = subscription.period, subscription.ends_at
        if period is not None and ends_at is not None and ends_at <= period.end:
            raise ChangeAfterEnd("the subscription ends with the period", pointer="/when", ends_at=ends_at)
        return None, True
    if when.kind == "now":
        return now, False
    assert when.on is not None, "a change on a date has one"
    at = start_of_day(when.on, subscription.calendar.zone)
    if subscription.state in WAITING:
        return at, at > max(now, subscription.starts_at)
    for bound, what in (
        (subscription.starts_at, "the subscription begins later"),
        (subscription.billed_until, "what lies before that was billed elsewhere"),
    ):
        if bound is not None and at < bound:
            raise ChangeTooEarly(what, pointer="/when/on", earliest=bound)
    if subscription.ends_at is not None and at >= subscription.ends_at:
        raise ChangeAfterEnd(
            "the subscription ends before that", pointer="/when/on", ends_at=subscription.ends_at
        )
    return at, at > now


async def make_at_once(
    change: ScheduledChange,
    subscription: Subscription,
    now: datetime,
    *,
    uow: UnitOfWork,
    plan_pointer: str = "/plan",
) -> ChangeMade:
    """Carry it out and keep it as applied, or as unchanged where it changes nothing."""
    assert change.at is not None, "what is made at once has its instant"
    outcome = await decided_at_once(change, subscription, now, uow=uow, plan_pointer=plan_pointer)
    if outcome is None:
        kept = replace(change, status=ChangeStatus.UNCHANGED, settled_at=now)
        uow.scheduled_changes.add(kept)
        uow.record("subscription_change.unchanged", kept.id, kept.version)
        return ChangeMade(kept, subscription)
    kept = replace(change, status=ChangeStatus.APPLIED, settled_at=now)
    uow.scheduled_changes.add(kept)
    uow.record("subscription_change.applied", kept.id, kept.version)
    if isinstance(outcome, Changed) and outcome.settles:
        outcome = replace(
            outcome, at=now
        )  # whatever it has effect from, its document is of the day it is made
    await carry_out(outcome, uow=uow, now=now)
    return ChangeMade(kept, await uow.subscriptions.get_for_update(subscription.id))


async def decided_at_once(
    change: ScheduledChange,
    subscription: Subscription,
    now: datetime,
    *,
    uow: UnitOfWork,
    plan_pointer: str = "/plan",
) -> Changed | Renewed | None:
    """What the change makes of the subscription; None where that is as it was. Nothing is saved."""
    assert change.at is not None, "what is made at once has its instant"
    resolved = await resolve(change.wanted, subscription, now, uow=uow, plan_pointer=plan_pointer)
    touched = await touched_periods(subscription, change.at, uow=uow)
    if touched and _recounts(resolved, subscription):
        raise ChangeTooEarly(
            "what periods are counted by changes in the current one at the earliest",
            pointer="/when/on",
            earliest=subscription.period.start if subscription.period else None,
        )
    moment = moment_of(subscription, change.at, now)
    due = DueChange(change.id, change.at, resolved, change.wanted.settles)
    past = {**await past_periods(subscription, uow=uow), **touched} if subscription.period else {}
    facts = DueFacts(uow.tenant, past=past)
    outcome = change_now(subscription, due, moment, facts, first_touched=min(touched, default=None))
    after = replace(outcome.subscription, version=subscription.version, touched=subscription.touched)
    return None if after == subscription else outcome


async def keep_waiting(
    change: ScheduledChange,
    subscription: Subscription,
    now: datetime,
    *,
    uow: UnitOfWork,
    plan_pointer: str = "/plan",
) -> ChangeMade:
    """Keep it until its time has come, if it could be carried out as things stand."""
    waiting = await uow.scheduled_changes.waiting_of(subscription)
    if len(waiting) >= CHANGES_WAITING_MAX:
        raise TooManyChanges(
            f"at most {CHANGES_WAITING_MAX} changes of a subscription wait at a time",
            remedy="Withdraw one of them, or ask for several things in one change.",
        )
    await refuse_impossible(change, subscription, now, uow=uow, plan_pointer=plan_pointer)
    uow.scheduled_changes.add(change)
    uow.record("subscription_change.scheduled", change.id, change.version)
    return ChangeMade(change, await save_counted(subscription, uow=uow))


async def refuse_impossible(
    change: ScheduledChange,
    subscription: Subscription,
    now: datetime,
    *,
    uow: UnitOfWork,
    plan_pointer: str = "/plan",
) -> None:
    """A change that waits is tried on what the changes before it will have made of the subscription.

    Raises: what `resolve` and `apply_change` raise.
    """
    projected = await projected_before(change, subscription, now, uow=uow)
    if change.wanted.currency not in (None, projected.currency) and change.at is not None:
        raise ChangeNotAtBoundary(
            "the currency of a subscription changes with a period",
            pointer="/currency",
            remedy='Ask for it with {"when": "period_end"}.',
        )
    await resolve(change.wanted, projected, now, uow=uow, plan_pointer=plan_pointer)
    await tried(change, projected, now, uow=uow)


async def save_counted(subscription: Subscription, *, uow: UnitOfWork) -> Subscription:
    """The subscription, saved as it is due with what waits now."""
    after = counted(subscription, await uow.scheduled_changes.waiting_of(subscription)).changed()
    uow.subscriptions.save(after)
    uow.record("subscription.changes_scheduled", after.id, after.version)
    return after


async def touched_periods(
    subscription: Subscription, at: datetime, *, uow: UnitOfWork, pointer: str = "/when/on"
) -> Mapping[int, BillingPeriod]:
    """The periods that are over and that a change at `at` reaches into, by number.

    Raises: ChangeTooEarly.
    """
    period = subscription.period
    if period is None or at >= period.start:
        return {}
    found = await uow.subscriptions.periods_from(subscription.id, at)
    past = {one.index: one for one in found if one.index < period.index}
    if len(past) > PERIODS_BACK_MAX:
        raise ChangeTooEarly(
            f"a change reaches back {PERIODS_BACK_MAX} periods at most",
            pointer=pointer,
            earliest=sorted(past.values(), key=lambda one: one.index)[-PERIODS_BACK_MAX].start,
        )
    return past


def _recounts(change: Change, subscription: Subscription) -> bool:
    """Whether its periods are counted otherwise from then on."""
    if change.anchor_on is not None or change.anchoring == "restart":
        return True
    return change.offer is not None and change.offer.interval != subscription.calendar.interval
