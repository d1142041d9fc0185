"""Agree on a subscription, which begins at once, on a day to come, or when it is activated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from libs.common.clock import Clock
from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.errors import RuleViolation
from libs.common.ids import new_id
from libs.common.periods import DAY, Interval, UnknownZone, local_date, start_of_day, zone_names
from services.subscriptions.application import events
from services.subscriptions.application.agreed_terms import TermWanted, agreed_term
from services.subscriptions.application.billable import refuse_unbillable
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.co_terming import anchor_of
from services.subscriptions.application.now import business_now
from services.subscriptions.application.offers import AddOnDoesNotFit, offer_of
from services.subscriptions.application.pointing import pointing_at
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.agree import Parties, Terms, agree
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.customer import refuse_erased
from services.subscriptions.domain.plan import PlanNotFound, refuse_unsold
from services.subscriptions.domain.receipt import withdrawal_ends_on
from services.subscriptions.domain.renewal import NotDue, decide_start
from services.subscriptions.domain.subscription import (
    DEFAULT_PRORATION,
    Activation,
    Anchoring,
    AwaitedEvent,
    FirstPart,
    ProrationOptions,
    Subscription,
    TrialEnd,
)
from services.subscriptions.domain.subscription_item import Offer, SubscriptionItem, items_of

BillingStart = Literal[
    "order",
    "delivery",
    "acceptance",
    "first_of_next_month",
    "month_after_delivery",
    "month_after_acceptance",
    "fixed_date",
]
# What the beginning waits for, and whether it then comes on the first of the month after that.
_AWAITED: Mapping[BillingStart, tuple[AwaitedEvent, bool]] = {
    "delivery": ("delivery", False),
    "acceptance": ("acceptance", False),
    "month_after_delivery": ("delivery", True),
    "month_after_acceptance": ("acceptance", True),
}


class ZoneMissing(RuleViolation):
    """Periods are counted in somebody's calendar, and nobody said in whose."""

    code = "zone_missing"
    title = "A time zone is needed"


@dataclass(frozen=True, slots=True)
class StartSubscription:
    """One of `plan_code` (its newest version on sale) and `plan_version_id`. The defaults: today, the customer's zone.

    `billing_starts` says what the first period waits for. `trial` stands in place of the plan's; `skips_trial` leaves
    that out. `billed_until`: all before that date was billed elsewhere.
    """

    customer_id: str
    plan_code: str | None = None
    plan_version_id: str | None = None
    plan_overlay_id: str | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    add_ons: Sequence[tuple[str, Mapping[str, Decimal]]] = ()
    starts_on: date | None = None
    ends_on: date | None = None
    zone: str | None = None
    currency: str | None = None
    payer_id: str | None = None
    test_clock_id: str | None = None
    external_id: str | None = None
    billing_starts: BillingStart = "order"
    anchor_on: date | None = None
    anchoring: Anchoring = "anniversary"
    co_term_with: str | None = None
    first_part: FirstPart = "prorated"
    trial: Interval | None = None
    skips_trial: bool = False
    trial_bills_usage: bool = False
    trial_reminder_days: tuple[int, ...] = (3,)
    trial_without_payment_method: TrialEnd = "continue"
    term: TermWanted | None = None
    withdrawal_days: int | None = None
    proration: ProrationOptions = DEFAULT_PRORATION
    billed_until: date | None = None
    won_back_from: str | None = None


