"""Alter a change that waits, or withdraw it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from libs.common.clock import Clock
from services.subscriptions.application.catch_up import caught_up
from services.subscriptions.application.change_subscription import (
    ChangeMade,
    ChangeTooEarly,
    placed,
    refuse_impossible,
    save_counted,
)
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.application.wanted_changes import ChangeRequest, pin, plan_pointer_of
from services.subscriptions.domain.scheduled_change import (
    ChangeNotFound,
    ScheduledChange,
    WantedChange,
    When,
)
from services.subscriptions.domain.subscription import Subscription

_NAMING_THE_PLAN = frozenset({"plan", "plan_version_id", "version", "plan_overlay_id"})


@dataclass(frozen=True, slots=True)
class AlterChange:
    """`given` are the names of the request's fields that are to be altered; all others stay as they were asked for."""

    subscription_id: str
    change_id: str
    request: ChangeRequest
    given: Collection[str]
    when: When | None = None


@dataclass(frozen=True, slots=True)
class WithdrawChange:
    subscription_id: str
    change_id: str


async def alter_change(
    command: AlterChange, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> ChangeMade:
    """It goes on waiting, for what it is now, if that could be carried out as things stand. `check_version` is about
    the change.

    Raises: SubscriptionNotFound, ChangeNotFound, ChangeNotScheduled, ChangeTooEarly, and what `pin`, `resolve` and
    `apply_change` raise.
    """
    change, subscription, now = await _lock(
        command.subscription_id, command.change_id, uow, clock, check_version
    )
    subscription.refuse_when_over(now, to="change")
    pinned = await pin(command.request, subscription, now, uow=uow)
    when = command.when or change.when
    at, waits = placed(when, subscription, now) if command.when is not None else (change.at, True)
    if not waits:
        raise ChangeTooEarly(
            "what waits lies ahead",
            pointer="/when",
            remedy="Withdraw it, and ask for a change now (POST /v1/subscriptions/{id}/changes).",
        )
    altered = change.altered(when, at, _merged(change.wanted, pinned, command.given))
    pointer = plan_pointer_of(command.request)
    await refuse_impossible(altered, subscription, now, uow=uow, plan_pointer=pointer)
    uow.scheduled_changes.save(altered)
    uow.record("subscription_change.altered", altered.id, altered.version)
    return ChangeMade(altered, await save_counted(subscription, uow=uow))


async def withdraw_change(
    command: WithdrawChange, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> ChangeMade:
    """It will not be carried out. `check_version` is about the change.

    Raises: SubscriptionNotFound, ChangeNotFound, ChangeNotScheduled.
    """
    change, subscription, now = await _lock(
        command.subscription_id, command.change_id, uow, clock, check_version
    )
    withdrawn = change.withdrawn(now)
    uow.scheduled_changes.save(withdrawn)
    uow.record("subscription_change.withdrawn", withdrawn.id, withdrawn.version)
    return ChangeMade(withdrawn, await save_counted(subscription, uow=uow))


async def _lock(
    subscription_id: str, change_id: str, uow: UnitOfWork, clock: Clock, check_version: CheckVersion
) -> tuple[ScheduledChange, Subscription, datetime]:
    """The subscription first, then the change, as everybody does; what is due by now is done before.

    Raises: SubscriptionNotFound, ChangeNotFound, ChangeNotScheduled.
    """
    subscription = await uow.subscriptions.get_for_update(subscription_id)
    change = await uow.scheduled_changes.get_for_update(change_id)
    if change.subscription_id != subscription_id:
        raise ChangeNotFound("the subscription has no change with this id")
    check_version(change.version)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    subscription = await caught_up(subscription_id, now, uow=uow)
    change = await uow.scheduled_changes.get_for_update(change_id)
    change.refuse_unless_waiting()
    return change, subscription, now


def _merged(before: WantedChange, pinned: WantedChange, given: Collection[str]) -> WantedChange:
    """`pinned` where a field was given; a plan that is named anew is named as a whole."""
    changes: dict[str, Any] = {}
    if _NAMING_THE_PLAN & set(given):
        names = ("plan_version_id", "plan_code", "overlay_id")
        changes |= {name: getattr(pinned, name) for name in names}
    if {"anchor_on", "co_term_with"} & set(given):
        changes["anchor_on"] = pinned.anchor_on
    for name in (
        "quantities",
        "add",
        "remove",
        "anchoring",
        "zone",
        "currency",
        "payer_id",
        "proration",
        "settles",
        "is_indexation",
    ):
        if name in given:
            changes[name] = getattr(pinned, name)
    return replace(before, **changes)
