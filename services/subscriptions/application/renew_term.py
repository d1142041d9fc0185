"""Agree on a new term, to follow the one that runs or to take its place at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from libs.common.clock import Clock
from libs.common.errors import Conflict
from libs.common.periods import local_date
from services.subscriptions.application.agreed_terms import TermWanted, agreed_term
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.catch_up import caught_up
from services.subscriptions.application.now import business_now
from services.subscriptions.application.offers import offer_of
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.application.renew_subscription import due_facts
from services.subscriptions.application.start_subscription import find_plan_at_term_end, find_sold
from services.subscriptions.domain.change import Change, moment_of
from services.subscriptions.domain.lifecycle import RUNNING
from services.subscriptions.domain.renewal import Changed, DueChange, Renewed, change_now, tell_change
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import Offer
from services.subscriptions.domain.term_reminders import reminders_with

TermBegin = Literal["term_end", "now"]


class TermNotRunning(Conflict):
    code = "term_not_running"
    title = "There is no term under way that another could follow"


class RenewalOfCanceled(Conflict):
    code = "renewal_of_canceled"
    title = "A subscription that will end is not renewed"


@dataclass(frozen=True, slots=True)
class RenewTerm:
    """With a plan, the subscription goes on with that from the beginning of the new term on."""

    subscription_id: str
    term: TermWanted
    begins: TermBegin = "term_end"
    plan_code: str | None = None
    plan_version_id: str | None = None


async def renew_term(
    command: RenewTerm, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """The new term binds from now on, whenever it begins.

    Emits: SubscriptionChanged; SubscriptionRenewed where a plan with another interval cuts the period.
    Raises: SubscriptionNotFound, SubscriptionOver, TransitionNotAllowed, TermNotRunning, RenewalOfCanceled,
    TermTooLong, StepDownWithoutPlan, PlanNotFound, PlanRetired, PlanVersionNotOnSale, PlanNotBillableYet,
    CurrencyNotOffered.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    check_version(subscription.version)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    subscription.refuse_when_over(now, to="renew")
    subscription.refuse_unless(RUNNING, to="renew")
    subscription = await caught_up(subscription.id, now, uow=uow)
    subscription.refuse_when_over(now, to="renew")
    if subscription.cancels_at is not None:
        raise RenewalOfCanceled(
            "it was canceled",
            cancels_at=subscription.cancels_at,
            remedy="Withdraw the cancellation first (DELETE …/cancellation).",
        )
    step_down = None
    if command.term.names_a_plan:
        step_down = await find_plan_at_term_end(
            command.term,
            customer_id=subscription.customer_id,
            currency=subscription.currency,
            now=now,
            uow=uow,
        )
    wanted = agreed_term(command.term, overlay=None, step_down=step_down)
    assert wanted is not None, "a term was asked for"
    offer = await _offer(command, subscription, uow=uow, clock=clock)
    running = subscription.term
    if command.begins == "term_end":
        if running is None or running.is_over:
            raise TermNotRunning("no term is under way", pointer="/begins", remedy='Let it begin "now".')
        after = replace(
            running,
            following=wanted.begun(running.ends_on),
            following_plan_version_id=offer.plan_version_id if offer is not None else None,
        )
        outcome: Changed | Renewed = tell_change(
            subscription.changed(term=after), now, "changed", await due_facts(subscription, now, uow=uow)
        )
    else:
        on = local_date(now, subscription.calendar.zone)
        if subscription.trial_ends_at is not None and subscription.trial_ends_at > now:
            on = local_date(subscription.trial_ends_at, subscription.calendar.zone)
        after = running.following_this(wanted, on) if running is not None else wanted.begun(on)
        subscription = replace(
            subscription, term=after, reminders=reminders_with(subscription, after, after=now)
        )
        facts = await due_facts(subscription, now, uow=uow)
        if offer is None:
            outcome = tell_change(subscription.changed(), now, "changed", facts)
        else:
            due = DueChange("", now, Change(offer=offer))
            outcome = replace(
                change_now(subscription, due, moment_of(subscription, now, now), facts), applied=()
            )
    await carry_out(outcome, uow=uow, now=now)
    return await uow.subscriptions.get_for_update(subscription.id)


async def _offer(
    command: RenewTerm, subscription: Subscription, *, uow: UnitOfWork, clock: Clock
) -> Offer | None:
    """The plan that the new term begins with, if another was asked for."""
    if command.plan_code is None and command.plan_version_id is None:
        return None
    plan, _ = await find_sold(
        plan_code=command.plan_code,
        plan_version_id=command.plan_version_id,
        overlay_id=None,
        customer_id=subscription.customer_id,
        now=await business_now(subscription.test_clock_id, uow=uow, clock=clock),
        uow=uow,
    )
    return offer_of(plan, currency=subscription.currency, pointer="/plan")