async def start_subscription(command: StartSubscription, *, uow: UnitOfWork, clock: Clock) -> Subscription:
    """One item for each price of the plan and its add-ons. When its start has come by its own clock, it begins.

    A start that lies some periods back is caught up with by renewals, one period at a time.
    Emits: SubscriptionStarted, or SubscriptionScheduled if it begins later.
    Raises: CustomerNotFound, CustomerErased, PlanNotFound, PlanRetired, PlanVersionNotOnSale, PlanNotBillableYet,
    TestClockNotFound, ZoneMissing, UnknownZone, TermReversed, QuantityWithoutPrice, QuantityNegative,
    CurrencyNotOffered, AddOnDoesNotFit.
    """
    with pointing_at("/customer_id"):
        customer = await uow.customers.get_shared(command.customer_id)
        refuse_erased(customer)
    if command.payer_id is not None:
        with pointing_at("/payer_id"):
            refuse_erased(await uow.customers.get_shared(command.payer_id))
    with pointing_at("/test_clock_id"):
        now = await business_now(command.test_clock_id, uow=uow, clock=clock)
    plan, overlay = await find_sold(
        plan_code=command.plan_code,
        plan_version_id=command.plan_version_id,
        overlay_id=command.plan_overlay_id,
        customer_id=customer.id,
        now=now,
        uow=uow,
    )
    zone = command.zone or customer.zone
    if zone is None:
        raise ZoneMissing("neither the request nor the customer names a time zone", pointer="/zone")
    if zone not in zone_names():
        raise UnknownZone(
            "not an IANA time zone", pointer="/zone", remedy="Name a zone such as Europe/Amsterdam."
        )
    currency = command.currency or plan.currency
    offer = offer_of(plan, currency=currency, overlay_id=overlay.overlay_id if overlay else None)
    system_now = clock.system_now()
    id = new_id("sub", system_now)
    items = await _items(command, offer, plan, subscription_id=id, now=now, uow=uow)
    terms = await _terms(command, plan, overlay, zone=zone, now=now, uow=uow)
    parties = Parties(
        customer_id=customer.id,
        payer_id=command.payer_id,
        external_id=command.external_id,
        test_clock_id=command.test_clock_id,
    )
    subscription = replace(
        agree(parties, offer, items, terms, id=id, created_at=system_now),
        won_back_from=command.won_back_from,
        withdrawal_ends_on=withdrawal_ends_on(now, zone, _withdrawal_days(command), customer),
    )
    uow.subscriptions.add(subscription)
    outcome = decide_start(subscription, now)
    if isinstance(outcome, NotDue):
        uow.record("subscription.scheduled", subscription.id, subscription.version)
        await events.tell(subscription, uow=uow, occurred_at=now)
        return subscription
    # Agreed and begun in one step: this is the first version of it that anybody sees.
    outcome = replace(outcome, subscription=replace(outcome.subscription, version=subscription.version))
    await carry_out(outcome, uow=uow, now=now)
    return outcome.subscription


async def find_sold(
    *,
    plan_code: str | None,
    plan_version_id: str | None,
    overlay_id: str | None,
    customer_id: str,
    now: datetime,
    uow: UnitOfWork,
    pointer: str = "",
) -> tuple[PlanV1, PlanOverlayV1 | None]:
    """The plan that is asked for, which is on sale and can be billed; with the customer's own terms, if those are named.

    Raises: PlanNotFound, PlanRetired, PlanVersionNotOnSale, PlanNotBillableYet.
    """
    if overlay_id is not None:
        with pointing_at(f"{pointer}/plan_overlay_id"):
            overlay = await uow.plans.get_overlay(overlay_id)
            if overlay.customer_id != customer_id or await uow.plans.is_withdrawn(overlay_id):
                raise PlanNotFound("the customer has no such plan overlay")
        await refuse_unbillable(overlay.plan, pointer=f"{pointer}/plan_overlay_id", uow=uow)
        return overlay.plan, overlay
    if plan_version_id is not None:
        at = f"{pointer}/plan_version_id"
        with pointing_at(at):
            plan = await uow.plans.get(plan_version_id)
    else:
        assert plan_code is not None, "a plan is named by its code or by a version's id"
        at = f"{pointer}/plan"
        with pointing_at(at):
            plan = await uow.plans.get_newest(plan_code, now)
    standing = await uow.plans.standing_of(plan)
    refuse_unsold(standing, now, plan=plan.code, number=plan.plan_version, pointer=at)
    await refuse_unbillable(plan, pointer=at, uow=uow)
    return plan, None


async def find_add_on(
    code: str, *, plan_code: str, currency: str, now: datetime, uow: UnitOfWork, pointer: str
) -> Offer:
    """An add-on on sale, which goes with the plan.

    Raises: PlanNotFound, PlanRetired, PlanVersionNotOnSale, AddOnDoesNotFit, CurrencyNotOffered.
    """
    with pointing_at(pointer):
        add_on = await uow.plans.get_newest(code, now)
    standing = await uow.plans.standing_of(add_on)
    refuse_unsold(standing, now, plan=add_on.code, number=add_on.plan_version, pointer=pointer)
    if add_on.kind != "add_on" or (add_on.for_plans and plan_code not in add_on.for_plans):
        raise AddOnDoesNotFit(
            "it is no add-on that goes with this plan",
            pointer=pointer,
            add_on=code,
            plan=plan_code,
            for_plans=list(add_on.for_plans),
        )
    await refuse_unbillable(add_on, pointer=pointer, uow=uow)
    return offer_of(add_on, currency=currency, pointer=pointer)


