"""Carry a subscription over the instant that is due: its start, its next boundary, a change, a pause, its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.subscriptions.application.agreed_terms import term_offer
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.events import payer_id_of
from services.subscriptions.application.offers import find_plan, offer_of
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.scheduled_changes import due_changes, load_changes
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.lifecycle import RUNNING
from services.subscriptions.domain.renewal import DueFacts, NotDue, Outcome, decide_due
from services.subscriptions.domain.subscription import Subscription


@dataclass(frozen=True, slots=True)
class RenewSubscription:
    """`now` is the subscription's business now, as the schedule that found it due saw it."""

    subscription_id: str
    now: datetime


async def load_for_renewal(commands: Sequence[RenewSubscription], *, uow: UnitOfWork) -> None:
    """Lock and read what these commands will need: a fixed number of statements, however many they are."""
    nows = {command.subscription_id: command.now for command in commands}
    await uow.subscriptions.load_for_update(nows)
    subscriptions = [await uow.subscriptions.get_for_update(id) for id in nows]
    items = [segment.item for subscription in subscriptions for segment in subscription.segments]
    await uow.plans.load(
        {*(one.plan_version_id for one in subscriptions), *(item.plan_version_id for item in items)}
    )
    overlays = {*(one.overlay_id for one in subscriptions), *(item.overlay_id for item in items)}
    await uow.plans.load_overlays(id for id in overlays if id is not None)
    await uow.customers.load(
        {
            *(one.customer_id for one in subscriptions),
            *(one.payer_id for one in subscriptions if one.payer_id),
        }
    )
    await load_changes(subscriptions, uow=uow)
    await uow.bindings.load_open(
        subscription.id
        for subscription in subscriptions
        if subscription.ends_at is not None and subscription.ends_at <= nows[subscription.id]
    )


async def renew_subscription(command: RenewSubscription, *, uow: UnitOfWork) -> Outcome | NotDue:
    """Do the next thing that is due: begin a scheduled subscription, renew, change, pause, resume, remind or end it.

    Running it twice is harmless: once renewed, a subscription is no longer due. One that is two periods behind
    is still due afterwards, for the second.
    Emits: the event of what was done, with SubjectReleased where it ended.
    Raises: SubscriptionNotFound.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    due_at = subscription.due_at
    if due_at is None or due_at > command.now:
        return NotDue(due_at)
    outcome = decide_due(subscription, command.now, await due_facts(subscription, command.now, uow=uow))
    if not isinstance(outcome, NotDue):
        await carry_out(outcome, uow=uow, now=command.now)
    return outcome


async def due_facts(subscription: Subscription, now: datetime, *, uow: UnitOfWork) -> DueFacts:
    """What the decision needs to know; read only where the subscription is such that it matters."""
    if subscription.state not in RUNNING or subscription.period is None:
        return DueFacts(uow.tenant)
    period = subscription.period
    offer = None
    if subscription.phase_ends_index == period.index + 1:
        plan = await find_plan(subscription.plan_version_id, subscription.overlay_id, uow=uow)
        offer = offer_of(plan, currency=subscription.currency, overlay_id=subscription.overlay_id)
    has_payment_method = True
    if period.kind == "trial" and subscription.trial_without_payment_method != "continue":
        has_payment_method = await uow.payment_methods.has_one(await payer_id_of(subscription, uow))
    return DueFacts(
        tenant=uow.tenant,
        changes=await due_changes(subscription, now, uow=uow),
        offer=offer,
        term_offer=await term_offer(subscription, now, uow=uow),
        past=await past_periods(subscription, uow=uow),
        has_payment_method=has_payment_method,
    )


async def past_periods(subscription: Subscription, *, uow: UnitOfWork) -> dict[int, BillingPeriod]:
    """The earlier periods that were changed and are to be told of again."""
    assert subscription.period is not None, "what runs has a period"
    earlier = {index for index in subscription.touched if index < subscription.period.index}
    if not earlier:
        return {}
    found = await uow.subscriptions.periods_numbered({subscription.id: earlier})
    return dict(found.get(subscription.id, {}))
