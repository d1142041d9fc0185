"""What changes between two versions of a plan, or between a version and the draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.catalog.application.offered_version import get_version
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_diff import Change, in_words, plan_changes, validity_changes
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.sale import Validity

Side = int | Literal["draft"]


@dataclass(frozen=True, slots=True)
class PlanDiff:
    plan_id: str
    before: Side
    after: Side
    changes: tuple[Change, ...]
    words: str


async def diff_plan(plan_id: str, before: Side | None, after: Side, *, uow: UnitOfWork) -> PlanDiff:
    """From the one to the other. `before` is the newest version unless it is named.

    Raises: PlanNotFound, PlanVersionNotFound.
    """
    plan = await uow.plans.get(plan_id)
    before = before or plan.published_number
    earlier, earlier_bounds = await _side(plan, before, uow)
    later, later_bounds = await _side(plan, after, uow)
    changes = plan_changes(earlier, later)
    if earlier_bounds is not None and later_bounds is not None:
        changes = (*validity_changes(earlier_bounds, later_bounds), *changes)
    return PlanDiff(plan_id, before, after, changes, in_words(changes))


async def _side(plan: Plan, side: Side, uow: UnitOfWork) -> tuple[PlanDraft, Validity | None]:
    if side == "draft":
        return plan.draft, None
    version = await get_version(plan, side, uow=uow)
    return version.content, version.validity