async def _items(
    command: StartSubscription,
    offer: Offer,
    plan: PlanV1,
    *,
    subscription_id: str,
    now: datetime,
    uow: UnitOfWork,
) -> list[SubscriptionItem]:
    if offer.is_add_on:
        raise AddOnDoesNotFit("an add-on is not subscribed to by itself", pointer="/plan", add_on=plan.code)
    phase = offer.phase_after(None)
    made = list(
        items_of(
            offer,
            command.quantities,
            tenant=uow.tenant,
            subscription_id=subscription_id,
            phase=phase.code if phase else None,
        )
    )
    for position, (code, quantities) in enumerate(command.add_ons):
        pointer = f"/add_ons/{position}"
        add_on = await find_add_on(
            code, plan_code=plan.code, currency=offer.currency, now=now, uow=uow, pointer=f"{pointer}/plan"
        )
        made += items_of(
            add_on,
            quantities,
            tenant=uow.tenant,
            subscription_id=subscription_id,
            pointer=f"{pointer}/quantities",
        )
    return made


async def _terms(
    command: StartSubscription,
    plan: PlanV1,
    overlay: PlanOverlayV1 | None,
    *,
    zone: str,
    now: datetime,
    uow: UnitOfWork,
) -> Terms:
    today = local_date(now, zone)
    starts_on = command.starts_on or today
    interval = Interval(plan.interval_unit, plan.interval_count)
    anchor_on = command.anchor_on
    if command.co_term_with is not None:
        anchor_on = await anchor_of(
            command.co_term_with, customer_id=command.customer_id, interval=interval, uow=uow
        )
    trial = command.trial
    if trial is None and plan.trial is not None and not command.skips_trial:
        trial = Interval(plan.trial.interval_unit, plan.trial.interval_count)
    activation = None
    if command.billing_starts in _AWAITED:
        awaits, first_of_next_month = _AWAITED[command.billing_starts]
        activation = Activation(
            awaits=awaits,
            ordered_on=starts_on,
            first_of_next_month=first_of_next_month,
            anchor_on=anchor_on,
            anchoring=command.anchoring,
            first_part=command.first_part,
            trial=trial,
            trial_bills_usage=command.trial_bills_usage,
            trial_reminder_days=command.trial_reminder_days,
        )
    elif command.billing_starts == "first_of_next_month":
        starts_on = (starts_on.replace(day=1) + 31 * DAY).replace(day=1)
    return Terms(
        zone=zone,
        starts_on=starts_on,
        ends_on=command.ends_on,
        anchor_on=anchor_on,
        anchoring=command.anchoring,
        first_part=command.first_part,
        trial=trial,
        trial_bills_usage=command.trial_bills_usage,
        trial_reminder_days=command.trial_reminder_days,
        trial_without_payment_method=command.trial_without_payment_method,
        activation=activation,
        term=await _term(command, overlay, currency=command.currency or plan.currency, now=now, uow=uow),
        proration=command.proration,
        billed_until=start_of_day(command.billed_until, zone) if command.billed_until else None,
    )


async def _term(
    command: StartSubscription,
    overlay: PlanOverlayV1 | None,
    *,
    currency: str,
    now: datetime,
    uow: UnitOfWork,
) -> AgreedTerm | None:
    wanted = command.term
    step_down = None
    if wanted is not None and wanted.names_a_plan:
        step_down = await find_plan_at_term_end(
            wanted, customer_id=command.customer_id, currency=currency, now=now, uow=uow
        )
    return agreed_term(wanted, overlay=overlay, step_down=step_down)


async def find_plan_at_term_end(
    wanted: TermWanted, *, customer_id: str, currency: str, now: datetime, uow: UnitOfWork
) -> PlanV1:
    """The plan that a term steps down to.

    Raises: PlanNotFound, PlanRetired, PlanVersionNotOnSale, PlanNotBillableYet, CurrencyNotOffered.
    """
    at = "/term/step_down_plan"
    plan, _ = await find_sold(
        plan_code=wanted.step_down_plan,
        plan_version_id=wanted.step_down_plan_version_id,
        overlay_id=None,
        customer_id=customer_id,
        now=now,
        uow=uow,
        pointer=at,
    )
    offer_of(plan, currency=currency, pointer=at)
    return plan


def _withdrawal_days(command: StartSubscription) -> int | None:
    """What runs elsewhere already was agreed on before: nobody withdraws from it unless that is said."""
    if command.withdrawal_days is None and command.billed_until is not None:
        return 0
    return command.withdrawal_days
