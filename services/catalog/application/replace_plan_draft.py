"""A tenant writes a plan's draft anew. What is published stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.periods import Interval
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.read_draft import WrittenPlan, WrittenPrice, read_draft
from services.catalog.domain.plan import Plan, refuse_retired, replace_draft


@dataclass(frozen=True, slots=True)
class ReplacePlanDraft:
    """`currency` and `interval` stay as they are when left out."""

    plan_id: str
    name: str
    prices: tuple[WrittenPrice, ...]
    currency: str | None = None
    interval: Interval | None = None


async def replace_plan_draft(
    command: ReplacePlanDraft, *, uow: UnitOfWork, check_version: Callable[[int], None]
) -> Plan:
    """Replace the whole draft. The same draft again changes nothing.

    Raises: PlanNotFound, PlanRetired, PlanTermsFixed, PlanInvalid, MeterUnknown, and what `check_version`
    raises for the version that was locked.
    """
    plan = await uow.plans.get_for_update(command.plan_id)
    check_version(plan.version)
    refuse_retired(plan)
    written = WrittenPlan(
        name=command.name,
        currency=command.currency or plan.draft.currency,
        interval=command.interval or plan.draft.interval,
        prices=command.prices,
    )
    changed = replace_draft(plan, await read_draft(written, uow=uow))
    if changed is not plan:
        uow.plans.save(changed)
        uow.record("plan.draft_replaced", changed.id, changed.version)
    return changed
