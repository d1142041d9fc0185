"""Pause an agreement, now, with effect from a date that is over or from one to come; withdraw a pause; resume."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from libs.common.money import Money
from libs.common.periods import local_date, start_of_day
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.catch_up import caught_up
from services.subscriptions.application.change_subscription import (
    ChangeAfterEnd,
    ChangeTooEarly,
    touched_periods,
)
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.application.renew_subscription import past_periods
from services.subscriptions.domain import pause as pauses
from services.subscriptions.domain.change import Change, moment_of
from services.subscriptions.domain.pause import NotPaused, begin_pause, plan_pause, resume, resume_on
from services.subscriptions.domain.renewal import (
    ChangeKind,
    DueChange,
    DueFacts,
    change_now,
    tell_change,
)
from services.subscriptions.domain.subscription import Pause, Subscription
from services.subscriptions.domain.subscription_item import Proration


class FeeInOtherCurrency(RuleViolation):
    code = "fee_in_other_currency"
    title = "A fee is in the currency of its subscription"


@dataclass(frozen=True, slots=True)
class PauseFee:
    amount: Money
    description: str = "Pause"


@dataclass(frozen=True, slots=True)
class PauseSubscription:
    """From the start of the local date `on`, now unless given, until that of `resumes_on`, or until it is resumed."""

    subscription_id: str
    on: date | None = None
    resumes_on: date | None = None
    extends_term: bool = True
    proration: Proration | None = None
    fee: PauseFee | None = None
    settles: bool = False


@dataclass(frozen=True, slots=True)
class WithdrawPause:
    subscription_id: str


@dataclass(frozen=True, slots=True)
class ResumeSubscription:
    """From the start of the local date `on`, now unless given. `anchor_on`: its periods are counted from then on."""

    subscription_id: str
    on: date | None = None
    anchor_on: date | None = None
    settles: bool = False


async def pause_subscription(
    command: PauseSubscription, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """Nothing is agreed on while it lasts; what was charged for that time is given back as prices are prorated.

    One to come is planned: the scheduler begins it.
    Emits: SubscriptionPaused with the fee; SubscriptionChanged where it is planned.
    Raises: SubscriptionNotFound, SubscriptionOver, TransitionNotAllowed, AlreadyPaused, PauseReversed, ChangeTooEarly,
    ChangeAfterEnd, FeeInOtherCurrency.
    """
    subscription, now = await _lock(command.subscription_id, "pause", uow, clock, check_version)
    zone = subscription.calendar.zone
    start = now if command.on is None else start_of_day(command.on, zone)
    _refuse_outside(subscription, start, pointer="/on")
    pause = Pause(
        start=start,
        start_on=command.on or local_date(start, zone),
        end=start_of_day(command.resumes_on, zone) if command.resumes_on is not None else None,
        end_on=command.resumes_on,
        proration=command.proration,
        extends_term=command.extends_term,
        fee=_fee_text(command.fee, subscription),
        fee_description=command.fee.description if command.fee is not None else "Pause",
    )
    planned = plan_pause(subscription, pause, now)
    if start > now:
        return await _tell(planned.changed(), now, "changed", uow=uow, now=now)
    touched = await touched_periods(subscription, start, uow=uow, pointer="/on")
    paused = begin_pause(planned, min(touched, default=None))
    return await _tell(paused, start, "paused", uow=uow, now=now, settles=command.settles)


async def withdraw_pause(
    command: WithdrawPause, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """A planned pause does not begin.

    Emits: SubscriptionChanged.
    Raises: SubscriptionNotFound, SubscriptionOver, NotPaused.
    """
    subscription, now = await _lock(command.subscription_id, "withdraw", uow, clock, check_version)
    return await _tell(pauses.withdraw_pause(subscription), now, "changed", uow=uow, now=now)


async def resume_subscription(
    command: ResumeSubscription, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """End the pause under way, from a date that is over, now, or by itself on a date to come.

    Emits: SubscriptionResumed, and SubscriptionRenewed where its anchor is moved; SubscriptionChanged for a date to come.
    Raises: SubscriptionNotFound, SubscriptionOver, NotPaused, PauseReversed, ChangeTooEarly, ChangeAfterEnd.
    """
    subscription, now = await _lock(command.subscription_id, "resume", uow, clock, check_version)
    if subscription.pause is None:
        raise NotPaused("the subscription is not paused, and no pause is planned")
    at = now if command.on is None else start_of_day(command.on, subscription.calendar.zone)
    _refuse_outside(subscription, at, pointer="/on")
    if at > now:
        if command.anchor_on is not None:
            raise ChangeTooEarly(
                "the anchor is moved when it is resumed",
                pointer="/anchor_on",
                remedy="Ask for that as a change on the same date (POST /v1/subscriptions/{id}/changes).",
            )
        return await _tell(resume_on(subscription, at, command.on), now, "changed", uow=uow, now=now)
    touched = await touched_periods(subscription, at, uow=uow, pointer="/on")
    resumed = resume(subscription, at, min(touched, default=None))
    after = await _tell(resumed, at, "resumed", uow=uow, now=now, settles=command.settles)
    if command.anchor_on is None:
        return after
    assert after.period is not None, "what was paused has a period"
    moment = moment_of(after, max(at, after.period.start), now)
    due = DueChange("", moment.at, Change(anchor_on=command.anchor_on), command.settles)
    await carry_out(change_now(after, due, moment, DueFacts(uow.tenant)), uow=uow, now=now)
    return await uow.subscriptions.get_for_update(after.id)


async def _lock(
    id: str, to: str, uow: UnitOfWork, clock: Clock, check_version: CheckVersion
) -> tuple[Subscription, datetime]:
    subscription = await uow.subscriptions.get_for_update(id)
    check_version(subscription.version)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    subscription = await caught_up(id, now, uow=uow)
    subscription.refuse_when_over(now, to=to)
    return subscription, now


async def _tell(
    subscription: Subscription,
    at: datetime,
    kind: ChangeKind,
    *,
    uow: UnitOfWork,
    now: datetime,
    settles: bool = False,
) -> Subscription:
    facts = DueFacts(uow.tenant, past=await past_periods(subscription, uow=uow))
    # Whatever it has effect from, its document is of the day it is made.
    outcome = tell_change(subscription, now if settles else at, kind, facts, settles=settles)
    await carry_out(outcome, uow=uow, now=now)
    return await uow.subscriptions.get_for_update(subscription.id)


def _refuse_outside(subscription: Subscription, at: datetime, *, pointer: str) -> None:
    for bound, what in (
        (subscription.starts_at, "the subscription begins later"),
        (subscription.billed_until, "what lies before that was billed elsewhere"),
    ):
        if bound is not None and at < bound:
            raise ChangeTooEarly(what, pointer=pointer, earliest=bound)
    if subscription.ends_at is not None and at >= subscription.ends_at:
        raise ChangeAfterEnd(
            "the subscription ends before that", pointer=pointer, ends_at=subscription.ends_at
        )


def _fee_text(fee: PauseFee | None, subscription: Subscription) -> str | None:
    if fee is None:
        return None
    if fee.amount.currency != subscription.currency:
        raise FeeInOtherCurrency(
            f"the subscription is in {subscription.currency}",
            pointer="/fee/amount/currency",
            currency=subscription.currency,
        )
    amount: Decimal = fee.amount.to_decimal()
    return format(amount, "f")
