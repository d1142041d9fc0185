"""A tenant changes a plan: what it is called, and what would be published next. What is published stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.catalog.application.ports import UnitOfWork
from services.catalog.application.read_draft import read_draft
from services.catalog.application.written_plan import WrittenPlan, written_of
from services.catalog.domain.plan import Plan, change, refuse_retired


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """`change` writes the plan anew from the one that is locked, so that what is not named stays."""

    plan_id: str
    change: Callable[[WrittenPlan], WrittenPlan]


async def change_plan(command: ChangePlan, *, uow: UnitOfWork, check_version: Callable[[int], None]) -> Plan:
    """Change it. The same again changes nothing; a draft that stays as it is is not judged anew.

    Raises: PlanNotFound, PlanRetired, PlanTermsFixed, PlanInvalid, MeterUnknown, and what `check_version`
    raises for the version that was locked.
    """
    plan = await uow.plans.get_for_update(command.plan_id)
    check_version(plan.version)
    refuse_retired(plan)
    before = written_of(plan)
    written = command.change(before)
    is_same_draft = before == replace(written, external_id=before.external_id, metadata=before.metadata)
    draft = plan.draft if is_same_draft else await read_draft(written, uow=uow)
    changed = change(plan, draft, external_id=written.external_id, metadata=written.metadata)
    if changed is not plan:
        uow.plans.save(changed)
        uow.record("plan.changed", changed.id, changed.version)
    return changed
