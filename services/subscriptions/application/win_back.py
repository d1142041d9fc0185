"""Agree again with a customer on what it had, after that was over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from libs.common.clock import Clock
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.application.start_subscription import StartSubscription, start_subscription
from services.subscriptions.domain.plan import PlanRetired, PlanVersionNotOnSale, refuse_unsold
from services.subscriptions.domain.subscription import OVER, Subscription


@dataclass(frozen=True, slots=True)
class WinBack:
    subscription_id: str
    starts_on: date | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    external_id: str | None = None


async def win_back(
    command: WinBack, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """A new subscription on the same version, if that is still sold, or else on the newest one of the plan, with the
    same add-ons and quantities; without another trial.

    Emits: SubscriptionStarted, or SubscriptionScheduled.
    Raises: SubscriptionNotFound, TransitionNotAllowed, and what `start_subscription` raises.
    """
    former = await uow.subscriptions.get_for_update(command.subscription_id)
    check_version(former.version)
    former.refuse_unless(OVER, to="win back")
    now = await business_now(former.test_clock_id, uow=uow, clock=clock)
    plan = await uow.plans.get(former.plan_version_id)
    is_sold = True
    try:
        standing = await uow.plans.standing_of(plan)
        refuse_unsold(standing, now, plan=plan.code, number=plan.plan_version, pointer="")
    except (PlanRetired, PlanVersionNotOnSale):
        is_sold = False
        plan = await uow.plans.get_newest(plan.code, now)
    prices = {price.code for price in plan.prices if price.kind != "usage"}
    had = {
        item.price_code: item.quantity
        for item in former.items
        if item.add_on is None and item.quantity is not None and item.price_code in prices
    }
    return await start_subscription(
        StartSubscription(
            customer_id=former.customer_id,
            plan_version_id=plan.plan_version_id,
            plan_overlay_id=await _overlay(former, uow) if is_sold else None,
            quantities={**had, **command.quantities},
            add_ons=_add_ons(former),
            starts_on=command.starts_on,
            zone=former.calendar.zone,
            currency=former.currency,
            payer_id=former.payer_id,
            test_clock_id=former.test_clock_id,
            external_id=command.external_id,
            skips_trial=True,
            proration=former.proration,
            won_back_from=former.id,
        ),
        uow=uow,
        clock=clock,
    )


async def _overlay(former: Subscription, uow: UnitOfWork) -> str | None:
    """The customer's own prices, if they are still offered."""
    if former.overlay_id is None or await uow.plans.is_withdrawn(former.overlay_id):
        return None
    return former.overlay_id


def _add_ons(former: Subscription) -> list[tuple[str, Mapping[str, Decimal]]]:
    had: dict[str, dict[str, Decimal]] = {}
    for item in former.items:
        if item.add_on is not None:
            quantities = had.setdefault(item.add_on, {})
            if item.quantity is not None:
                quantities[item.price_code] = item.quantity
    return list(had.items())
