"""Find what a simulation names: plans, and what a subscription really used. Nothing is locked, nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.errors import Conflict, InputError, NotFound
from libs.common.periods import index_on
from services.billing.application.ports import UnitOfWork
from services.billing.application.simulation_request import (
    Candidate,
    SimulatePrices,
    Supposed,
    UsageOf,
)
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.simulation.simulate import impossible
from services.billing.domain.simulation.stored_usage import StoredUsage, stored_usage


class PlanVersionUnknown(NotFound):
    """Billing has heard of no such plan version or overlay; of one made a moment ago it will. `errors` lists all."""

    code = "plan_version_unknown"
    title = "There is no such plan version"

    def __init__(self, message: str, *, errors: Sequence[InputError], remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.errors = tuple(errors)


class SubscriptionUnknown(NotFound):
    """Billing has heard of no such subscription."""

    code = "subscription_unknown"
    title = "There is no such subscription"


class UsageNotClosed(Conflict):
    """Usage is known once its window has closed; fees, once they are billed."""

    code = "usage_not_closed"
    title = "The usage of the period is not known yet"


async def gather_simulation(command: SimulatePrices, *, uow: UnitOfWork) -> Supposed:
    """The plans of all candidates, and the usage that is stored, of a command that `check_simulation` let through.

    Raises: SimulationImpossible, PlanVersionUnknown, SubscriptionUnknown, UsageNotClosed.
    """
    plans = [await _plan(candidate, uow) for candidate in command.candidates]
    unknown: list[InputError] = [
        {
            "pointer": f"/candidates/{position}/{_name_of(candidate)}",
            "detail": "there is no such plan version",
        }
        for position, (candidate, plan) in enumerate(zip(command.candidates, plans, strict=True))
        if plan is None
    ]
    if unknown:
        raise PlanVersionUnknown(
            f"{len(unknown)} of the candidates cannot be found: see errors",
            errors=unknown,
            remedy="Publish the plan (POST /v1/plans/{plan_id}/publications), or give it as a draft.",
        )
    stored = None if command.usage_of is None else await _stored(command.usage_of, command.periods, uow)
    return Supposed(command, tuple(plan for plan in plans if plan is not None), stored)


def _name_of(candidate: Candidate) -> str:
    """The field that names the plan."""
    names = {"plan_version_id": candidate.plan_version_id, "plan_overlay_id": candidate.overlay_id}
    return next((name for name, given in names.items() if given is not None), "plan")


async def _plan(candidate: Candidate, uow: UnitOfWork) -> PlanTerms | None:
    if candidate.draft is not None:
        return candidate.draft
    if candidate.plan_version_id is not None:
        return await uow.plan_versions.find(candidate.plan_version_id)
    if candidate.overlay_id is not None:
        return await uow.plan_versions.find_overlay(candidate.overlay_id)
    assert candidate.plan is not None, "a candidate names a plan"
    return await uow.plan_versions.find_by_code(candidate.plan, candidate.number)


async def _stored(usage_of: UsageOf, periods: int, uow: UnitOfWork) -> StoredUsage:
    agreement = await uow.agreements.find(usage_of.subscription_id)
    if agreement is None:
        raise SubscriptionUnknown("there is no such subscription", pointer="/usage_of/subscription_id")
    index = usage_of.period_index
    anchor_on, interval = agreement.anchor_on, agreement.interval
    if anchor_on is None or interval is None:
        if index is None or periods > 1:
            detail = "its interval is not known here: give the period_index of one period"
            raise impossible([{"pointer": "/usage_of", "detail": detail}])
    elif index is None:
        assert usage_of.on is not None, "a period is named by its index or by a date"
        index = index_on(anchor_on, interval, usage_of.on)
        if index < 0:
            detail = f"is before {anchor_on}, on which the subscription began"
            raise impossible([{"pointer": "/usage_of/on", "detail": detail}])
    indexes = range(index, index + periods)
    bounds = (agreement.id, indexes.start, indexes.stop)
    charges = await uow.charges.of_periods(*bounds)
    windows = await uow.usage_windows.of_periods(*bounds)
    known = {window.period_index for window in windows}
    if not agreement.has_metered_items:
        known |= {charge.period_index for charge in charges}
    missing = [index for index in indexes if index not in known]
    if missing:
        what = "its usage window has not closed" if agreement.has_metered_items else "it has not been billed"
        raise UsageNotClosed(
            f"period {missing[0]} is not known yet: {what}",
            pointer="/usage_of",
            remedy="Simulate earlier periods, or give quantities and usage by hand.",
            period=missing[0],
        )
    return stored_usage(
        agreement,
        indexes,
        charges=charges,
        windows=windows,
        corrections=await uow.usage_windows.corrections_of(*bounds),
        with_late=usage_of.with_late,
    )
