"""What a published plan offers a customer: the parts of it that decide how items are made."""

from __future__ import annotations

from libs.common.contracts.catalog import PlanV1
from libs.common.errors import RuleViolation
from libs.common.periods import Interval
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.subscription_item import Offer, OfferedPhase, OfferedPrice


class CurrencyNotOffered(RuleViolation):
    code = "currency_not_offered"
    title = "The plan has no prices in this currency"


class AddOnDoesNotFit(RuleViolation):
    """An add-on goes with some plans only, and is billed at the intervals of the plan."""

    code = "add_on_does_not_fit"
    title = "The add-on does not go with the plan"


def offer_of(
    plan: PlanV1, *, currency: str | None = None, overlay_id: str | None = None, pointer: str = "/currency"
) -> Offer:
    """The plan in one currency, its own unless another is named.

    Raises: CurrencyNotOffered.
    """
    wanted = currency or plan.currency
    prices = tuple(
        OfferedPrice(price.id, price.code, price.kind, price.meter, price.phase, price.product_id)
        for price in plan.prices
        if price.currency == wanted
    )
    if not prices:
        raise CurrencyNotOffered(
            f"the plan has no prices in {wanted}",
            pointer=pointer,
            currencies=sorted({price.currency for price in plan.prices}),
        )
    return Offer(
        plan_version_id=plan.plan_version_id,
        plan_code=plan.code,
        plan_name=plan.name,
        prices=prices,
        interval=Interval(plan.interval_unit, plan.interval_count),
        currency=wanted,
        phases=tuple(OfferedPhase(phase.code, phase.periods) for phase in plan.phases),
        overlay_id=overlay_id,
        is_add_on=plan.kind == "add_on",
    )


async def find_plan(plan_version_id: str, overlay_id: str | None, *, uow: UnitOfWork) -> PlanV1:
    """The plan version with the customer's own prices, where it has them.

    Raises: PlanNotFound.
    """
    if overlay_id is None:
        return await uow.plans.get(plan_version_id)
    return (await uow.plans.get_overlay(overlay_id)).plan
