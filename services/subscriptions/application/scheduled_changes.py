"""The changes that wait: which are due, whether they can still be carried out, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from libs.common.errors import DomainError
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.wanted_changes import resolve
from services.subscriptions.domain.change import Change, Moment, apply_change, moment_of
from services.subscriptions.domain.renewal import (
    Changed,
    DueChange,
    Outcome,
    Renewed,
)
from services.subscriptions.domain.scheduled_change import ScheduledChange, counted, due_of, in_their_order
from services.subscriptions.domain.subscription import OVER, Subscription

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


async def load_changes(subscriptions: Sequence[Subscription], *, uow: UnitOfWork) -> None:
    """Read what waits for these, in one statement; in none where nothing does. They are locked already."""
    await uow.scheduled_changes.load_waiting(subscriptions)


async def due_changes(subscription: Subscription, now: datetime, *, uow: UnitOfWork) -> tuple[DueChange, ...]:
    """What takes effect with the next thing that is due, each tried on the subscription first.

    One that cannot be carried out has failed, and stands in nobody's way.
    """
    due_at = subscription.due_at
    if due_at is None or due_at > now or not _has_waiting(subscription):
        return ()
    period = subscription.period
    due: list[DueChange] = []
    projected = subscription
    for change in due_of(subscription, await uow.scheduled_changes.waiting_of(subscription), due_at):
        assert period is not None, "without a period nothing is due"
        inside = change.at is not None and change.at < period.end
        try:
            resolved, projected = await tried(change, projected, now, uow=uow)
        except DomainError as error:
            _save(change.failed(error, now), "subscription_change.failed", uow=uow)
            continue
        # An activation may have moved the beginning beyond a date that was asked for before.
        at = max(change.at, subscription.starts_at) if change.at is not None else None
        due.append(DueChange(change.id, at, resolved, change.wanted.settles))
        if inside:
            break
    return tuple(due)


async def tried(
    change: ScheduledChange, subscription: Subscription, now: datetime, *, uow: UnitOfWork
) -> tuple[Change, Subscription]:
    """The change as it would be carried out, and what it would make of the subscription as that stands.

    Raises: what `resolve` and `apply_change` raise.
    """
    resolved = await resolve(change.wanted, subscription, now, uow=uow)
    moment = _moment(change, subscription, now)
    after, _ = apply_change(subscription, resolved, moment, tenant=uow.tenant)
    return resolved, after


async def settled(outcome: AnyOutcome, *, uow: UnitOfWork, now: datetime) -> AnyOutcome:
    """Note what became of the waiting changes, and count what waits on; the outcome as it is to be saved.

    In another zone, a change on a date waits for the beginning of that date there.
    """
    subscription = outcome.subscription
    over = subscription.state in OVER
    if not over and not _has_waiting(subscription) and not uow.scheduled_changes.knows(subscription.id):
        return outcome
    applied = outcome.applied if isinstance(outcome, Renewed | Changed) else ()
    before = await uow.scheduled_changes.waiting_of(subscription)
    if not before and not _has_waiting(subscription):
        return outcome
    for change in before:
        if change.id in applied:
            _save(change.applied(_took_effect(outcome), now), "subscription_change.applied", uow=uow)
        elif over:
            gone = change.withdrawn(now, code="subscription_over", reason="the subscription is over")
            _save(gone, "subscription_change.withdrawn", uow=uow)
        elif (moved := change.on_its_date(subscription.calendar.zone, now)) is not change:
            _save(moved, "subscription_change.moved", uow=uow)
    waiting = await uow.scheduled_changes.waiting_of(subscription)
    return replace(outcome, subscription=counted(subscription, waiting))


async def projected_before(
    change: ScheduledChange, subscription: Subscription, now: datetime, *, uow: UnitOfWork
) -> Subscription:
    """The subscription with what waits and comes before this change, as far as that can be carried out today."""
    projected = subscription
    for earlier in in_their_order(await uow.scheduled_changes.waiting_of(subscription)):
        if earlier.id == change.id or not _comes_before(earlier, change):
            continue
        try:
            _, projected = await tried(earlier, projected, now, uow=uow)
        except DomainError:
            continue  # it will fail in its time, and this one is not held up by it
    return projected


def _comes_before(one: ScheduledChange, other: ScheduledChange) -> bool:
    if one.at is not None and other.at is not None:
        return (one.at, one.created_at, one.id) < (other.at, other.created_at, other.id)
    if one.at is None and other.at is None:
        return (one.created_at, one.id) < (other.created_at, other.id)
    return other.at is None


def _moment(change: ScheduledChange, subscription: Subscription, now: datetime) -> Moment:
    """When it takes effect: what lies beyond the current period is tried at the end of that."""
    period = subscription.period
    if period is None:
        return moment_of(subscription, max(change.at or now, subscription.starts_at), now)
    if change.at is None or change.at >= period.end:
        return Moment(period.end, period.end_on, now)
    return moment_of(subscription, max(change.at, subscription.starts_at), now)


def _took_effect(outcome: Outcome) -> datetime:
    if isinstance(outcome, Renewed):
        return outcome.period.start
    assert isinstance(outcome, Changed), "only these carry changes out"
    return outcome.at


def _has_waiting(subscription: Subscription) -> bool:
    return subscription.next_change_at is not None or subscription.boundary_changes > 0


def _save(change: ScheduledChange, action: str, *, uow: UnitOfWork) -> None:
    uow.scheduled_changes.save(change)
    uow.record(action, change.id, change.version)
